"""The tiny graphs of `tests/data`, whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from falx.model.card import Format

DATA = Path(__file__).parent / "data"

ModelOf = Callable[..., Path]
"""Writes the tiny model for an engine, with fields of its card replaced."""


def graph(kind: Format) -> bytes:
    """Returns the graph of a format, without a card."""
    return (DATA / f"tiny.{kind}").read_bytes()


def answer(tensor: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns what they answer, computed with NumPy: probabilities `(4,)` and heatmap `(7, 7)`."""
    values = tensor / 255.0
    logits = values.mean() * np.array([-8.0, 0.0, 8.0, -1.0]) + np.array([2.0, 0.0, -2.0, 0.0])
    weights = np.exp(logits - logits.max())
    return weights / weights.sum(), values.reshape(7, 32, 7, 32).mean(axis=(1, 3))
