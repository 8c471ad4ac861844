"""The table of targets says what was measured, and what was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks import figures
from tools import targets

METRICS: dict[str, Any] = {
    "all": {
        "missed": [0.0101, 0.0, 0.02, 1234],
        "cleared": [0.9, 0.85, 0.95, 300],
        "calibration_error": 0.0304,
        "rejected": None,
    },
    "by_source": {
        "figshare": {"decided": [0.8999, 0.88, 0.91, 507]},
        "br35h": {"missed": [0.02, 0, 0.1, 50]},
    },
    "by_source_and_sequence": {"tcga_lgg, T1": {"missed": [0.5, 0.25, 0.75, 8]}},
}


def _found() -> dict[str, figures.Row]:
    return {row[""]: row for row in targets.rows(METRICS)}


def test_what_is_at_its_target_has_met_it_and_what_is_short_by_a_hair_has_not() -> None:
    found = _found()
    assert list(found) == [target.what for target in targets.TARGETS]
    healthy = "healthy slices decided `no_tumor`"
    assert list(found[healthy].values()) == [healthy, "90.0 %", "85.0 % to 95.0 %", "300", "≥ 90 %", "yes"]
    missed = found["tumours decided `no_tumor`, all sources"]
    assert [missed[name] for name in ("measured", "slices", "target", "met")] == [
        *("1.0 %", "1,234", "≤ 1 %", "no")
    ]
    assert found["typed slices of figshare patients: decided"]["met"] == "no"
    assert found["br35h tumours decided `no_tumor`"]["met"] == "yes"


def test_a_row_without_a_target_or_a_measurement_says_so() -> None:
    found = _found()
    apart = found["the same, tcga_lgg T1 alone"]
    assert (apart["measured"], apart["target"], apart["met"]) == ("50.0 %", "", "")
    for what in ("real slices `rejected`", "pictures that are not brain MRI: `rejected`"):
        assert (found[what]["measured"], found[what]["met"]) == ("not measured", "")
        assert found[what]["target"]
    old = found["expected calibration error, typed and healthy"]
    assert [old[name] for name in ("measured", "95 % interval", "target", "met")] == [
        *("0.030", "", "≤ 0.03", "no")
    ]


def test_the_command_measures_and_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from falx_trainer.evaluation import evaluate

    asked = []

    def measured(
        model: Path, data: Path, split: str, out: Path, pictures: Path | None, *, shareable: bool
    ) -> str:
        asked.append((model, data, split, out, pictures, shareable))
        out.mkdir()
        (out / "metrics.json").write_text('{"all": {"missed": [0.0, 0.0, 0.01, 400]}}')
        return "measured"

    monkeypatch.setattr(evaluate, "evaluate", measured)
    out = tmp_path / "out"
    arguments = ["m.tflite", "--data", "d", "--split", "val", "--pictures", "p", "--out", str(out)]
    assert targets.main(arguments) == 0
    assert asked == [(Path("m.tflite"), Path("d"), "val", out, Path("p"), True)]
    text = capsys.readouterr().out
    assert text == f"measured\n\n{(out / 'targets.txt').read_text()}"
    shown = "| tumours decided `no_tumor`, all sources | 0.0 % | 0.0 % to 1.0 % | 400 | ≤ 1 % | yes |"
    assert shown in text.splitlines()


def test_data_that_are_not_there_end_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["m.tflite", "--data", f"{tmp_path}/none", "--split", "val", "--out", f"{tmp_path}/out"]
    assert targets.main(arguments) == 2
    expected = "expected a manifest (CSV) or a folder of images, found neither"
    assert capsys.readouterr().err == f"tools.targets: {tmp_path}/none: {expected}\n"
