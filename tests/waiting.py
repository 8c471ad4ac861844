"""Waiting for a condition, for as long as a busy machine may need."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

__all__ = ["PATIENCE_S", "until"]

T = TypeVar("T")

PATIENCE_S: Final = 300.0
"""A busy machine is slow, not wrong: what takes longer than this does not come."""


def until(
    condition: Callable[[], T | None], process: subprocess.Popen[Any] | None = None, log: Path | None = None
) -> T:
    """Returns the result of a condition as soon as it is true, while a process runs that must not end."""
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        said = log.read_text(errors="replace") if log is not None else ""
        assert process is None or process.poll() is None, f"it ended: {said}"
        assert time.monotonic() < end, f"not within {PATIENCE_S:g} s: {said}"
        time.sleep(0.02)
    return found
