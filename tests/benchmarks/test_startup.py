"""The startup benchmark measures what it says."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest
from benchmarks import startup
from benchmarks.startup import Run

HELD = "import time; held = bytearray(64 << 20); time.sleep(0.2)"


def test_ratios_are_of_the_same_round_and_memory_is_over_the_first() -> None:
    runs: dict[str, list[Run | None]] = {
        "base": [Run(100, 27), Run(300, 27), Run(100, 28)],
        "falx": [Run(160, 56), Run(480, 57), Run(150, 57)],
        "slow": [None, Run(1800, 500), None],
    }
    base, falx, slow = startup.rows(runs, {"base": None, "falx": 62.5, "slow": 1000.0}, seed=1)
    assert [base[name] for name in ("ratio", "over_mib", "disk_mb", "rounds")] == [1, 0, None, 3]
    assert [falx[name] for name in ("ratio", "p50_ms", "over_mib", "peak_mib", "disk_mb")] == [
        *(1.6, 160, 30, 57, 62.5)
    ]
    # It took part in one round of three, and is compared in that one.
    assert (slow["ratio"], slow["p50_ms"], slow["rounds"]) == (6, 1800, 1)


def test_a_process_is_timed_from_its_start_and_its_memory_is_its_own() -> None:
    held = bytearray(200 << 20)
    run = startup.start([sys.executable, "-S", "-c", HELD])
    assert run is not None
    assert run.ms > 200
    # Not what this process holds.
    assert 64 < run.peak_mib < 150
    assert len(held) == 200 << 20


def test_a_process_that_fails_is_no_time() -> None:
    assert startup.start([sys.executable, "-S", "-c", "raise SystemExit(3)"]) is None


def test_what_distributions_take_with_what_they_require(tmp_path: Path) -> None:
    alone = startup.installed_mb(["numpy"])
    numpy = metadata.distribution("numpy")
    files = {Path(str(file.locate())) for file in numpy.files or ()}
    assert alone == round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 1)
    (tmp_path / "__pycache__").mkdir()
    for name, size in (("model", 3_000_000), ("__pycache__/module.pyc", 9_000_000)):
        (tmp_path / name).write_bytes(bytes(size))
    assert startup.installed_mb(["numpy"], [tmp_path]) == pytest.approx(alone + 3)
    # With what it requires.
    assert startup.installed_mb(["ai-edge-litert"]) > alone
    with pytest.raises(metadata.PackageNotFoundError):
        startup.installed_mb(["no-such-distribution"])
