"""The collections that some tests read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of `data`, `outliers` and `studies`; the test is skipped without it."""
    folder = Path(os.environ.get("FALX_SHARED", CHECKOUT.parent / "shared"))
    for name in ("data", "outliers", "studies"):
        if not (folder / name / "manifest.csv").is_file():
            pytest.skip(f"needs the MRI data: no manifest.csv in {folder / name} (set FALX_SHARED)")
    return folder
