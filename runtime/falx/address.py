"""The address that a server of Falx listens at."""

from __future__ import annotations

import socket
import sys
from typing import Final

from falx.errors import AddressUnavailable

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
"""The addresses that are reached from this machine only."""


def check_free(address: str, port: int) -> None:
    """Finds out whether an address can be listened at.

    A server that finds it taken writes a line to its log, which is silent here, and ends the process.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        raise AddressUnavailable(
            f"cannot listen at {address}, port {port}: {error.strerror or error}; "
            "give another with --address or --port"
        ) from error
