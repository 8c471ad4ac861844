"""Long work that a caller watches, and may end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

from falx.errors import Cancelled

T = TypeVar("T")

Progress: TypeAlias = Callable[[int, int | None], object]
"""Is called with how many items are done, and how many there are, None where that is not known yet. Where it
returns False, the work ends with `Cancelled`."""


def watched(items: Iterable[T], progress: Progress | None, total: int | None = None) -> Iterator[T]:
    """Yields the items, and calls the function before each; raises Cancelled where it returned False."""
    for done, item in enumerate(items, start=1):
        if progress is not None and progress(done, total) is False:
            of = "" if total is None else f" of {total}"
            raise Cancelled(f"cancelled by the caller after {done}{of}")
        yield item
