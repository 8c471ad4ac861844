"""The benchmark of the study rule counts what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import studies
from PIL import Image
from tests.test_study import CLEAN, DOUBT, FAILURE, NOTHING, answer

from falx import phantom
from falx_runs.manifest import SPLITS, Record


def line(source: str, group: str, label: str, sequence: str = "T1") -> Record:
    return Record(Path("x.png"), label, source, group, sequence=sequence, plane="axial")


def test_studies_are_counted_by_what_they_come_to() -> None:
    unsure = answer("glioma", 0.7)
    slices: list[tuple[Record, Any]] = [
        # Two unsure slices in one series are neighbours, in two series they are not.
        (line("a", "1", "glioma"), unsure),
        (line("a", "1", "no_tumor"), unsure),
        (line("a", "2", "glioma"), unsure),
        (line("a", "2", "glioma", "T2"), unsure),
        (line("a", "3", "tumor_untyped"), CLEAN),
        (line("a", "4", "no_tumor"), CLEAN),
        (line("a", "5", "no_tumor"), DOUBT),
        # The same patient in another collection is another study.
        (line("b", "1", "no_tumor"), NOTHING),
        (line("b", "2", "no_tumor"), CLEAN),
        (line("b", "2", "no_tumor"), FAILURE),
        *[(line("b", "3", "no_tumor"), CLEAN)] * 12,
    ]
    measured = studies.rows(studies.studies(slices))
    assert [list(row.values()) for row in measured] == [
        # studies, slices, tumor, ambiguous, no_tumor, cleared, rejected, any slice, carriers, with a tumour
        ["a", "tumour", 3, 5, 1, 1, 0, 1, 0, 2, 2, 1],
        ["all", "tumour", 3, 5, 1, 1, 0, 1, 0, 2, 2, 1],
        ["a", "none", 2, 2, 0, 1, 0, 1, 0, 0, 0, 0],
        ["b", "none", 3, 15, 0, 1, 1, 0, 1, 0, 0, 0],
        ["all", "none", 5, 17, 0, 2, 1, 1, 1, 0, 0, 0],
    ]


def test_it_takes_the_val_split_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(phantom.lesion()).save(tmp_path / "x.png")
    lines = [f"x.png,{split},drawn,{split},glioma" for split in SPLITS]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,split,source,group,label", *lines]) + "\n")
    out = tmp_path / "out.json"
    assert studies.main(["--data", str(tmp_path), "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(row["source"], row["studies"], row["slices"]) for row in rows[:2]] == [
        ("drawn", 1, 1),
        ("all", 1, 1),
    ]
    assert "| drawn | tumour | 1 | 1 |" in capsys.readouterr().out
