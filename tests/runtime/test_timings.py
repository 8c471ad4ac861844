from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import falx
from falx import cli, phantom
from falx.timings import Stopwatch, TimedFile, Timings
from falx.words import STEPS


@pytest.fixture
def slice_file(tmp_path: Path) -> Path:
    path = tmp_path / "slice.png"
    Image.fromarray(phantom.lesion()).save(path)
    return path


def test_each_moment_counts_for_the_step_whose_lap_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([5_000_000, 6_000_000, 9_000_000, 10_500_000, 20_000_000])
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(moments))
    watch = Stopwatch()
    for step in ("read", "decide", "infer", "decide"):
        watch.lap(step)
    assert watch.timings() == Timings(1.0, 0.0, 0.0, 1.5, 12.5)
    assert watch.timings().to_dict() == {
        "read_ms": 1.0,
        "decode_ms": 0.0,
        "prepare_ms": 0.0,
        "infer_ms": 1.5,
        "decide_ms": 12.5,
    }


def test_a_file_counts_its_reads_and_what_lies_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    now = 0

    def tick() -> int:
        nonlocal now
        now += 1_000_000
        return now

    monkeypatch.setattr("time.perf_counter_ns", tick)
    watch = Stopwatch()
    with TimedFile(path, watch) as file:
        assert file.readall() == b"abc"
        file.seek(1)
        buffer = bytearray(2)
        assert file.readinto(buffer) == 2
    assert bytes(buffer) == b"bc"
    # Opening and two reads; before either of these, a lap of decoding.
    assert (watch.timings().read_ms, watch.timings().decode_ms) == (3.0, 2.0)


def test_nobody_asked(classifier: falx.Classifier, slice_file: Path) -> None:
    prediction = classifier.predict(slice_file)
    assert prediction.timings is None
    assert "timings" not in prediction.to_dict()


def test_the_steps_add_up_to_what_was_elapsed(classifier: falx.Classifier, slice_file: Path) -> None:
    asked = classifier.predict(slice_file, timings=True)
    assert asked.timings is not None
    steps = [getattr(asked.timings, f"{step}_ms") for step in STEPS]
    assert all(step > 0 for step in steps)
    assert 0.5 * asked.elapsed_ms < sum(steps) <= asked.elapsed_ms
    unasked = classifier.predict(slice_file)
    assert (asked.decision, asked.probabilities) == (unasked.decision, unasked.probabilities)


def test_what_is_in_memory_is_not_read_and_what_is_rejected_not_run(classifier: falx.Classifier) -> None:
    rejected = classifier.predict(np.zeros((100, 100), np.uint8), timings=True)
    assert rejected.decision == "rejected"
    assert rejected.timings is not None
    assert (rejected.timings.read_ms, rejected.timings.prepare_ms, rejected.timings.infer_ms) == (0, 0, 0)
    assert rejected.timings.decide_ms > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_many(classifier: falx.Classifier, slice_file: Path, workers: int) -> None:
    results = list(classifier.predict_many([slice_file, slice_file], workers=workers, timings=True))
    assert all(result.error is None and result.timings is not None for result in results)


def test_the_command_line_prints_them(
    model: Path, slice_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", "--model", str(model), str(slice_file), f"{slice_file}x", "--timings"]
    assert cli.main([*arguments, "--json"]) == 1
    answer, failure = map(json.loads, capsys.readouterr().out.splitlines())
    assert list(answer["timings"]) == [f"{step}_ms" for step in STEPS]
    assert "timings" not in failure
    assert cli.main(arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["file", "decision", *STEPS, "ms", "in", "all"]
    *steps, total = map(float, lines[1].split()[2:])
    assert sum(steps) <= total + 0.03
    assert lines[2].split()[1:7] == ["error", *"-----"]
    assert any(line.startswith("Medians, ms: read ") for line in lines)
