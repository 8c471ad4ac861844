"""LiteRT greets on standard error when it is imported or its first engine starts; this keeps the line away.

LiteRT has no setting for that. The line goes through C's stream `stderr`, so for that moment this
stream leads nowhere. The process's standard error stays: what Python and other threads write there arrives,
and so does what processes write that are started meanwhile.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_greeted: Final[dict[str, object]] = {}
"""The steps that were taken in this process."""


@contextmanager
def no_greeting(step: str) -> Iterator[None]:
    """Silences C's `stderr` where an engine takes this step for the first time; it greets only then."""
    mine = object()
    stream = _stream() if _greeted.setdefault(step, mine) is mine else None
    if stream is None:
        yield
        return
    before = stream.value
    stream.value = _nowhere()
    try:
        yield
    finally:
        stream.value = before


def _stream() -> ctypes.c_void_p | None:
    """Returns the variable that holds C's `stderr`; None where it is not known to be one."""
    if sys.platform == "darwin":
        name = "__stderrp"
    elif "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}) and os.confstr("CS_GNU_LIBC_VERSION"):
        name = "stderr"
    else:
        # Windows has a function in its place, musl a constant: there the line appears. To exchange the file
        # descriptor would silence what others write in that moment.
        return None
    return ctypes.c_void_p.in_dll(ctypes.CDLL(None), name)


@functools.cache
def _nowhere() -> int | None:
    """Returns a stream that leads nowhere. It is never closed: another thread may be about to write to it."""
    fopen = ctypes.CDLL(None).fopen
    fopen.restype = ctypes.c_void_p
    opened: int | None = fopen(os.devnull.encode(), b"w")
    return opened
