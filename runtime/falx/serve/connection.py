"""A connection of the service, which sends each part of an answer at once."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """Uvicorn's connection without Nagle's algorithm (RFC 896).

    With several processes uvicorn makes the socket itself, and asyncio does not know it for one of TCP. An
    answer's body then waits for the acknowledgement of its head, which comes 40 ms late.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins, as uvicorn does, without the wait."""
        cast("socket.socket", transport.get_extra_info("socket")).setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        super().connection_made(transport)
