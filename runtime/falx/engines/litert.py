"""LiteRT: needs `ai-edge-litert`, which comes with Falx except on armv7l.

The fastest where the processor multiplies int8 in one instruction; elsewhere on x86 ONNX Runtime takes 0.94
of its time (docs/performance.md).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from falx.engines._interpreter import InterpreterEngine
from falx.engines.greeting import no_greeting
from falx.errors import EngineUnavailable
from falx.optional import needs

if TYPE_CHECKING:
    from falx.model.card import Card


def start(payload: bytes, card: Card, threads: int) -> InterpreterEngine:
    """Makes a TFLite graph ready to run."""
    with (
        needs("engine litert", None, EngineUnavailable, package="ai-edge-litert"),
        # 2.0 greets while it is imported, later ones when a first engine starts.
        no_greeting("import of litert"),
    ):
        package = importlib.import_module("ai_edge_litert.interpreter")
    return InterpreterEngine("litert", package.Interpreter, payload, card, threads)
