"""Servers that a measurement or a test starts, and ports for them."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 300
"""A busy machine takes a minute to start a server."""


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(*words: str, well: str) -> Iterator[int]:
    """Runs a command of `falx` that serves while its block runs; yields its port once `well` answers."""
    port = free_port()
    command = [sys.executable, "-m", "falx", *words, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - this Python
    try:
        _wait(f"http://localhost:{port}{well}", process)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url):  # noqa: S310 - http, on this machine
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.1)
