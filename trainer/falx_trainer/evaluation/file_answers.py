"""Asks an exported file through the runtime, as it will be used."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import falx
from falx_runs.run_folder import fingerprint_in
from falx_trainer.evaluation.answers import LearnedFrom, ModelAnswer, peak_of, progress


class FileModel:
    """An exported file; see `MeasuredModel`."""

    def __init__(self, path: Path) -> None:
        """Loads the file."""
        self._classifier = falx.load(path)
        card = self._classifier.card
        self.described: Mapping[str, str | None] = {
            "name": card.name,
            "version": card.version,
            "file": path.name,
            "engine": self._classifier.engine,
            "sha256": self._classifier.model.sha256,
            "weights_sha256": card.weights_sha256,
        }
        self.thresholds = card.thresholds
        self.learned_from = LearnedFrom(fingerprint_in(card.provenance))

    def answers(self, paths: Sequence[Path]) -> list[ModelAnswer | None]:
        """Returns an answer for each picture, in order; None where it cannot be read."""
        results = self._classifier.predict_many(paths, workers=os.cpu_count() or 1)
        return [_answer(result) for result in progress(results, len(paths), "slice")]


def _answer(result: falx.Prediction | falx.Failure) -> ModelAnswer | None:
    if not isinstance(result, falx.Prediction):
        return None
    probabilities = None if result.probabilities is None else tuple(result.probabilities.values())
    reason = "" if result.reason is None else result.reason.code
    return ModelAnswer(result.decision, probabilities, peak_of(result.location), result.location, reason)
