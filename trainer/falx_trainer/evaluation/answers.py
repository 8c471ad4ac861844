"""What a model says of pictures: an exported file through the runtime, a run's model through Keras."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from tqdm import tqdm

import falx
from falx.decision import Thresholds
from falx.prediction import Location
from falx_runs.run_folder import fingerprint_in

__all__ = ["Answer", "LearnedFrom", "Model", "load", "peak_of", "progress"]

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a model says of a picture.

    Attributes:
        decision: a label, `ambiguous` or `rejected`.
        probabilities: of the four labels; None for `rejected`.
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
    """What is known of the slices a model learned from.

    Attributes:
        fingerprint: of all its data, as `Tensors.fingerprint` has it; None where it is not told.
        manifest: of its slices, with their splits; None where there is none.
    """

    fingerprint: str | None = None
    manifest: Path | None = None


class Model(Protocol):
    """A model that answers.

    Attributes:
        described: which model it is, JSON-ready: its name, file and checksums.
        thresholds: it decides by.
        learned_from: what it says of the data it learned from.
    """

    described: dict[str, Any]
    thresholds: Thresholds
    learned_from: LearnedFrom

    def answers(self, paths: Sequence[Path]) -> list[Answer | None]:
        """An answer for each picture, in order; None where it cannot be read."""


def load(path: Path) -> Model:
    """A model to measure.

    Args:
        path: an exported file, or the folder of a finished run.

    Raises:
        ModelError: the file cannot be used.
        RunError: the folder is not that of a finished run.
    """
    if path.is_dir():
        # Here: Keras takes seconds to import, and a file needs none.
        from falx_trainer.evaluation.run_answers import Run

        return Run(path)
    return _File(path)


class _File:
    """An exported file, asked through the runtime, as it will be used."""

    def __init__(self, path: Path) -> None:
        self._classifier = falx.load(path)
        card = self._classifier.card
        self.described = {
            "name": card.name,
            "version": card.version,
            "file": path.name,
            "engine": self._classifier.engine,
            "sha256": self._classifier.model.sha256,
            "weights_sha256": card.weights_sha256,
        }
        self.thresholds = card.thresholds
        self.learned_from = LearnedFrom(fingerprint_in(card.provenance))

    def answers(self, paths: Sequence[Path]) -> list[Answer | None]:
        results = self._classifier.predict_many(paths, workers=os.cpu_count() or 1)
        return [_answer(result) for result in progress(results, len(paths), "slice")]


def _answer(result: falx.Prediction | falx.Failure) -> Answer | None:
    if not isinstance(result, falx.Prediction):
        return None
    probabilities = None if result.probabilities is None else tuple(result.probabilities.values())
    reason = "" if result.reason is None else result.reason.code
    return Answer(result.decision, probabilities, peak_of(result.location), result.location, reason)


def peak_of(location: Location | None) -> tuple[float, float] | None:
    """Where a heatmap is highest, `x, y` in fractions of the image; None without one."""
    if location is None:
        return None
    heatmap = location.heatmap()
    row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    return (float(column) + 0.5) / heatmap.shape[1], (float(row) + 0.5) / heatmap.shape[0]


def progress(steps: Iterable[T], total: int, unit: str) -> Iterator[T]:
    """The steps, with a bar on a terminal."""
    return iter(tqdm(steps, "deciding", total, unit=unit, disable=None))
