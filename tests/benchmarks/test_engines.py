"""The comparison of engines counts what it says."""

from __future__ import annotations

import pytest
from benchmarks import engines
from benchmarks.engines import Answer

THRESHOLDS = {"no_tumor": 0.85, "meningioma": 0.6, "glioma": 0.5, "pituitary": 0.5}


def answer(decision: str, *probabilities: float, reason: str | None = None) -> Answer:
    return Answer(decision, reason, probabilities or None, 5.0)


FIRST = {
    "a": answer("glioma", 0.1, 0.1, 0.7, 0.1),
    "b": answer("glioma", 0.1, 0.1, 0.51, 0.29),
    "c": answer("no_tumor", 0.9, 0.1, 0.0, 0.0),
    "d": answer("rejected", reason="blank"),
    "e": answer("rejected", reason="blank"),
}
OTHER = {
    "a": answer("glioma", 0.1, 0.08, 0.72, 0.1),
    "b": answer("ambiguous", 0.1, 0.1, 0.48, 0.32),
    "c": answer("meningioma", 0.3, 0.7, 0.0, 0.0),
    "d": answer("rejected", reason="blank"),
    "e": answer("glioma", 0.1, 0.1, 0.7, 0.1),
}
SOURCES = {"a": "z", "b": "z", "c": "y", "d": "y", "e": "y"}


def test_a_row_for_each_collection_and_one_for_all() -> None:
    y, z, everything = engines.rows("onnx", FIRST, OTHER, SOURCES, THRESHOLDS)
    assert [row.source for row in (y, z, everything)] == ["y", "z", engines.ALL]
    assert (z.slices, z.decisions, z.contrary, z.rejections) == (2, 1, 0, 0)
    assert (z.probability, z.mean, z.margin) == pytest.approx((0.03, 0.025, 0.01))
    # One label against another is contrary; a picture that only one of them rejects is not a label.
    assert (y.slices, y.decisions, y.contrary, y.rejections) == (3, 2, 1, 1)
    assert y.probability == pytest.approx(0.6)
    assert (everything.slices, everything.decisions, everything.contrary) == (5, 3, 1)
    assert everything.mean == pytest.approx((0.02 + 0.03 + 0.6) / 3)


def test_nothing_but_rejections() -> None:
    (row, _) = engines.rows("tflite", {"d": FIRST["d"]}, {"d": OTHER["d"]}, {"d": "y"}, THRESHOLDS)
    assert (row.decisions, row.probability, row.mean, row.margin) == (0, 0, 0, 1)
