from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks import soak

import falx


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells the memory of a process")
def test_a_short_soak_tells_what_memory_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "FIRST", 20)
    kept: list[dict[str, Any]] = []
    report = soak.soak(falx.load(), 60, kept.append)
    assert kept[-1] == report
    assert report["predictions"] == 60
    assert [number for number, _ in report["curve"]] == list(range(21, 61))
    # Of this process, in which other tests may have loaded TensorFlow.
    assert report["mb_after_1000"] > 10
    assert report["growth_mb"] == round(report["mb_at_the_end"] - report["mb_after_1000"], 2)
