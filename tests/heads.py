"""Answers for the slices of drawn heads, so that rules on studies can be tried without a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from falx.decision import DEFAULT_THRESHOLDS
from falx.errors import UnreadableImage
from falx.prediction import Failure, Location, ModelIdentity, Prediction
from falx.reading.series import Series
from falx.slices.preprocessing import Frame
from falx.slices.reasons import Reason
from falx.words import NO_TUMOR, band

MODEL = ModelIdentity("falx-1", "0.1.0", "ab" * 32)
FAILURE = Failure("x.dcm", UnreadableImage("x.dcm: damaged"))
SIDE = 224

Answer = Prediction | Failure


def answer(decision: str, tumor: float, cell: tuple[int, int] = (7, 7), label: str = "glioma") -> Prediction:
    """The answer for a slice of 224 x 224 pixels whose heatmap has one cell of 14 x 14 at 1."""
    probabilities = {NO_TUMOR: 1 - tumor, **dict.fromkeys(("meningioma", "glioma", "pituitary"), 0.0)}
    probabilities[label] = tumor
    cells = np.zeros((14, 14), np.float32)
    cells[cell] = 1
    confidence = probabilities.get(decision)
    return Prediction(
        decision=decision,
        confidence=confidence,
        band=None if confidence is None else band(confidence),
        probabilities=probabilities,
        recommendation="Look.",
        reason=None,
        elapsed_ms=1.0,
        model=MODEL,
        path=None,
        thresholds=DEFAULT_THRESHOLDS,
        location=Location(cells, Frame(0, 0, SIDE, SIDE), (SIDE, SIDE)),
    )


CLEAN = answer("no_tumor", 0.05)
DOUBT = answer("ambiguous", 0.4)
SURE = answer("glioma", 0.9)
REJECTED = dataclasses.replace(
    CLEAN,
    decision="rejected",
    confidence=None,
    band=None,
    probabilities=None,
    reason=Reason("blank", "It is."),
    location=None,
)


def head(
    changes: Mapping[int, Answer] | Iterable[tuple[int, Answer]] = (),
    *,
    slices: int = 28,
    step: float = 5.0,
    plane: str | None = "axial",
    sequence: str | None = None,
) -> tuple[Series, tuple[Answer, ...]]:
    """A head of clean slices from foot to head, some of them replaced; slices 5 to 23 are its middle."""
    results: list[Answer] = [CLEAN] * slices
    for index, result in dict(changes).items():
        results[index] = result
    at = tuple(step * i for i in range(slices))
    return Series(sources=(b"",) * slices, positions_mm=at, plane=plane, sequence=sequence), tuple(results)
