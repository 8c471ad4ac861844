"""A check for supervisors: `GET /healthz` on this machine alone, 200 where all is well and 503 where not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from falx.errors import FalxError

__all__ = ["Health"]


class Health:
    """Answers with the status as JSON; it names no patient and no study."""

    def __init__(self, port: int, status: Callable[[], dict[str, Any]]) -> None:
        """Listen at 127.0.0.1.

        Raises:
            FalxError: the port is taken.
        """

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                if self.path != "/healthz":
                    self.send_error(404)
                    return
                answer = status()
                body = json.dumps(answer).encode()
                self.send_response(200 if answer["status"] == "ok" else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                """Nothing: a check every few seconds would fill the log."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise FalxError(f"the health check cannot listen at port {port}: {error.strerror}") from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="falx-health", daemon=True).start()

    @property
    def port(self) -> int:
        """The port it listens at."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
