"""The latency benchmark measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks import latency

from falx.classifier import DEFAULT_MODEL


def test_contenders_take_turns_and_the_warm_up_is_not_counted() -> None:
    calls: list[tuple[str, bytes]] = []
    contenders: dict[str, latency.Contender] = {
        "a": lambda data: calls.append(("a", data)),
        "b": lambda data: calls.append(("b", data)),
    }
    times = latency.measure(contenders, [b"1", b"2"], runs=2, warm_up=1)
    assert calls == [("a", b"1"), ("b", b"1"), ("a", b"2"), ("b", b"2"), ("a", b"1"), ("b", b"1")]
    assert {name: values.shape for name, values in times.items()} == {"a": (2,), "b": (2,)}


def test_it_prints_a_table_and_writes_the_same_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latency.json"
    arguments = ["--model", str(DEFAULT_MODEL), "--threads", "2", "--runs", "3", "--warm-up", "1"]
    assert latency.main([*arguments, "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    names = {(row["name"], row["threads"]) for row in document["rows"]}
    assert {(name, n) for name in ("Falx, litert", "Pillow + LiteRT") for n in (1, 2)} <= names
    assert [row["ratio"] for row in document["rows"] if row["name"] == "Falx, litert"] == [1.0, 1.0]
    assert (document["runs"], document["warm_up"], document["seed"]) == (3, 1, 7)
    table = capsys.readouterr().out
    for row in document["rows"]:
        assert f"| {row['name']} | {row['threads']} | {row['p50_ms']:.2f} |" in table
