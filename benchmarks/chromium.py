"""The browser that pages are looked at with, for benchmarks and tests."""

from __future__ import annotations

import shutil
from typing import Final

__all__ = ["NAMES", "found"]

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
"""What systems call it."""


def found() -> str | None:
    """Where Chromium is; None where none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)
