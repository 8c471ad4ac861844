"""The comparison of engines and examples counts what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import agreement, raspberry_pi
from benchmarks.agreement import Answer
from benchmarks.chosen_slices import chosen

import falx
from falx import phantom

THRESHOLDS = {"no_tumor": 0.85, "meningioma": 0.6, "glioma": 0.5, "pituitary": 0.5}
CHECKOUT = Path(__file__).parents[2]


def answer(decision: str, *probabilities: float, reason: str = "") -> Answer:
    return Answer(decision, reason, probabilities or None, 5.0)


EXPECTED = [
    answer("glioma", 0.1, 0.1, 0.7, 0.1),
    answer("glioma", 0.1, 0.1, 0.505, 0.295),
    answer("no_tumor", 0.9, 0.1, 0.0, 0.0),
    answer("rejected", reason="blank"),
    answer("rejected", reason="blank"),
]
ANSWERS = [
    answer("glioma", 0.1, 0.08, 0.72, 0.1),
    answer("ambiguous", 0.1, 0.1, 0.475, 0.325),
    answer("meningioma", 0.3, 0.7, 0.0, 0.0),
    answer("rejected", reason="blank"),
    answer("glioma", 0.1, 0.1, 0.7, 0.1),
]


def test_a_row_for_each_collection_and_one_for_all() -> None:
    y, z, everything = agreement.rows("onnx", EXPECTED, ANSWERS, ["z", "z", "y", "y", "y"], THRESHOLDS)
    assert [(row["name"], row["of"]) for row in (y, z, everything)] == [
        ("onnx", "y"),
        ("onnx", "z"),
        ("onnx", agreement.ALL),
    ]
    counts = ("slices", "decisions", "contrary", "far", "rejections")
    # 0.505 is near glioma's threshold.
    assert [z[name] for name in counts] == [2, 1, 0, 0, 0]
    assert (z["largest"], z["mean"], z["median_ms"]) == (0.03, 0.025, 5)
    # One label against another is contrary; a picture that only one of them rejects is not a label.
    assert [y[name] for name in counts] == [3, 2, 1, 2, 1]
    assert y["largest"] == 0.6
    assert [everything[name] for name in counts] == [5, 3, 1, 2, 1]
    assert everything["mean"] == pytest.approx((0.02 + 0.03 + 0.6) / 3)


def test_nothing_but_rejections() -> None:
    row = agreement.compare([(EXPECTED[3], ANSWERS[3])], THRESHOLDS)
    assert (row["decisions"], row["largest"], row["mean"]) == (0, 0, 0)


def test_an_answer_is_read_as_the_command_writes_it() -> None:
    classifier = falx.load()
    head, blank = classifier.predict(phantom.lesion()), classifier.predict(np.full((200, 200), 90, np.uint8))
    assert head.probabilities is not None
    assert Answer.of(json.loads(json.dumps(head.to_dict()))) == Answer(
        head.decision, "", tuple(head.probabilities.values()), head.to_dict()["elapsed_ms"]
    )
    assert Answer.of(blank.to_dict()) == Answer("rejected", "blank", None, blank.to_dict()["elapsed_ms"])
    with pytest.raises(SystemExit, match=r"a\.png: is damaged"):
        Answer.of({"path": "a.png", "error": {"type": "UnreadableImage", "message": "is damaged"}})


def test_what_an_emulated_pi_cannot_read_is_counted_and_not_compared() -> None:
    there = [phantom_answer := falx.load().predict(phantom.lesion()).to_dict(), {"error": {}}]
    here = [Answer.of(phantom_answer)] * 2
    row = raspberry_pi.compared(here, there, THRESHOLDS)
    assert (row["unreadable"], row["slices"], row["decisions"], row["largest"]) == (1, 1, 0, 0)


def test_slices_are_of_all_sources_and_labels_in_turn(tmp_path: Path) -> None:
    rows = [("a", "x", "val"), ("b", "x", "val"), ("c", "x", "train"), ("d", "y", "val"), ("e", "x", "val")]
    lines = [f"{name}.png,glioma,{source},{split}" for name, source, split in rows]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label,source,split", *lines]) + "\n")
    assert [path.stem for path in chosen(tmp_path, 9)] == ["a", "d", "b", "e"]
    assert chosen(tmp_path, 2) == [tmp_path / "a.png", tmp_path / "d.png"]
