"""The service over real connections, in a process of its own."""

from __future__ import annotations

import contextlib
import io
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from benchmarks.ports import free_port
from PIL import Image
from tests.pictures import encoded, zipped
from tests.waiting import PATIENCE_S, until

pytest.importorskip("httpx", reason="httpx, which asks the service, is not installed")

import httpx

import falx
from falx import phantom

for package in ("python_multipart", "starlette", "uvicorn"):
    pytest.importorskip(package, reason=f"{package} is not installed (pip install 'falx[serve]')")

BEARER = "a-token-of-twenty-letters"


class Served(httpx.Client):
    """A running service, and a client of it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        super().__init__(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE_S, trust_env=False)
        self.log = folder / "serve.log"
        command = [sys.executable, "-m", "falx", "serve", "--port", str(self.port), *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self.up, self.process, self.log)

    def up(self) -> bool:
        try:
            return self.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        self.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def form(*files: bytes) -> dict[str, Any]:
    """Returns the argument with which a client sends files in a form."""
    return {"files": [("file", (f"{n}.png", data)) for n, data in enumerate(files)]}


FORM = {"Content-Type": "multipart/form-data; boundary=falx"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(tmp_path_factory.mktemp("serve"), "--max-megabytes", "2", "--max-files", "20")
    yield running
    assert running.stop() == -signal.SIGTERM


@pytest.fixture(scope="module")
def lesion() -> bytes:
    return encoded(phantom.lesion())


@pytest.mark.parametrize("kind", ["body", "form"])
def test_a_slice_is_answered_as_the_command_line_does(served: Served, lesion: bytes, kind: str) -> None:
    answer = served.post("/v1/predict", **({"content": lesion} if kind == "body" else form(lesion)))
    expected = falx.load().predict(lesion).to_dict()
    assert answer.status_code == 200
    assert answer.json() | {"elapsed_ms": 0} == expected | {"elapsed_ms": 0}


def test_thresholds_come_from_the_query(served: Served, lesion: bytes) -> None:
    asked = served.post("/v1/predict?glioma=0.9999&meningioma=0.9999", content=lesion)
    assert asked.json()["decision"] == "ambiguous"
    for query, message in (
        ("glioma=2", "threshold of glioma must be in (0, 1], got 2.0"),
        ("glioma=x", "expected numbers in (0, 1] as thresholds"),
        ("tumour=0.5", "unknown parameter 'tumour'; known are thresholds of no_tumor, meningioma,"),
    ):
        answer = served.post(f"/v1/predict?{query}", content=lesion)
        assert answer.status_code == 422
        assert message in answer.json()["error"]["message"]


def test_a_heatmap_is_a_picture_of_the_slice(served: Served, lesion: bytes) -> None:
    answer = served.post("/v1/heatmap", content=lesion)
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert (shown.size, shown.mode) == ((256, 256), "RGB")
    blank = served.post("/v1/heatmap", content=encoded(phantom.clear() * 0))
    assert blank.status_code == 409
    assert "there is no heatmap: The picture is of one brightness" in blank.json()["error"]["message"]


def test_a_study_of_pictures_or_in_a_zip(served: Served, lesion: bytes) -> None:
    slices = {"slices/0.png": lesion, "slices/1.png": encoded(phantom.clear())}
    for given in (form(*slices.values()), {"content": zipped(slices)}):
        answer = served.post("/v1/study", **given)
        assert answer.status_code == 200
        assert [row["decision"] for row in answer.json()["slices"]] == ["glioma", "no_tumor"]


@pytest.mark.parametrize(
    ("path", "given", "status", "message"),
    [
        ("/v1/predict", {"content": b""}, 422, "expected a file"),
        ("/v1/predict", {"content": b"not a picture"}, 422, "expected PNG, JPEG"),
        ("/v1/predict", form(b"a", b"b"), 422, "expected one file, got 2; /v1/study takes several"),
        ("/v1/study", {"content": b"not a picture"}, 422, "expected PNG, JPEG"),
        ("/v1/predict", {"content": b"--other", "headers": FORM}, 400, "the form cannot be read"),
        ("/v1/study", form(*[b"x"] * 21), 400, "Too many files"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    served: Served, path: str, given: dict[str, Any], status: int, message: str
) -> None:
    answer = served.post(path, **given)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("told", [True, False])
def test_what_is_too_large_is_refused_as_soon_as_that_is_known(served: Served, told: bool) -> None:
    size = 3 * 1024 * 1024
    length = f"Content-Length: {size}" if told else "Transfer-Encoding: chunked"
    with socket.create_connection(("127.0.0.1", served.port), 20) as link:
        link.sendall(f"POST /v1/predict HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n".encode())
        if not told:
            with contextlib.suppress(OSError):
                link.sendall(f"{size:x}\r\n".encode() + bytes(size))
        answer = b""
        while b"}}" not in answer and (part := link.recv(5000)):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"expected at most 2 MiB, this request is larger" in answer


def test_a_thousand_malformed_requests_leave_the_service_as_it_was(served: Served, lesion: bytes) -> None:
    before = resident_kb(served.process.pid)

    def send(number: int) -> None:
        broken = [
            b"POST /v1/predict HTTP/1.1\r\nContent-Length: 99\r\n\r\nx",
            b"POST /v1/study HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data\r\n"
            b"Content-Length: 3\r\n\r\nabc",
            b"\x16\x03\x01\x02\x00" + bytes(200),
            b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
            b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
        ][number % 5]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", served.port), 20) as link:
            link.settimeout(0.2)
            link.sendall(broken)
            link.recv(1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(1000)))
    assert served.post("/v1/predict", content=lesion).json()["decision"] == "glioma"
    # What the answers took stays within what Python keeps of its own.
    assert resident_kb(served.process.pid) - before < 30_000


def resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("/proc tells the memory of a process")
    return int(status.read_text().partition("VmRSS:")[2].split()[0])


def test_metrics_count_requests_and_decisions(served: Served, lesion: bytes) -> None:
    def count(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", served.get("/metrics").text, re.M)
        return float(found[1]) if found else 0.0

    name = 'falx_requests_total{endpoint="predict",status="200"}'
    before, decided = count(name), count('falx_decisions_total{decision="glioma"}')
    assert served.post("/v1/predict", content=lesion).status_code == 200
    assert count(name) == before + 1
    assert count('falx_decisions_total{decision="glioma"}') == decided + 1
    assert count('falx_request_seconds_bucket{le="+Inf"}') == count("falx_request_seconds_count")
    assert count("falx_running") == 0


def test_the_description_names_every_endpoint(served: Served) -> None:
    document = served.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {"/v1/predict", "/v1/heatmap", "/v1/study", "/healthz", "/metrics"}
    page = served.get("/").text
    assert all(path in page for path in document["paths"])
    assert "http://" not in page.replace("http://127.0.0.1", "").replace("http://json-schema", "")


def test_nothing_of_a_request_is_stored_or_logged(served: Served, lesion: bytes, tmp_path: Path) -> None:
    def files() -> set[Path]:
        return {link.readlink() for link in Path(f"/proc/{served.process.pid}/fd").iterdir()}

    before = files()
    served.post("/v1/predict", **form(lesion * 8))
    assert {path for path in files() - before if path.is_relative_to(tempfile.gettempdir())} == set()
    served.post("/v1/predict?tumour=Mustermann", content=lesion)
    assert "Mustermann" not in served.log.read_text()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts a service with options of a test's own; that it ends by a signal is asserted in the end."""
    started: list[Served] = []

    def start(*options: str) -> Served:
        started.append(Served(tmp_path, *options))
        return started[-1]

    yield start
    assert [one.stop() for one in started] == [-signal.SIGTERM] * len(started)


def test_a_token_opens_the_service(own: Callable[..., Served], tmp_path: Path, lesion: bytes) -> None:
    (tmp_path / "token").write_text(f"{BEARER}\n")
    served = own("--token-file", str(tmp_path / "token"))
    for method, path in (("POST", "/v1/predict"), ("GET", "/metrics")):
        ask = partial(served.request, method, path, content=lesion if method == "POST" else None)
        assert ask().status_code == 401
        assert ask(headers={"Authorization": "Bearer wrong"}).headers["www-authenticate"] == "Bearer"
        assert ask(headers={"Authorization": f"Bearer {BEARER}"}).status_code == 200
    assert served.get("/openapi.json").json()["security"] == [{"token": []}]


def test_a_full_queue_says_when_to_come_again_and_slow_senders_are_given_up(
    own: Callable[..., Served], lesion: bytes
) -> None:
    served = own("--max-running", "1", "--max-waiting", "1", "--max-seconds", "3")
    slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(20)]
    for link in slow:
        link.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
    # They send slowly, and take nobody's turn.
    assert served.post("/v1/predict", content=lesion).status_code == 200
    study = form(*[lesion] * 60)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: served.post("/v1/study", **study), range(6)))
    assert {answer.status_code for answer in answers} <= {200, 429, 503}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    for link in slow:
        link.settimeout(20)
        assert b" 503 " in link.recv(1000).split(b"\r\n")[0]
        link.close()


def test_a_client_that_goes_leaves_no_turn_taken(own: Callable[..., Served], lesion: bytes) -> None:
    served = own("--max-running", "1", "--max-waiting", "1")
    start = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(lesion)
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", served.port)) as link:
            link.sendall(start + lesion[:-1])
    assert served.post("/v1/predict", content=lesion).status_code == 200
    text = served.get("/metrics").text
    assert "\nfalx_running 0\n" in text
    assert "\nfalx_waiting 0\n" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--token-file", "absent"), "absent: cannot read the token"),
        (("--token-file", "short"), "expected one word of at least 16 characters"),
        (("--model", "absent.tflite"), "no such model file"),
        (("--port", "65536"), "argument --port: expected a port, 1 to 65535, got '65536'"),
        (("--port", "TAKEN"), "give another with --address or --port"),
    ],
)
def test_a_start_that_fails_says_why(tmp_path: Path, options: tuple[str, str], message: str) -> None:
    (tmp_path / "short").write_text("abc")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = [option.replace("TAKEN", str(taken.getsockname()[1])) for option in options]
        command = [sys.executable, "-m", "falx", "serve", *given]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert message in done.stderr
