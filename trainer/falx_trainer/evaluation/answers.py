"""Answers of a model for pictures, and the models that can be asked for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from tqdm import tqdm

from falx.decision import Thresholds
from falx.prediction import Location

T = TypeVar("T")


@dataclass(frozen=True)
class ModelAnswer:
    """A model's answer for a picture.

    Attributes:
        decision: a label, `ambiguous` or `rejected`.
        probabilities: one for each of the four labels; None for `rejected`.
        peak: where the heatmap is highest, `x, y` in fractions of the image; None without a heatmap.
        location: what the heatmap is made of; None without one.
        reason: why it was rejected, a key of `falx.slices.reasons.REASONS`; empty where it was not.
    """

    decision: str
    probabilities: tuple[float, ...] | None
    peak: tuple[float, float] | None = None
    location: Location | None = None
    reason: str = ""


@dataclass(frozen=True)
class LearnedFrom:
    """The fingerprint of all data of a model, and the manifest of its slices, as far as they are known."""

    fingerprint: str | None = None
    manifest: Path | None = None


class MeasuredModel(Protocol):
    """An exported file or a run that is measured; it describes itself by name, file and checksums."""

    described: Mapping[str, str | None]
    thresholds: Thresholds
    learned_from: LearnedFrom

    def answers(self, paths: Sequence[Path]) -> list[ModelAnswer | None]:
        """Returns an answer for each picture, in order; None where it cannot be read."""


def peak_of(location: Location | None) -> tuple[float, float] | None:
    """Returns where a heatmap is highest, `x, y` in fractions of the image; None without one."""
    if location is None:
        return None
    heatmap = location.heatmap()
    row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    return (float(column) + 0.5) / heatmap.shape[1], (float(row) + 0.5) / heatmap.shape[0]


def progress(steps: Iterable[T], total: int, unit: str) -> Iterator[T]:
    """Passes the steps on, with a bar on a terminal."""
    return iter(tqdm(steps, "deciding", total, unit=unit, disable=None))
