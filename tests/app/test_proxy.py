"""The page behind nginx, as docs/deployment.md sets it up: TLS, a password, a log that names nobody."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benchmarks.ports import free_port
from tests import guides
from tests.app.conftest import Served, give
from tests.browsing import TIMEOUT_MS
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

USER, PASSWORD = "reader", "a long one"


@dataclass
class Proxy:
    """nginx before the page.

    Attributes:
        port: with TLS.
        plain_port: without.
        log: the access log that the guide sets up.
    """

    port: int
    plain_port: int
    log: Path


@pytest.fixture(scope="module")
def proxy(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None or shutil.which("openssl") is None:
        pytest.skip("nginx, or openssl to make a certificate, is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    proxy = Proxy(free_port(), free_port(), folder / "falx.log")
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    certificate += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(certificate, check=True, capture_output=True)
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
    (folder / "falx.users").write_text(f"{USER}:{{SHA}}{digest}\n")
    (folder / "nginx.conf").write_text(configuration(proxy, served, folder))
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [nginx, "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"], stdout=said, stderr=said
        )
    try:
        until(lambda: asked(proxy) == 401, process, folder / "said")
        yield proxy
    finally:
        process.terminate()
        process.wait(30)


def configuration(proxy: Proxy, served: Served, folder: Path) -> str:
    """The guide's, whole, with the places of this machine."""
    written = guides.block("docs/deployment.md", "nginx")
    here = {
        "listen 443 ssl": f"listen 127.0.0.1:{proxy.port} ssl",
        "listen 80": f"listen 127.0.0.1:{proxy.plain_port}",
        "falx.example.org": "localhost",
        "/etc/ssl/falx": str(folder),
        "/etc/nginx": str(folder),
        "/var/log/nginx": str(folder),
        "http://127.0.0.1:8501": served.url.replace("localhost", "127.0.0.1"),
    }
    for theirs, ours in here.items():
        assert theirs in written, theirs
        written = written.replace(theirs, ours)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    owner = "user root;\n" if os.geteuid() == 0 else ""
    return f"{owner}daemon off;\npid {folder}/pid;\nevents {{}}\nhttp {{\n{temporary}{written}}}\n"


def asked(proxy: Proxy, path: str = "/", *, user: str = "") -> int:
    """The status of a request, asked with a user's password or with none; 0 where nothing answers."""
    request = urllib.request.Request(f"https://localhost:{proxy.port}{path}")
    if user:
        token = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    trusting = ssl._create_unverified_context()  # noqa: S323 - the certificate was made above
    try:
        with urllib.request.urlopen(request, context=trusting) as answer:  # noqa: S310 - as above
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@pytest.mark.slow
def test_the_page_works_through_it(browser: Browser, proxy: Proxy, files: dict[str, Path]) -> None:
    context = browser.new_context(
        ignore_https_errors=True, http_credentials={"username": USER, "password": PASSWORD}
    )
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    sockets: list[str] = []
    page.on("websocket", lambda opened: sockets.append(opened.url))
    page.goto(f"https://localhost:{proxy.port}")
    page.get_by_text("Ready: falx").wait_for()
    # More than what nginx or the server would hold in memory unasked.
    give(page, files["large.png"])
    assert page.locator('.st-key-answer [data-kind="rejected"]').count() == 1
    assert sockets == [f"wss://localhost:{proxy.port}/_stcore/stream"]
    context.close()
    lines = proxy.log.read_text().splitlines()
    assert {re.sub(r"\d[\d.:T+-]*", "N", line) for line in lines if USER in line} >= {
        f"N {USER} GET N N N",
        f"N {USER} PUT N N N",
    }
    assert [line for line in lines if "/" in line or "large" in line] == []


def test_nobody_gets_in_without_a_password(proxy: Proxy) -> None:
    paths = ("/", "/_stcore/health", "/_stcore/stream", "/static/index.html")
    assert [asked(proxy, path) for path in paths] == [401] * len(paths)
    assert asked(proxy, user="somebody") == 401
    assert asked(proxy, "/_stcore/health", user=USER) == 200


def test_who_comes_without_tls_is_sent_to_it(proxy: Proxy) -> None:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    with pytest.raises(urllib.error.HTTPError, match="301") as refused:
        urllib.request.build_opener(Stay).open(f"http://localhost:{proxy.plain_port}/a?b=c")
    with refused.value as answer:
        assert answer.headers["Location"] == "https://localhost/a?b=c"
