from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.said import Command

import falx
from falx.timings import Timings
from falx.words import STEPS


def test_each_step_ends_where_the_next_begins() -> None:
    timings = Timings.between([5_000_000, 6_000_000, 9_000_000, 10_500_000])
    assert timings == Timings(read_ms=1.0, prepare_ms=3.0, infer_ms=1.5, decide_ms=0.0)
    assert timings.to_dict() == {"read_ms": 1.0, "prepare_ms": 3.0, "infer_ms": 1.5, "decide_ms": 0.0}


def test_the_steps_of_a_prediction_add_up_to_its_time(classifier: falx.Classifier, scan: Path) -> None:
    prediction = classifier.predict(scan)
    steps = [getattr(prediction.timings, f"{step}_ms") for step in STEPS]
    assert all(step > 0 for step in steps)
    assert 0.5 * prediction.elapsed_ms < sum(steps) <= prediction.elapsed_ms
    assert "timings" not in prediction.to_dict()
    assert prediction.to_dict(timings=True)["timings"] == prediction.timings.to_dict()


def test_what_is_rejected_before_the_model_was_only_read(classifier: falx.Classifier) -> None:
    rejected = classifier.predict(np.zeros((100, 100), np.uint8))
    assert rejected.decision == "rejected"
    assert rejected.timings.read_ms > 0
    assert rejected.timings == Timings(read_ms=rejected.timings.read_ms)


def test_the_command_line_prints_them(predict: Command, scan: Path) -> None:
    said = predict(scan, f"{scan}x", "--timings", "--json")
    answer, failure = said.answers
    assert said.status == 1
    assert list(answer["timings"]) == [f"{step}_ms" for step in STEPS]
    assert "timings" not in failure
    said = predict(scan, f"{scan}x", "--timings")
    assert said.status == 1
    lines = said.out.splitlines()
    assert lines[0].split() == ["file", "decision", *STEPS, "ms", "in", "all"]
    *steps, total = map(float, lines[1].split()[2:])
    assert sum(steps) <= total + 0.03
    assert lines[2].split()[1:] == ["error", "no", "such", "file"]
    assert any(line.startswith("Medians, ms: read ") for line in lines)
