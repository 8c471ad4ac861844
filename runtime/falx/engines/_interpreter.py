"""The interpreter that LiteRT and tflite-runtime have in common, under two names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from falx.engines.greeting import no_greeting
from falx.errors import GraphError
from falx.model.tensor_spec import TensorSpec, compare

if TYPE_CHECKING:
    import numpy.typing as npt

    from falx.model.card import Card

SIGNATURE: Final = "serving_default"


class InterpreterEngine:
    """A TFLite graph, ready to run. One thread at a time may use it."""

    def __init__(
        self, name: str, interpreter: Callable[..., Any], payload: bytes, card: Card, threads: int
    ) -> None:
        self.name = name
        try:
            # None would mean one thread to LiteRT, so the number is always given.
            with no_greeting(f"start of {name}"):
                self._interpreter = interpreter(model_content=payload, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise GraphError(f"engine {name} cannot run this graph: {error}") from error
        if SIGNATURE not in self._interpreter.get_signature_list():
            raise GraphError(f"the graph has no signature {SIGNATURE}; export the model again")
        runner = self._interpreter.get_signature_runner(SIGNATURE)
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        compare("input", _specs(inputs), [card.input])
        compare("output", _specs(outputs), list(card.outputs.values()))
        self._input = inputs[card.input.name]["index"]
        self._outputs = {name: outputs[spec.name]["index"] for name, spec in card.outputs.items()}

    def run(self, tensor: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """Runs the graph; see `falx.engines.Engine.run`."""
        self._interpreter.set_tensor(self._input, tensor[np.newaxis, :, :, np.newaxis])
        self._interpreter.invoke()
        # get_tensor copies, so that the next run leaves these arrays alone.
        return {name: self._interpreter.get_tensor(index)[0] for name, index in self._outputs.items()}


def _specs(details: dict[str, Any]) -> list[TensorSpec]:
    return [
        TensorSpec(name, np.dtype(d["dtype"]).name, tuple(int(n) for n in d["shape"]))
        for name, d in details.items()
    ]
