"""The health check for supervisors: `GET /healthz`, on this machine alone, answers 200 or 503."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from falx.errors import AddressUnavailable


class Health:
    """A server that answers with the status as JSON; the status names neither patient nor study."""

    def __init__(self, port: int, status: Callable[[], dict[str, object]]) -> None:
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

            def log_message(self, *arguments: object) -> None:
                """Writes nothing: a check every few seconds would fill the log."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise AddressUnavailable(
                f"the health check cannot listen at port {port}: {error.strerror}"
            ) from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="falx-health", daemon=True).start()

    @property
    def port(self) -> int:
        """The port it listens at."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
