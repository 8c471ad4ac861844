"""A guard between the network and Streamlit: headers, the origin of requests, number and size of uploads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from falx.words import MEBIBYTE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        # Streamlit's page has an inline script and inline styles, and loads the viewer from a blob.
        "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'none'",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
)
"""The page may talk to the server it came from, and to nobody else: the browser refuses the rest."""

HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""The headers of every answer."""

UPLOADS: Final = "/_stcore/upload_file/"
"""The path, private to Streamlit, to which browsers send files: PATH/SESSION/FILE."""

STATIC: Final = "/static/"
"""The path of Streamlit's own files, the only ones that a browser may keep."""

MOST_DRAINED: Final = 64 * MEBIBYTE
"""Bytes of a refused request that are read all the same, and one message more at most."""

SESSIONS: Final = 1000
"""The number of visitors whose uploads are counted; those longest without an upload are forgotten."""


class Uploads:
    """Counts the uploads that each session holds; safe to share between threads."""

    def __init__(self, maximum_files: int, maximum_bytes: int) -> None:
        self._maximum_files = maximum_files
        self._maximum_bytes = maximum_bytes
        self._held: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, session: str, file: str, size: int) -> bool:
        """Counts an upload of `size` bytes in; returns False where the session would hold too much."""
        with self._lock:
            held = self._held.setdefault(session, {})
            self._held.move_to_end(session)
            if len(self._held) > SESSIONS:
                self._held.popitem(last=False)
            holding = {**held, file: size}
            if len(holding) > self._maximum_files or sum(holding.values()) > self._maximum_bytes:
                return False
            held[file] = size
            return True

    def drop(self, session: str, file: str) -> None:
        """Counts an upload out."""
        with self._lock:
            self._held.get(session, {}).pop(file, None)

    def forget(self, session: str) -> None:
        """Counts all uploads of a session out."""
        with self._lock:
            self._held.pop(session, None)


class Guard:
    """An ASGI middleware around Streamlit."""

    def __init__(self, app: ASGIApp, *, uploads: Uploads) -> None:
        self._app = app
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is not None:
            await _refuse(scope, receive, send, refused)
            return
        # Streamlit compares an origin that is not "localhost" with this machine's public address, which
        # it asks a server on the internet for. The origin is compared here, so it need not.
        headers = [(name, value) for name, value in scope["headers"] if name != b"origin"]
        await self._app({**scope, "headers": headers}, receive, _with_headers(scope, send))

    def _refusal(self, scope: Scope) -> HTTPStatus | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc != headers.get(b"host"):
            return HTTPStatus.FORBIDDEN
        if scope["type"] == "http" and UPLOADS in scope["path"]:
            return self._count(scope["method"], scope["path"], headers.get(b"content-length", ""))
        return None

    def _count(self, method: str, path: str, length: str) -> HTTPStatus | None:
        """Counts an upload in or out, and returns why it is refused; None where it is not."""
        session, _, file = path.rpartition(UPLOADS)[2].partition("/")
        if method == "DELETE":
            self._uploads.drop(session, file)
        elif method == "PUT" and not length.isdecimal():
            return HTTPStatus.LENGTH_REQUIRED
        elif method == "PUT" and not self._uploads.take(session, file, int(length)):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return None


async def _refuse(scope: Scope, receive: Receive, send: Send, status: HTTPStatus) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": status.phrase})
        return
    # A browser that is still sending when the connection is closed reports a broken network, not the reason.
    drained = 0
    while drained <= MOST_DRAINED:
        message = await receive()
        drained += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    from starlette.responses import PlainTextResponse

    await PlainTextResponse(status.phrase, status, {"connection": "close"})(scope, receive, send)


def _with_headers(scope: Scope, send: Send) -> Send:
    from starlette.datastructures import MutableHeaders

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            if STATIC not in scope["path"]:
                # Slices and reports are not left in the browser's cache on the disk.
                headers["cache-control"] = "no-store"
        await send(message)

    return sending
