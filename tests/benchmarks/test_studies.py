"""The benchmark of the study rule counts what it says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import studies
from benchmarks.studies import Case, by_slices, rows
from tests.heads import DOUBT, FAILURE, REJECTED, SURE, Answer, answer, head

from falx import phantom
from falx.reading.series import Gathering
from falx.study import Study, sum_up


def study(changes: dict[int, Answer]) -> Study:
    series, results = head(changes)
    return sum_up(Gathering((series,)), results)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "no_tumor"),
        ({11: SURE}, "tumor"),
        ({11: answer("glioma", 0.7)}, "ambiguous"),
        ({11: answer("glioma", 0.7), 12: answer("meningioma", 0.7, label="meningioma")}, "tumor"),
        ({11: answer("glioma", 0.7), 13: answer("glioma", 0.7)}, "ambiguous"),
        ({3: DOUBT}, "ambiguous"),
        ({3: FAILURE}, "ambiguous"),
        (dict.fromkeys(range(28), REJECTED), "rejected"),
    ],
)
def test_the_rule_before_let_slices_decide(changes: dict[int, Answer], said: str) -> None:
    assert by_slices(study(changes)) == said


def test_studies_are_counted_by_what_they_come_to() -> None:
    def case(tumor: bool, rule: str, before: str, volumes: int = 1) -> Case:
        return Case("x", tumor, volumes, {"rule": rule, "by slices": before}, 1.0, 0, 0)

    cases = [
        *[case(False, "no_tumor", "tumor")] * 3,
        case(False, "ambiguous", "ambiguous"),
        case(True, "tumor", "tumor"),
        case(True, "no_tumor", "ambiguous"),
        case(True, "tumor", "tumor", volumes=2),
    ]
    counted = {(row["studies"], row["rule"]): row for row in rows(cases)}
    assert len(counted) == 6
    healthy = counted["healthy volumes", "rule"]
    assert (healthy["count"], healthy["no_tumor"], healthy["opposite"]) == (4, 3, "0 % (0 to 49)")
    assert counted["healthy volumes", "by slices"]["opposite"] == "75 % (30 to 95)"
    assert counted["tumour volumes", "rule"]["opposite"] == "50 % (9 to 91)"
    assert counted["tumour volumes", "rule"]["decided"] == "100 % (34 to 100)"
    assert counted["tumour heads", "rule"]["tumor"] == 1


def test_it_measures_volumes_and_heads_and_names_what_is_not_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed (pip install 'falx[nifti]')")
    columns = ("path", "label", "source", "group", "sequence", "plane", "split", "slices", "note")
    with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for name, sequence, split in (("a", "T1", "val"), ("b", "T2", "val"), ("c", "T1", "test")):
            shown = [phantom.lesion() if n in (6, 7) else phantom.clear() for n in range(14)]
            cells = np.stack([one[::-1, ::-1].T for one in shown], axis=2)
            nibabel.save(nibabel.Nifti1Image(cells, np.diag([1.0, 1.0, 10.0, 1.0])), tmp_path / f"{name}.nii")
            writer.writerow([f"{name}.nii", "glioma", "drawn", "one", sequence, "axial", split, "6 7", ""])
    out = tmp_path / "out.json"
    assert studies.main(["--data", str(tmp_path), "--out", str(out)]) == 0
    document = json.loads(out.read_text(encoding="utf-8"))
    assert [(row["studies"], row["count"], row["tumor"]) for row in document["rows"]] == [
        ("tumour volumes", 2, 2),
        ("tumour volumes", 2, 2),
        ("tumour heads", 1, 1),
        ("tumour heads", 1, 1),
    ]
    assert (document["carriers"], document["carriers_marked"], document["splits"]) == (4, 4, ["train", "val"])
    assert "a.nii" not in out.read_text(encoding="utf-8")
    capsys.readouterr()
