from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed")

import uvicorn
from uvicorn.server import ServerState

from falx.serve.connection import Connection


async def _no_app(scope: object, receive: object, send: object) -> None:
    raise AssertionError("no request is sent")


def test_an_answer_does_not_wait_for_an_acknowledgement() -> None:
    # In a thread: a browser's driver may keep a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: asyncio.run(_delays(Connection))).result() is False


async def _delays(kind: type[Connection]) -> bool:
    """Tells whether the server's side waits on a socket that is made as for several processes."""
    listening = socket.socket(socket.AF_INET)
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(_no_app, log_config=None)
    config.load()
    met: list[Connection] = []

    def made() -> Connection:
        met.append(kind(config, ServerState(), {}))
        return met[-1]

    server = await asyncio.get_running_loop().create_server(made, sock=listening)
    _, writer = await asyncio.open_connection(*listening.getsockname())
    while not met or cast("object", met[0].transport) is None:
        await asyncio.sleep(0.01)
    accepted: socket.socket = met[0].transport.get_extra_info("socket")
    delays = not accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    writer.close()
    server.close()
    return delays
