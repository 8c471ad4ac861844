"""The command line answers for fixed inputs as a file holds it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent

NEAR = 0.02
"""A probability may differ by this much: engines add up in another order on another processor."""


def test_the_command_line_answers_as_before() -> None:
    for package in ("nibabel", "pydicom", "ai_edge_litert"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    golden = importlib.import_module("tests.command.golden")
    lines = (FOLDER / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    wanted = [json.loads(line) for line in lines]
    got = golden.answers()
    assert [answer["command"] for answer in got] == [answer["command"] for answer in wanted]
    for answer, expected in zip(got, wanted, strict=True):
        assert _near(answer, expected) == expected


def _near(value: Any, expected: Any) -> Any:
    """Returns a value, with each number that is near the expected one replaced by that."""
    if isinstance(value, dict) and isinstance(expected, dict):
        return {key: _near(item, expected.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(expected, list) and len(value) == len(expected):
        return [_near(item, other) for item, other in zip(value, expected, strict=True)]
    if isinstance(value, float) and isinstance(expected, float) and abs(value - expected) <= NEAR:
        return expected
    return value
