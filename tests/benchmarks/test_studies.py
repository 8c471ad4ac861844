"""The benchmark of the study rule counts what it says."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks import studies
from benchmarks.studies import Case, by_slices, rows, summary
from tests.heads import DOUBT, FAILURE, REJECTED, SURE, Answer, answer, head

from falx import phantom
from falx.model.file import DEFAULT_MODEL
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
    def case(tumor: bool, rule: str, before: str, volumes: int = 1, part: str = "test") -> Case:
        said = {"rule": rule, "by slices": before}
        return Case("x", part, "falx-1", tumor, volumes, said, 1.0, 2 * (rule == "tumor"), 1)

    cases = [
        *[case(False, "no_tumor", "tumor")] * 3,
        case(False, "ambiguous", "ambiguous"),
        case(True, "tumor", "tumor"),
        case(True, "no_tumor", "ambiguous"),
        case(True, "tumor", "tumor", volumes=2),
        replace(case(True, "no_tumor", "tumor"), model="falx-2"),
        case(False, "tumor", "tumor", part="train and val"),
    ]
    found = rows(cases)
    counted = {tuple(row[name] for name in ("part", "studies", "model", "rule")): row for row in found}
    assert list(counted)[:4] == [
        ("train and val", "healthy volumes", "falx-1", "rule"),
        ("train and val", "healthy volumes", "falx-1", "by slices"),
        ("train and val", "all volumes", "falx-1", "rule"),
        ("train and val", "all volumes", "falx-1", "by slices"),
    ]
    assert len(counted) == len(found) == 4 + 2 * (3 + 2 + 2)
    healthy = counted["test", "healthy volumes", "falx-1", "rule"]
    assert (healthy["count"], healthy["no_tumor"], healthy["opposite"]) == (4, 3, "0 % (0 to 49)")
    assert healthy["in_the_mask"] is None
    assert counted["test", "healthy volumes", "falx-1", "by slices"]["opposite"] == "75 % (30 to 95)"
    tumors = counted["test", "tumour volumes", "falx-1", "rule"]
    assert (tumors["opposite"], tumors["decided"]) == ("50 % (9 to 91)", "100 % (34 to 100)")
    assert tumors["in_the_mask"] == "2 of 2"
    everything = counted["test", "all volumes", "falx-1", "rule"]
    assert (everything["opposite"], everything["decided"]) == ("17 % (3 to 56)", "83 % (44 to 97)")
    assert counted["test", "tumour volumes", "falx-2", "rule"]["opposite"] == "100 % (21 to 100)"
    assert counted["test", "tumour heads", "falx-1", "rule"]["tumor"] == 1
    short = {(row["part"], row["model"], row["rule"]): [*row.values()][3:] for row in summary(found)}
    assert short["test", "falx-1", "rule"] == [4, 3, 0, 2, 1, 1, "83 % (44 to 97)"]
    assert short["test", "falx-2", "rule"] == [0, 0, 0, 1, 0, 1, "100 % (21 to 100)"]


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
    expected = [
        ("train and val", f"{which} {what}", rule, count, count)
        for what, count in (("volumes", 2), ("heads", 1))
        for which in ("tumour", "all")
        for rule in ("rule", "by slices")
    ]
    names = ("part", "studies", "rule", "count", "tumor")
    assert [tuple(row[name] for name in names) for row in document["rows"]] == expected
    assert document["rows"][0]["in_the_mask"] == "4 of 4"
    assert "a.nii" not in out.read_text(encoding="utf-8")
    capsys.readouterr()
    other = tmp_path / "other.tflite"
    other.write_bytes(DEFAULT_MODEL.read_bytes())
    command = ["--data", str(tmp_path), "--split", "test", "--model", str(DEFAULT_MODEL), str(other)]
    assert studies.main(command) == 0
    said = capsys.readouterr().out
    for model in ("default.tflite", "other.tflite"):
        assert f"| test | {model} | rule | 0 | 0 | 0 | 1 | 1 | 0 | 100 % (21 to 100) |" in said
        assert f"\n{model}, test:\n\n| studies | rule | count |" in said
