"""Results are told the same way by all benchmarks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from benchmarks import figures

ROWS: list[figures.Row] = [
    {"name": "Falx", "times_falx": 1.0, "slices": 2000, "disk_mb": None, "kept": True},
    {"name": "Keras", "times_falx": 7.3125, "slices": 12, "disk_mb": 2161.7, "kept": False},
]
TABLE = """\
| name | times falx | slices | disk mb | kept |
|---|---|---|---|---|
| Falx | 1 | 2,000 | | yes |
| Keras | 7.3125 | 12 | 2,161.7 | no |"""


def test_a_table_has_the_columns_of_its_first_row() -> None:
    assert figures.table(ROWS) == TABLE


def test_what_is_printed_is_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    setting = figures.machine(("numpy", "no-such-distribution"))
    figures.tell(setting, ROWS, out)
    assert json.loads(out.read_text()) == {**setting, "rows": ROWS}
    said = capsys.readouterr().out
    assert f"numpy {setting['versions']['numpy']}, no-such-distribution not installed\n" in said
    assert said.endswith(f"\n\n{figures.table(ROWS)}\n")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="none: no such folder; give the folder of the releases"):
        figures.released(argparse.Namespace(models=tmp_path, name="none"))
