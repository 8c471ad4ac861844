"""Fewer resamples than are drawn for a report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from falx_trainer.evaluation import bootstrap


@contextmanager
def resamples(count: int) -> Iterator[None]:
    """Draws so many within: they change no value, and the intervals little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "RESAMPLES", count)
        bootstrap._drawn.cache_clear()
        yield
    bootstrap._drawn.cache_clear()
