"""The engines that run a graph: one small module for each, which says what it needs.

Chosen by name, or by the format of the file: TFLite runs on `litert`, and on `tflite` only where
LiteRT is not installed at all; ONNX runs on `onnx`. An engine that is installed and does not work is
an error, never a reason to take another.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from falx.errors import ModelError, UnknownEngine

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from falx.model.card import Card, Format

ENGINES: Final[Mapping[str, tuple[str, str]]] = {
    "litert": ("tflite", "ai_edge_litert"),
    "tflite": ("tflite", "tflite_runtime"),
    "onnx": ("onnx", "onnxruntime"),
}
"""Each engine's file format and the package it is made of, in the order in which they are taken."""


class Engine(Protocol):
    """A graph, ready to run. One thread at a time may use it."""

    @property
    def name(self) -> str:
        """A key of `ENGINES`."""

    def run(self, tensor: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """Runs the graph on a tensor, `(224, 224)` uint8, from `falx.slices.preprocessing.prepare`.

        Returns every output of the card by name, without the batch axis, in arrays of the caller's own:
        `probabilities` `(4,)`, and where the model has them `heatmap` `(N, N)`, `familiarity` `(1,)` and
        `no_brain` `(1,)`, all float32 in 0..1.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """The answer of a graph for one prepared slice, before anything is rejected or decided.

    Attributes:
        probabilities: of the labels, in their order, each in 0..1.
        heatmap: `(N, N)` float32, 0..1, on the tensor; None where the model makes none.
        familiarity: the probability, 0..1, that the picture is a slice of a brain at all; None where the
            model does not say.
        no_brain: the probability, 0..1, that it is a head without brain; None likewise.
    """

    probabilities: list[float]
    heatmap: npt.NDArray[np.float32] | None
    familiarity: float | None
    no_brain: float | None


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """Providers and session options of ONNX Runtime; see https://onnxruntime.ai/docs.

    Attributes:
        providers: of execution, the preferred first, each a name or a name with its options. All of them must
            be there: none is left out silently. Falx's models are proved and measured on the CPU alone.
        session: attributes of `onnxruntime.SessionOptions` and their values, such as
            `{"enable_profiling": True}`; a name with a dot is an entry of its configuration, such as
            `{"session.intra_op.allow_spinning": "0"}`.
    """

    providers: Sequence[str | tuple[str, Mapping[str, object]]] = ("CPUExecutionProvider",)
    session: Mapping[str, object] = field(default_factory=dict)


def choose(name: str | None, format: Format) -> str:  # noqa: A002 - the card's word
    """Returns the engine asked for, or the first for the format that is installed."""
    able = [engine for engine, (runs, _) in ENGINES.items() if runs == format]
    if name is None:
        installed = (engine for engine in able if importlib.util.find_spec(ENGINES[engine][1]) is not None)
        # Where none is, the first says how it is installed.
        return next(installed, able[0])
    if name not in ENGINES:
        raise UnknownEngine(f"unknown engine {name!r}; known are {', '.join(ENGINES)}")
    if name not in able:
        raise ModelError(
            f"engine {name} runs {ENGINES[name][0]} files, this one is {format}; "
            f"use {' or '.join(able)}, or give the model as the .{ENGINES[name][0]} file "
            "that falx_export wrote beside it"
        )
    return name


def start(name: str, payload: bytes, card: Card, *, threads: int, onnx: OnnxOptions | None = None) -> Engine:
    """Makes a graph ready to run on an engine, which a card behind it or in it does not disturb."""
    module: Any = importlib.import_module(f"falx.engines.{name}")
    if onnx is not None and name != "onnx":
        raise ValueError(
            f"onnx= is for engine onnx, this model runs on {name}; give an .onnx file, or leave onnx= out"
        )
    engine: Engine = module.start(payload, card, threads, *([onnx] if onnx else []))
    return engine


def caution(name: str, card: Card) -> str | None:
    """Returns what to know before a file is run on an engine here; None where there is nothing."""
    if name != "tflite":
        return None
    from falx.engines import tflite

    return tflite.caution(card)
