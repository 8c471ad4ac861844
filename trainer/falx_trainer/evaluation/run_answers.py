"""Asks the model of a run through Keras, with the runtime's preparation, rejection and decision."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
import numpy.typing as npt

from falx import decision
from falx.decision import Refusal
from falx.errors import UnreadableImage
from falx.prediction import Location
from falx.reading import source
from falx.slices import preprocessing
from falx.slices.limits import Limits
from falx.slices.slice import Slice
from falx.words import REJECTED
from falx_runs.run_folder import MODEL, fingerprint_in, read_run
from falx_trainer.evaluation.answers import LearnedFrom, ModelAnswer, peak_of, progress

BATCH: Final = 32


@dataclass(frozen=True)
class _Prepared:
    tensor: npt.NDArray[np.uint8]
    frame: preprocessing.Frame
    seen: Slice


class RunModel:
    """A run's model; see `MeasuredModel`."""

    def __init__(self, folder: Path) -> None:
        """Loads the model."""
        run = read_run(folder)
        self._model = run.load(keras.models.load_model)
        self._limits = Limits(least_familiarity=run.least_familiarity)
        self.thresholds = run.thresholds
        self.described: Mapping[str, str | None] = {
            "name": run.name,
            "file": MODEL,
            "sha256": run.model_sha256(),
        }
        self.learned_from = LearnedFrom(fingerprint_in(run.provenance()), run.manifest)

    def answers(self, paths: Sequence[Path]) -> list[ModelAnswer | None]:
        """Returns an answer for each picture, in order; None where it cannot be read."""
        answers: list[ModelAnswer | None] = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in progress(range(0, len(paths), BATCH), -(-len(paths) // BATCH), "batch"):
                answers += self._batch(list(pool.map(self._prepared, paths[start : start + BATCH])))
        return answers

    def _prepared(self, path: Path) -> _Prepared | ModelAnswer | None:
        """Prepares a picture; gives the answer at once where the model need not be asked."""
        try:
            seen = decision.before(lambda: source.read(path), self._limits)
        except UnreadableImage:
            return None
        if isinstance(seen, Refusal):
            return ModelAnswer(REJECTED, None, reason=seen.reason.code)
        return _Prepared(*preprocessing.prepare(seen.pixels), seen)

    def _batch(self, prepared: Sequence[_Prepared | ModelAnswer | None]) -> list[ModelAnswer | None]:
        asked = [item for item in prepared if isinstance(item, _Prepared)]
        outputs: dict[str, npt.NDArray[np.floating]] = {}
        if asked:
            tensors = np.stack([item.tensor for item in asked])[..., np.newaxis].astype(np.float32)
            outputs = {
                name: np.asarray(value) for name, value in self._model.predict_on_batch(tensors).items()
            }
        decided = iter(
            self._decided(item, {name: value[index] for name, value in outputs.items()})
            for index, item in enumerate(asked)
        )
        return [next(decided) if isinstance(item, _Prepared) else item for item in prepared]

    def _decided(self, item: _Prepared, outputs: dict[str, npt.NDArray[np.floating]]) -> ModelAnswer:
        familiarity, no_brain = (
            float(outputs[name][0]) if name in outputs else None for name in ("familiarity", "no_brain")
        )
        probabilities = tuple(float(p) for p in outputs["probabilities"].astype(np.float64))
        outcome = decision.after(
            probabilities, familiarity, item.seen.doubt, self._limits, self.thresholds, no_brain=no_brain
        )
        if outcome.reason is not None:
            return ModelAnswer(REJECTED, None, reason=outcome.reason.code)
        location = None
        if "heatmap" in outputs:
            height, width = item.seen.pixels.shape
            location = Location(outputs["heatmap"].astype(np.float32), item.frame, (height, width))
        return ModelAnswer(outcome.decision, probabilities, peak_of(location), location)
