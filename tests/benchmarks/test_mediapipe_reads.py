"""The MediaPipe benchmark counts what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

if importlib.util.find_spec("mediapipe") is None:
    pytest.skip("needs MediaPipe", allow_module_level=True)

from benchmarks import mediapipe_reads as benchmark

from falx_runs.manifest import Record


def test_answers_are_counted_by_label() -> None:
    labels = ["glioma", "glioma", "glioma", "no_tumor", "glioma"]
    named = ["glioma", "pituitary", "", "no_tumor", "glioma"]
    expected = ["glioma", "pituitary", "glioma", "no_tumor", ""]
    rows = {row.label: row for row in benchmark.tally(labels, named, expected)}
    assert rows["glioma"] == benchmark.Row("glioma", slices=4, right=2, wrong=1, none=1, as_falx=2)
    assert rows["no_tumor"] == benchmark.Row("no_tumor", slices=1, right=1, wrong=0, none=0, as_falx=1)
    assert rows["pituitary"] == benchmark.Row("pituitary", slices=0, right=0, wrong=0, none=0, as_falx=0)


def test_slices_are_balanced_over_labels_and_of_one_split() -> None:
    records = [
        Record(Path(f"{label}-{split}-{index}.png"), label, split=split)
        for label, count in (("no_tumor", 10), ("glioma", 30), ("tumor_untyped", 30))
        for split in ("val", "test")
        for index in range(count)
    ]
    chosen = benchmark.balanced(records, "val", 80)
    assert [record.label for record in chosen] == ["no_tumor"] * 10 + ["glioma"] * 20
    assert {record.split for record in chosen} == {"val"}
    assert len({record.path for record in chosen}) == 30


def test_without_slices_it_says_so() -> None:
    with pytest.raises(SystemExit, match="mediapipe_reads: no slices of the split 'val'"):
        benchmark.balanced([], "val", 80)


def test_fewer_slices_than_labels_are_not_taken_for_none() -> None:
    records = [Record(Path(f"{label}.png"), label, split="val") for label in ("no_tumor", "glioma")]
    with pytest.raises(
        SystemExit, match="mediapipe_reads: --slices 3: expected at least 4, one of each label"
    ):
        benchmark.balanced(records, "val", 3)
    assert len(benchmark.balanced(records, "val", 4)) == 2
