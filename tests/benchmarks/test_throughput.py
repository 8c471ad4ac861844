"""The throughput benchmark measures what it says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks import throughput


def test_ways_take_turns_block_by_block() -> None:
    calls: list[tuple[str, int]] = []

    def way(name: str) -> object:
        return lambda files: calls.append((name, len(files)))

    blocks: list[Sequence[Path]] = [[Path("1"), Path("2")], [Path("3")]]
    times = throughput.take_turns({"a": way("a"), "b": way("b")}, blocks)  # type: ignore[dict-item] # one argument
    assert calls == [("a", 2), ("b", 2), ("a", 2), ("b", 2), ("a", 1), ("b", 1)]
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2}


def test_ratios_are_of_the_same_block() -> None:
    one, two = throughput.rows({"one": [1.0, 4.0, 1.0], "two": [0.5, 2.0, 0.5]}, files=300, seed=1)
    assert (one.times_one, one.low, one.high, one.slices_a_second) == (1, 1, 1, 50)
    assert (two.times_one, two.low, two.high, two.slices_a_second) == (2, 2, 2, 100)


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
    table = capsys.readouterr().out
    for row in document["rows"]:
        assert f"| {row['name']} | {row['times_one']:.2f} |" in table
