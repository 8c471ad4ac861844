"""A quiet console, and progress on one that is not."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

quiet = False
"""True where a command was asked to print errors only."""


def progress(items: Iterable[T] | None, title: str, total: int | None = None, unit: str = "slice") -> tqdm[T]:
    """Shows on a terminal how far the work on items is; None shows what `update` counts."""
    hidden = True if quiet or not title else None
    return tqdm(items, title, total, unit=unit, leave=False, disable=hidden)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keeps what C++ writes off standard error; what Python writes still gets there.

    TensorFlow logs before its log level can be set, and its converter prints rather than logs.
    """
    sys.stderr.flush()
    python, saved = sys.stderr, os.dup(2)
    console = _console()
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = console if python is sys.__stderr__ else python
        try:
            yield
        finally:
            sys.stderr = python
            os.dup2(saved, 2)
            os.close(saved)


@functools.cache
def _console() -> TextIO:
    # Closed at the very end: log handlers that are made while it stands in for standard error keep it.
    stream = os.fdopen(os.dup(2), "w", buffering=1)
    atexit.register(stream.close)
    return stream
