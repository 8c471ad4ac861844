"""A finished run, any field of which can be another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from falx.decision import DEFAULT_THRESHOLDS
from falx_runs.run_folder import Calibration, FinishedRun


def finished(folder: Path, **changes: Any) -> FinishedRun:
    """Returns what a training tells of its model, which need not be in the folder."""
    fields: dict[str, Any] = {
        "folder": folder,
        "name": "small",
        "preset": "default",
        "calibration": Calibration(1.5, 0.3, 1.2),
        "thresholds": DEFAULT_THRESHOLDS,
        "metrics": {"val": {"accuracy": 0.5}},
        "seed": 7,
        "trainer": "0.1.0",
        "data": {"fingerprint": "0" * 64},
    }
    return FinishedRun(**fields | changes)
