"""The browser that pages are looked at with, for benchmarks and tests."""

from __future__ import annotations

import shutil
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
"""The names that systems have for it."""


def found() -> str | None:
    """Returns the path of Chromium; None where it is not installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)
