"""The table of targets says what was measured, and what was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks import figures
from tests.said import runner
from tools import targets

from falx_runs.manifest import Record

METRICS: dict[str, Any] = {
    "all": {
        "missed": [0.0101, 0.0, 0.02, 1234],
        "cleared": [0.85, 0.8, 0.9, 300],
        "false_alarm": [0.0151, 0.01, 0.02, 300],
        "calibration_error": 0.0304,
        "rejected": None,
    },
    "by_source": {
        "figshare": {"decided": [0.9499, 0.88, 0.96, 507]},
        "br35h": {"missed": [0.02, 0, 0.1, 50]},
    },
    "by_level": {"vertex": {"cleared": [0.75, 0.5, 1.0, 12]}},
    "parts": {"feltrin, T1 and T2": {"missed": [0.0, 0.0, 0.01, 200]}},
    "pictures": {
        "by_family": {"head_end": {"rejected": [0.5, 0, 1, 9], "rejected_or_no_tumor": [1, 0.9, 1, 9]}}
    },
}


def _found() -> dict[str, figures.Row]:
    return {row[""]: row for row in targets.rows(METRICS)}


def test_what_is_at_its_target_has_met_it_and_what_is_short_by_a_hair_has_not() -> None:
    found = _found()
    assert list(found) == [target.what for target in targets.TARGETS]
    healthy = "healthy decided `no_tumor`: all"
    assert list(found[healthy].values()) == [healthy, "85.0 %", "80.0 % to 90.0 %", "300", "≥ 85 %", "yes"]
    missed = found["tumours decided `no_tumor`: all"]
    assert [missed[name] for name in ("measured", "slices", "target", "met")] == [
        *("1.0 %", "1,234", "≤ 1 %", "no")
    ]
    alarms = found["healthy decided to be a tumour"]
    assert (alarms["target"], alarms["met"]) == ("≤ 1.5 %", "no")
    assert found["figshare: decided"]["met"] == "no"
    for what in ("– br35h", "– vertex", "– feltrin, T1 and T2", "– ends of heads: `rejected` or `no_tumor`"):
        assert found[what]["met"] == "yes", what


def test_a_row_without_a_measurement_says_so() -> None:
    found = _found()
    for what in ("real slices `rejected`", "pictures that are no brain, `rejected`: all", "– base"):
        assert (found[what]["measured"], found[what]["met"]) == ("not measured", "")
        assert found[what]["target"]
    old = found["expected calibration error, typed and healthy"]
    assert [old[name] for name in ("measured", "95 % interval", "target", "met")] == [
        *("0.030", "", "≤ 0.03", "no")
    ]


def test_every_part_is_of_a_target_and_holds_the_slices_that_it_says() -> None:
    asked = {target.where[1] for target in targets.TARGETS if target.where[0] == "parts"}
    assert asked == set(targets.PARTS)
    records = {
        Record(Path(name), label, source, sequence=sequence, level=level): name
        for name, label, source, sequence, level in (
            ("whole", "no_tumor", "nichart", "T1", ""),
            ("cut", "no_tumor", "niiheads", "T1", "base"),
            ("stripped", "no_tumor", "niiheads", "T1", ""),
            ("t2", "no_tumor", "nichart", "T2", ""),
            ("glioma", "glioma", "feltrin", "T1", ""),
            ("untyped", "tumor_untyped", "feltrin", "T2", ""),
            ("contrast", "meningioma", "feltrin", "T1C+", ""),
        )
    }
    belong = {part: [name for one, name in records.items() if of(one)] for part, of in targets.PARTS.items()}
    assert belong == {
        "T1 with skull": ["whole", "cut", "glioma"],
        "feltrin, T1 and T2": ["glioma", "untyped"],
        "typed tumours of feltrin, T1C+": ["contrast"],
        "typed tumours of feltrin, T2": [],
        "typed tumours of feltrin, T1": ["glioma"],
    }


def test_the_command_measures_and_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from falx_trainer.evaluation import evaluate

    run, asked, out = runner(targets.main, capsys), [], tmp_path / "out"
    absent = tmp_path / "none"
    expected = f"{absent}: expected a manifest (CSV) or a folder of images, found neither"
    said = run("m.tflite", "--data", absent, "--split", "val", "--out", out)
    assert said == (2, "", f"tools.targets: {expected}\n")

    def measured(*given: object, shareable: bool, parts: object) -> str:
        asked.append((*given, shareable, parts))
        out.mkdir()
        (out / "metrics.json").write_text('{"all": {"missed": [0.0, 0.0, 0.01, 400]}}')
        return "measured"

    monkeypatch.setattr(evaluate, "evaluate", measured)
    said = run("m.tflite", "--data", "d", "--split", "val", "--pictures", "p", "--out", out)
    assert said[:2] == (0, f"measured\n\n{(out / 'targets.txt').read_text()}")
    assert asked == [(Path("m.tflite"), Path("d"), "val", out, Path("p"), True, targets.PARTS)]
    shown = "| tumours decided `no_tumor`: all | 0.0 % | 0.0 % to 1.0 % | 400 | ≤ 1 % | yes |"
    assert shown in said.out.splitlines()
