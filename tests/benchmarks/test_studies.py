"""The benchmark of the study rule counts what it says."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import studies
from PIL import Image
from tests.test_study import CLEAN, DOUBT, FAILURE, NOTHING, answer

from falx import phantom


def line(source: str, group: str, label: str, sequence: str = "T1") -> dict[str, str]:
    return {"source": source, "group": group, "label": label, "sequence": sequence, "plane": "ax"}


def test_studies_are_counted_by_what_they_come_to() -> None:
    unsure = answer("glioma", 0.7)
    slices: list[tuple[dict[str, str], Any]] = [
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
    assert [(row.source, row.tumor, row.studies, row.slices, row.any_slice) for row in measured] == [
        ("a", True, 3, 5, 2),
        ("a", False, 2, 2, 0),
        ("b", False, 3, 15, 0),
    ]
    assert [row.outcomes for row in measured] == [
        {"tumor": 1, "ambiguous": 1, "cleared": 1},
        {"ambiguous": 1, "cleared": 1},
        {"ambiguous": 1, "no_tumor": 1, "rejected": 1},
    ]
    assert [(row.carriers_labelled, row.carriers) for row in measured] == [(1, 2), (0, 0), (0, 0)]
    assert "| a, tumour | 3 | 5 | 1 | 1 | 0 | 1 | 0 | 2 | 1 of 2 |" in studies.table(measured)
    assert "| **all, none** | 5 | 17 | 0 | 2 | 1 | 1 | 1 | 0 |  |" in studies.table(measured)


def test_it_takes_the_val_split_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(phantom.lesion()).save(tmp_path / "x.png")
    with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["path", "split", *line("", "", "")])
        writer.writeheader()
        for split in ("train", "val", "test"):
            writer.writerow({"path": "x.png", "split": split, **line("drawn", split, "glioma")})
    out = tmp_path / "out.json"
    assert studies.main(["--data", str(tmp_path), "--out", str(out)]) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["source"], row["studies"], row["slices"]) == ("drawn", 1, 1)
    assert "| drawn, tumour | 1 | 1 |" in capsys.readouterr().out
