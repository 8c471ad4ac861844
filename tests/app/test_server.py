"""The server of the page: whom it lets in, and what its command accepts."""

from __future__ import annotations

import argparse
import re
import socket
import urllib.error
import urllib.request
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from tests.app.conftest import Served
from tests.said import Command

from falx.app import page
from falx.app.guard import HEADERS, MOST_DRAINED, Guard, Uploads
from falx.command.app import add_app
from falx.words import DISCLAIMER


class TestGuard:
    def test_counts_the_uploads_of_a_session(self) -> None:
        guard = Guard(accept, uploads=Uploads(2, 1000))
        path, size = "/falx/_stcore/upload_file/one/", (b"content-length", b"400")
        assert [ask(guard, "PUT", f"{path}{file}", size) for file in "aab"] == [200, 200, 200]
        assert ask(guard, "PUT", f"{path}c", size) == 413
        assert ask(guard, "PUT", "/falx/_stcore/upload_file/other/c", size) == 200
        assert ask(guard, "DELETE", f"{path}a") == 200
        assert ask(guard, "PUT", f"{path}c", (b"content-length", b"601")) == 413
        assert ask(guard, "PUT", f"{path}c", (b"content-length", b"600")) == 200
        # Its size is counted before it comes in.
        assert ask(guard, "PUT", f"{path}b") == 411

    def test_what_is_forgotten_counts_no_more(self) -> None:
        uploads = Uploads(2, 1000)
        assert [uploads.take("one", file, 1) for file in "abc"] == [True, True, False]
        assert uploads.take("other", "c", 1)
        uploads.forget("one")
        assert [uploads.take("one", file, 1) for file in "cde"] == [True, True, False]
        assert [uploads.take("other", file, 1) for file in "de"] == [True, False]

    def test_what_is_refused_is_answered_when_it_was_sent(self) -> None:
        # A browser that still sends when the connection is closed says "network error", not why.
        uploads = Uploads(1, 1000)
        uploads.take("one", "a", 1)
        bodies = [{"type": "http.request", "body": bytes(2**20), "more_body": more} for more in (True, False)]
        headers = [(b"content-length", b"1")]
        scope = {"type": "http", "method": "PUT", "path": "/_stcore/upload_file/one/b", "headers": headers}
        sent = run(Guard(accept, uploads=uploads), scope, bodies)
        assert (sent[0]["status"], bodies) == (413, [])
        endless = [{"type": "http.request", "body": bytes(MOST_DRAINED // 2), "more_body": True}] * 4
        sent = run(Guard(accept, uploads=uploads), scope, endless)
        assert (sent[0]["status"], len(endless)) == (413, 1)

    def test_an_origin_is_compared_with_the_host(self) -> None:
        guard = Guard(accept, uploads=Uploads(2, 1000))
        host = (b"host", b"falx.example:8443")
        assert ask(guard, "GET", "/", host, (b"origin", b"https://falx.example:8443")) == 200
        assert ask(guard, "GET", "/", host, (b"origin", b"https://falx.example")) == 403
        assert ask(guard, "GET", "/", host, (b"origin", b"null")) == 403

    def test_a_websocket_of_another_origin_is_closed(self) -> None:
        headers = [(b"host", b"localhost:8501"), (b"origin", b"http://elsewhere.example")]
        scope = {"type": "websocket", "path": "/_stcore/stream", "headers": headers}
        sent = run(Guard(accept, uploads=Uploads(2, 1000)), scope)
        assert sent == [{"type": "websocket.close", "code": 1008, "reason": "Forbidden"}]

    def test_streamlit_never_sees_the_origin(self) -> None:
        seen: list[Any] = []

        async def look_at(scope: Any, receive: Any, send: Any) -> None:
            seen.extend(scope["headers"])

        headers = [(b"host", b"falx.example"), (b"origin", b"https://falx.example")]
        run(Guard(look_at, uploads=Uploads(2, 1000)), {"type": "websocket", "path": "/", "headers": headers})
        assert seen == [(b"host", b"falx.example")]


async def accept(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def run(
    guard: Guard, scope: MutableMapping[str, Any], messages: list[dict[str, Any]] | None = None
) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"} if messages is None else messages.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    # Nothing here waits, so it needs no event loop; Playwright's is running in this thread.
    with pytest.raises(StopIteration):
        guard(scope, receive, send).send(None)
    return sent


def ask(guard: Guard, method: str, path: str, *headers: tuple[bytes, bytes]) -> int:
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    return int(run(guard, scope)[0]["status"])


class TestCommand:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--port", "0"], "expected a port, 1 to 65535, got '0'"),
            (["--port", "x"], "expected a port, 1 to 65535, got 'x'"),
            (["--base-path", "a b"], "expected a path such as /falx, got 'a b'"),
            (["--max-files", "0"], "expected a whole number from 1, got '0'"),
        ],
    )
    def test_says_what_an_option_must_be(self, options: list[str], words: str, command: Command) -> None:
        command("app", *options).refuses(words)

    def test_listens_to_this_machine_unless_told_otherwise(self) -> None:
        parser = argparse.ArgumentParser()
        add_app(parser)
        assert parser.parse_args([]).address == "127.0.0.1"
        assert parser.parse_args(["--base-path", "/falx/"]).base_path == "falx"

    def test_a_port_in_use_is_told_as_such(self, command: Command) -> None:
        pytest.importorskip("streamlit", reason="streamlit is not installed: pip install 'falx[app]'")
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            said = command("app", "--port", port, "--no-browser")
        assert said.status == 2
        assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in said.err
        assert "give another with --address or --port" in said.err

    def test_an_unexpected_error_is_told_by_its_place(self, capsys: pytest.CaptureFixture[str]) -> None:
        testing = pytest.importorskip("streamlit.testing.v1")
        # Without a service, as nothing else lets the page fail.
        shown = testing.AppTest.from_file(str(Path(page.__file__).with_name("__main__.py"))).run(timeout=60)
        (said,) = [error.value for error in shown.error]
        words = r"Something went wrong on the server \((.+, line \d+)\)\. Load the page again\."
        found = re.fullmatch(words, said)
        assert found is not None, said
        assert capsys.readouterr().err.endswith(f"falx app: an unexpected error in {found[1]}\n")

    def test_headers_keep_the_page_to_itself(self, served: Served) -> None:
        assert served.log.read_text().startswith(f"Falx is at {served.url}; Ctrl+C ends it.\n{DISCLAIMER}\n")
        with urllib.request.urlopen(served.url) as response:  # noqa: S310 - http, on this machine
            headers = {name.lower(): value for name, value in response.headers.items()}
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert headers["cache-control"] == "no-store"
        foreign = urllib.request.Request(served.url, headers={"Origin": "http://elsewhere.example"})  # noqa: S310
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(foreign)  # noqa: S310
        refused.value.close()
