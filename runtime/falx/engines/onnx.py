"""ONNX Runtime: needs `onnxruntime`, which comes with `falx[onnx]`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from falx.engines import OnnxOptions
from falx.errors import EngineUnavailable, GraphError
from falx.model.tensor_spec import TensorSpec, compare
from falx.optional import needs

if TYPE_CHECKING:
    from types import ModuleType

    import numpy.typing as npt

    from falx.model.card import Card

ERRORS_ONLY: Final = 3
"""A log severity of ONNX Runtime: its warnings are for whoever wrote the graph."""

DEFAULTS: Final = OnnxOptions()

TELEMETRY: Final = "ORT_DISABLE_TELEMETRY"

DTYPES: Final = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def start(payload: bytes, card: Card, threads: int, options: OnnxOptions = DEFAULTS) -> OnnxEngine:
    """Makes an ONNX graph ready to run."""
    with needs("engine onnx", "onnx", EngineUnavailable, package="onnxruntime"), _no_telemetry():
        onnxruntime = importlib.import_module("onnxruntime")
    # Where the program imported it before.
    getattr(onnxruntime, "disable_telemetry_events", bool)()
    return OnnxEngine(onnxruntime, payload, card, threads, options)


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Keeps ONNX Runtime from starting to collect what is loaded and to send it to its maker.

    From 1.29 on it looks at this variable once, while it is imported. Afterwards the environment is again as
    the program left it.
    """
    before = os.environ.get(TELEMETRY)
    os.environ[TELEMETRY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[TELEMETRY]
        else:
            os.environ[TELEMETRY] = before


class OnnxEngine:
    """An ONNX graph, ready to run."""

    name = "onnx"

    def __init__(
        self, onnxruntime: ModuleType, payload: bytes, card: Card, threads: int, options: OnnxOptions
    ) -> None:
        providers = [one if isinstance(one, str) else one[0] for one in options.providers]
        _check_providers(providers, onnxruntime.get_available_providers())
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = threads
        session.inter_op_num_threads = 1
        session.log_severity_level = ERRORS_ONLY
        for name, value in options.session.items():
            try:
                if "." in name:
                    session.add_session_config_entry(name, str(value))
                else:
                    setattr(session, name, value)
            except (AttributeError, TypeError) as error:
                raise ValueError(
                    f"engine onnx: onnxruntime.SessionOptions does not take {name}={value!r}: {error}"
                ) from error
        try:
            self._session = onnxruntime.InferenceSession(
                payload, sess_options=session, providers=list(options.providers)
            )
        # ONNX Runtime's own exceptions have no common base but this.
        except Exception as error:
            raise GraphError(f"engine onnx cannot run this graph: {error}") from error
        # A provider that cannot start, for want of a driver, is left out without an error.
        _check_providers(providers, self._session.get_providers())
        compare("input", _specs(self._session.get_inputs()), [card.input])
        compare("output", _specs(self._session.get_outputs()), list(card.outputs.values()))
        self._input = card.input.name
        self._outputs = {name: spec.name for name, spec in card.outputs.items()}

    def run(self, tensor: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """Runs the graph; see `falx.engines.Engine.run`."""
        values = self._session.run(
            list(self._outputs.values()), {self._input: tensor[np.newaxis, :, :, np.newaxis]}
        )
        return {name: value[0] for name, value in zip(self._outputs, values, strict=True)}


def _check_providers(wanted: Sequence[str], there: Sequence[str]) -> None:
    absent = [name for name in wanted if name not in there]
    if absent or not wanted:
        raise EngineUnavailable(
            f"engine onnx: expected providers of {', '.join(there)}, got {', '.join(absent) or 'none'}; "
            "install the onnxruntime that has it, such as onnxruntime-gpu, and its drivers"
        )


def _specs(tensors: list[Any]) -> list[TensorSpec]:
    return [TensorSpec(t.name, DTYPES.get(t.type, t.type), tuple(t.shape)) for t in tensors]
