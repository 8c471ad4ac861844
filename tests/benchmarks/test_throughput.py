"""The throughput benchmark measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import figures, throughput


def test_ratios_are_of_the_same_block() -> None:
    times = {"one": np.array([1.0, 4.0, 1.0]), "two": np.array([0.5, 2.0, 0.5])}
    one, two = throughput.rows(times, files=300, seed=1)
    assert one == {"name": "one", "times_one": 1, "low": 1, "high": 1, "slices_a_second": 50}
    assert two == {"name": "two", "times_one": 2, "low": 2, "high": 2, "slices_a_second": 100}


def test_it_prints_a_table_and_writes_the_same_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "throughput.json"
    assert throughput.main(["--files", "6", "--block", "3", "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    assert [row["name"] for row in document["rows"]] == [
        "Falx, workers: 1",
        "Falx, workers: 2",
        "Falx, predict from 4 threads",
        "Pillow and LiteRT, a bare loop",
        "Pillow and LiteRT, a bare loop, in 2 processes",
    ]
    assert document["rows"][0]["times_one"] == 1
    assert figures.table(document["rows"]) in capsys.readouterr().out
