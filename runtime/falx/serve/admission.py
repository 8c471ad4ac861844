"""The bounds of the service: how much of a request is read, how many wait, and for how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from falx.words import MEBIBYTE

if TYPE_CHECKING:
    from starlette.requests import Request

    from falx.serve.bounds import Bounds

MULTIPART: Final = "multipart/form-data"


class Admission:
    """The requests that are worked on and those that wait: `running` and `waiting` are how many."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._turn = asyncio.Semaphore(bounds.running)
        self.running = self.waiting = 0
        self._last_s = 1.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for the turn of a request."""
        if self._turn.locked() and self.waiting >= self._bounds.waiting:
            # After which those that wait now have likely had their turn, in seconds.
            retry_s = max(1, round(self._last_s * self.waiting / self._bounds.running))
            why = f"{self.waiting} requests wait already; try again"
            raise HTTPException(429, why, {"Retry-After": str(retry_s)})
        self.waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self._last_s = time.monotonic() - started
            self.running -= 1
            self._turn.release()


class _InMemory(MultiPartParser):
    """A parser of forms that writes no file: the size of a request is bounded."""

    spool_max_size = 2**62


async def uploads(request: Request, bounds: Bounds) -> list[bytes]:
    """Reads the files of a request into memory: the body as it is, or the files of a form."""
    form = request.headers.get("content-type", "").startswith(MULTIPART)
    try:
        if form:
            found = await _of_form(request, bounds)
        else:
            found = [b"".join([part async for part in _bounded(request, bounds)])]
    except MultiPartException as error:
        raise HTTPException(400, f"the form cannot be read: {error.message}") from None
    if not found or not any(found):
        raise HTTPException(422, "expected a file: give its bytes as the body, or as a field of a form")
    return found


async def _of_form(request: Request, bounds: Bounds) -> list[bytes]:
    parser = _InMemory(request.headers, _bounded(request, bounds), max_files=bounds.files, max_fields=16)
    form = await parser.parse()
    try:
        return [await value.read() for _, value in form.multi_items() if not isinstance(value, str)]
    finally:
        await form.close()


async def _bounded(request: Request, bounds: Bounds) -> AsyncGenerator[bytes, None]:
    """Yields the body; refuses it as soon as it says, or turns out, to be too large."""
    most = bounds.megabytes * MEBIBYTE
    told = request.headers.get("content-length", "0")
    size = int(told) if told.isdecimal() else most + 1
    if size <= most:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                break
            yield part
    if size > most:
        raise HTTPException(413, f"expected at most {bounds.megabytes} MiB, this request is larger")
