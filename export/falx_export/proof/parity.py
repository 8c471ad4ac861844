"""Measures how far the exported files answer from Keras, and holds that to a tolerance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import keras
import numpy as np
import numpy.typing as npt

from falx.decision import Thresholds, after
from falx.engines import Engine
from falx.slices.limits import Limits
from falx.words import NO_TUMOR, TUMOR_LABELS
from falx_export.errors import ParityError
from falx_export.proof.tolerance import Tolerance
from falx_runs.silence import progress
from falx_runs.tables import aligned

Probabilities = npt.NDArray[np.float32]

SHOWN: Final = ("familiarity", "no_brain")
"""The outputs that say what a picture shows; one tolerance bounds both."""


@dataclass(frozen=True, slots=True)
class Parity:
    """The measured differences of one file from Keras.

    Attributes:
        file: its name.
        engine: the engine that ran it.
        slices: how many.
        largest, mean: difference of a probability, 0..1.
        differing: slices whose decision differs.
        missed: those of them that go from a tumour to no_tumor.
        heatmap: largest difference in a heatmap, 0..1; None where the model makes none.
        familiarity: largest difference of a familiarity, 0..1, or of the probability that there is no brain;
            None where the model does not say.
    """

    file: str
    engine: str
    slices: int
    largest: float
    mean: float
    differing: int
    missed: int
    heatmap: float | None
    familiarity: float | None = None

    def to_dict(self) -> dict[str, str | int | float | None]:
        """Returns the measures as plain JSON values."""
        return asdict(self)

    def beyond(self, tolerance: Tolerance) -> list[str]:
        """Returns the measures past the tolerance, in words; empty where all are within it."""
        tolerance = tolerance.among(self.slices)
        measured = {
            "largest": self.largest,
            "mean": self.mean,
            "decisions": self.differing / self.slices,
            "missed": self.missed / self.slices,
        }
        optional = {"heatmap": self.heatmap, "familiarity": self.familiarity}
        measured |= {name: value for name, value in optional.items() if value is not None}
        return [
            f"{self.file}: {name} is {value:.4g}, tolerance {getattr(tolerance, name):.4g}"
            for name, value in measured.items()
            # NaN compares false with everything, and must not pass.
            if not value <= getattr(tolerance, name)
        ]


def keras_answers(model: keras.Model, slices: npt.NDArray[np.uint8]) -> dict[str, Probabilities]:
    """Asks Keras for slices `(N, 224, 224, 1)`; returns `(N, ...)` by output."""
    answers = model.predict(slices.astype(np.float32), batch_size=32, verbose=0)
    return {name: np.asarray(value, np.float32) for name, value in answers.items()}


def engine_answers(
    engine: Engine, slices: npt.NDArray[np.uint8], title: str = ""
) -> dict[str, Probabilities]:
    """Asks an engine for the same slices; the answers have the same shapes."""
    answers = [engine.run(image[..., 0]) for image in progress(slices, title)]
    return {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}


def compare(
    file: str,
    engine: str,
    got: Mapping[str, Probabilities],
    expected: Mapping[str, Probabilities],
    thresholds: Thresholds,
    least_familiarity: float = 0,
) -> Parity:
    """Measures how far answers are from those of Keras, `(N, ...)` by output each.

    What is decided depends on the thresholds and, where the model says how familiar a slice is, on the least
    familiarity.
    """
    difference = np.abs(got["probabilities"].astype(np.float64) - expected["probabilities"])
    limits = Limits(least_familiarity=least_familiarity)
    before, now = (
        [
            judged(dict(zip(answers, row, strict=True)), thresholds, limits)[0]
            for row in zip(*answers.values(), strict=True)
        ]
        for answers in (expected, got)
    )
    pairs = list(zip(before, now, strict=True))
    return Parity(
        file=file,
        engine=engine,
        slices=len(pairs),
        largest=float(difference.max()),
        mean=float(difference.mean()),
        differing=sum(a != b for a, b in pairs),
        missed=sum(a in TUMOR_LABELS and b == NO_TUMOR for a, b in pairs),
        heatmap=_largest(["heatmap"], got, expected),
        familiarity=_largest(SHOWN, got, expected),
    )


def judged(answers: Mapping[str, Probabilities], thresholds: Thresholds, limits: Limits) -> tuple[str, float]:
    """Returns the decision about a slice, and the least distance of what decided from its threshold.

    Of the limits only that of familiarity counts, which is the model's. The answers are `probabilities`
    `(4,)` and maybe `familiarity` `(1,)`.
    """
    familiarity = float(answers["familiarity"][0]) if "familiarity" in answers else None
    outcome = after(answers["probabilities"].tolist(), familiarity, None, limits, thresholds)
    return outcome.decision, outcome.margin


def _largest(
    outputs: Iterable[str], got: Mapping[str, Probabilities], expected: Mapping[str, Probabilities]
) -> float | None:
    found = [np.abs(got[output] - expected[output]).max() for output in outputs if output in expected]
    return float(np.max(found)) if found else None


def refused(results: Iterable[tuple[Parity, Tolerance]]) -> dict[str, list[str]]:
    """Returns the files that answer too differently from Keras, each with the measures past its tolerance.

    Raises:
        ParityError: every file does; says so of each, a line a measure.
    """
    judgements = {result.file: result.beyond(tolerance) for result, tolerance in results}
    found = {file: lines for file, lines in judgements.items() if lines}
    if len(found) == len(judgements):
        lines = [line for lines in found.values() for line in lines]
        raise ParityError(
            "the exported files answer too differently from Keras; nothing was written\n" + "\n".join(lines)
        )
    return found


def table(results: Sequence[Parity]) -> str:
    """Returns the results for a person to read."""
    head = ("file", "engine", "largest", "mean", "decisions differ", "tumour to no_tumor", "heatmap")
    rows = [
        (
            result.file,
            result.engine,
            f"{result.largest:.4f}",
            f"{result.mean:.5f}",
            f"{result.differing} of {result.slices}",
            str(result.missed),
            "-" if result.heatmap is None else f"{result.heatmap:.4f}",
        )
        for result in results
    ]
    return "\n".join(aligned([head, *rows], text=2))
