"""tflite-runtime, LiteRT's predecessor: needs `tflite-runtime` and NumPy 1, so Python up to 3.11.

For armv7l, where LiteRT has no wheel. On x86 it runs int8 graphs without its fast kernels, 7 to 15 times
slower than LiteRT and over the budget of 100 ms; `falx.load` says so in a `FalxWarning`.
"""

from __future__ import annotations

import importlib
import io
import platform
from contextlib import nullcontext, redirect_stderr
from typing import TYPE_CHECKING, Final

import numpy as np

from falx.engines._interpreter import InterpreterEngine
from falx.errors import EngineUnavailable
from falx.optional import needs

if TYPE_CHECKING:
    from falx.model.card import Card

X86: Final = ("x86_64", "amd64", "i386", "i686")


def start(payload: bytes, card: Card, threads: int) -> InterpreterEngine:
    """Makes a TFLite graph ready to run."""
    needed = "tflite-runtime, for Python up to 3.11 and NumPy 1"
    with needs("engine tflite", "tflite", EngineUnavailable, package=needed):
        package = importlib.import_module("tflite_runtime.interpreter")
    try:
        # Beside NumPy 2, NumPy says the same as the error below, in fourteen lines.
        with redirect_stderr(io.StringIO()) if np.__version__[0] != "1" else nullcontext():
            return InterpreterEngine("tflite", package.Interpreter, payload, card, threads)
    except (SystemError, AttributeError, ImportError) as error:
        # It was compiled for NumPy 1: beside NumPy 2 it can be imported, and then fails here.
        raise EngineUnavailable(
            f"engine tflite does not work with NumPy {np.__version__} ({error.__cause__ or error}): "
            "pip install 'numpy<2', or use engine litert"
        ) from error


def caution(card: Card) -> str | None:
    """Returns what to know before a file is run here; None where there is nothing."""
    if card.quantization["format"] != "int8" or platform.machine().lower() not in X86:
        return None
    return (
        "tflite-runtime runs int8 graphs on x86 7 to 15 times slower than LiteRT does: "
        "pip install ai-edge-litert, or use a float16 file"
    )
