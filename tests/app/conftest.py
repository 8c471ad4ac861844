"""The page, served by this checkout, and Chromium to look at it."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from benchmarks.ports import free_port
from PIL import Image, ImageDraw, ImageFont
from tests.browsing import TIMEOUT_MS
from tests.pictures import Pixels
from tests.waiting import until

import falx
from falx import phantom
from falx.app.page_service import PageService
from falx.app.uploads import Upload, taken

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

MAXIMUM_FILES = 12
MAXIMUM_SLICES = 30
PATIENT = "Zoë Wiśniewska"

# The command, in a process that notes what it writes to the disk and whom it connects to.
SERVER = """
import os, sys
notes = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def note(event, arguments):
    if event == "open" and arguments[0] != "/dev/null":
        path, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if mode else bool(flags & WRITING)
        if writes:
            os.write(notes, f"open {path!r}\\n".encode())
    elif event in ("os.mkdir", "os.rename", "tempfile.mkstemp", "tempfile.mkdtemp"):
        os.write(notes, f"{event} {arguments[0]!r}\\n".encode())
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        os.write(notes, f"{event} {arguments[1:]!r}\\n".encode())
sys.dont_write_bytecode = True
from falx.command.main import main
sys.addaudithook(note)
sys.exit(main(["app", *sys.argv[2:]]))
"""


@dataclass
class Served:
    """The page's server.

    Attributes:
        url: of the page.
        notes: a file of what it wrote and whom it connected to.
        log: what it printed.
        requests: what browsers asked for, of anyone.
    """

    url: str
    notes: Path
    log: Path
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page, served for all tests."""
    for package in ("streamlit", "fpdf", "jinja2"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'falx[app]'")
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    served = Served(f"http://localhost:{port}", folder / "notes", folder / "log")
    options = ["--port", str(port), "--no-browser", "--max-files", str(MAXIMUM_FILES), "--max-megabytes", "4"]
    options += ["--max-slices", str(MAXIMUM_SLICES)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with served.log.open("wb") as log:
        command = [sys.executable, "-c", SERVER, str(served.notes), *options]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        until(lambda: answers(f"{served.url}/_stcore/health"), process, served.log)
        yield served
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@contextlib.contextmanager
def own(browser: Browser) -> Iterator[BrowserContext]:
    """A browser of a visitor's own."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@dataclass
class Visit:
    """A visitor's page, and what failed on it."""

    page: Page
    problems: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Assert that nothing failed since the last time."""
        # Uploads that are refused are told as errors on the console.
        assert [problem for problem in self.problems if "413" not in problem] == []
        self.problems.clear()


@pytest.fixture(scope="session")
def tab(browser: Browser, served: Served) -> Iterator[Visit]:
    """The page, opened once: loading it takes longer than most tests."""
    with own(browser) as context:
        yield visit(context, served)


@pytest.fixture
def page(tab: Visit) -> Iterator[Page]:
    """The page before any slice was given; that nothing on it failed is asserted in the end."""
    page = tab.page
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(media="screen")
    # What a test before set going may still put the button there, or take it away.
    drawn_whole(page)
    if page.get_by_role("button", name="Next patient").count():
        next_patient(page)
    yield page
    tab.check()


def next_patient(page: Page) -> None:
    """Have the page forget what was given."""
    page.get_by_role("button", name="Next patient").click()
    # Away from the button: its help would lie over what comes there.
    page.mouse.move(1, 1)
    forgotten(page)


def drawn_whole(page: Page) -> None:
    """Wait until nothing more will be drawn: an element replaced under a visitor's hand loses the focus."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


def forgotten(page: Page) -> None:
    """Wait until the page holds nothing of the patient before."""
    page.locator('.st-key-answer [data-kind="none"]').wait_for()
    # The answer comes first; until all is drawn, the old place for files is there beside the new one, and
    # the button of before.
    page.locator('[data-testid="stFileUploaderDropzoneInput"]').nth(1).wait_for(state="detached")
    page.get_by_role("button", name="Next patient").wait_for(state="detached")
    drawn_whole(page)


def visit(context: BrowserContext, served: Served) -> Visit:
    """Open the page."""
    visit = Visit(context.new_page())
    visit.page.on("pageerror", lambda error: visit.problems.append(str(error)))
    visit.page.on("console", lambda said: visit.problems.append(said.text) if said.type == "error" else None)
    visit.page.on("request", lambda request: served.requests.append(request.url))
    visit.page.goto(served.url)
    visit.page.get_by_text("Ready: falx").wait_for()
    visit.page.get_by_role("button", name="Try a drawn sample").wait_for()
    return visit


@pytest.fixture(scope="session")
def classifier() -> falx.Classifier:
    return falx.load()


@pytest.fixture(scope="session")
def service(classifier: falx.Classifier) -> PageService:
    return PageService(
        classifier,
        classifier.card.thresholds,
        maximum_files=MAXIMUM_FILES,
        maximum_slices=MAXIMUM_SLICES,
        maximum_megabytes=4,
        maximum_pixels=4 * 1024**2,
    )


class Made:
    """DICOM files of the drawn heads."""

    pixels = (phantom.clear(), phantom.lesion(), phantom.clear())

    def __init__(self) -> None:
        self.made: Any = importlib.import_module("tests.reading.dicom.made")

    def file(self, pixels: Pixels, **tags: Any) -> bytes:
        """A file of one slice, or of as many as there are pixels."""
        return bytes(self.made.written(self.made.dataset(pixels, **tags)))

    def datasets(self) -> list[Any]:
        """Three slices of a series, 5 mm apart."""
        return [
            self.made.dataset(
                pixels,
                SOPInstanceUID=f"1.2.3.4.{number}",
                EchoTime=10,
                RepetitionTime=500,
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                ImagePositionPatient=[0, 0, 5 * number],
            )
            for number, pixels in enumerate(self.pixels)
        ]

    def windowed(self, **tags: Any) -> bytes:
        """A file of 12-bit values with a window."""
        tags = {"WindowCenter": 1200, "WindowWidth": 2000, **tags}
        values = phantom.lesion().astype(np.uint16) * 12
        return bytes(self.made.written(self.made.dataset(values, 12, **tags)))

    def series(self) -> dict[str, bytes]:
        """The same as files; their names are in the reverse order."""
        return {f"IM{3 - n}": self.made.written(one) for n, one in enumerate(self.datasets())}

    def frames(self, **tags: Any) -> bytes:
        """The same pixels in one file of three frames."""
        return self.file(np.stack(self.pixels), **tags)


@pytest.fixture(scope="session")
def dicom() -> Made:
    pytest.importorskip("pydicom", reason="pydicom is not installed: pip install 'falx[dicom]'")
    return Made()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files to give, by name: drawn heads, and what is none."""
    folder = tmp_path_factory.mktemp("files")
    clear, lesion = phantom.clear(), phantom.lesion()
    rng = np.random.default_rng(6)
    for number in range(1, 11):
        drawn = (lesion if 4 <= number <= 6 else clear).astype(float)
        noise = rng.normal(0, 2 + number / 4, drawn.shape) * (drawn > 5)
        Image.fromarray((drawn + noise).clip(0, 255).astype(np.uint8)).save(folder / f"slice_{number}.png")
    Image.fromarray(lesion).save(folder / "lesion.png")
    Image.fromarray(clear).save(folder / "clear.tiff")
    Image.fromarray(lesion).resize((90, 90)).save(folder / "small.bmp")
    Image.fromarray(undecided(clear, lesion)).save(folder / "between.tiff")
    lettered(lesion).save(folder / "lettered.jpg", quality=95)
    Image.linear_gradient("L").save(folder / "gradient.png")
    Image.fromarray(rng.integers(0, 256, (1500, 1500), np.uint8)).save(folder / "large.png")
    (folder / "broken <b>*x*<_b>.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return {path.name: path for path in folder.iterdir()}


def classified(name: str, data: bytes, service: PageService, room: int = MAXIMUM_SLICES) -> Upload:
    """A file with its slices classified."""
    (upload,) = held(name, data, service, room)
    return upload


def held(name: str, data: bytes, service: PageService, room: int = MAXIMUM_SLICES) -> list[Upload]:
    """The contents of a file, with their slices classified."""
    uploads = taken(name, data, service, room=room).uploads
    for upload in uploads:
        while not upload.done:
            upload.answer(service)
    return uploads


def undecided(clear: Pixels, lesion: Pixels) -> Pixels:
    """The lesion fading out of the clear head, to where the model in the wheel cannot tell."""
    classifier = falx.load()
    for share in np.linspace(0, 1, 81):
        mixed: Pixels = np.rint((1 - share) * clear + share * lesion).astype(np.uint8)
        if classifier.predict(mixed).decision == "ambiguous":
            return mixed
    raise AssertionError("the model is sure of every mixture of the drawn heads")


def lettered(pixels: Pixels) -> Image.Image:
    """A slice with letters burned into its corner."""
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).text((6, 4), "12 Mar\nTR 500", fill=255, font=ImageFont.load_default(16))
    return image


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - http, on this machine
            return bool(response.status == 200)
    except OSError:
        return False


def give(page: Page, *paths: Path, before: int = 0, slices: int | None = None) -> None:
    """Gives files, beside as many that are there already, and waits for all answers."""
    drawn_whole(page)
    page.locator('[data-testid="stFileUploaderDropzoneInput"]').set_input_files(list(paths))
    answered(page, before + len(paths) if slices is None else slices)


def answered(page: Page, slices: int) -> None:
    """Waits until so many slices are answered, and the page is drawn."""
    page.locator(".st-key-save").wait_for()
    page.locator('[data-testid="stProgress"]').wait_for(state="detached")
    if slices > 1:
        page.locator(".st-key-list").get_by_role("radio").nth(slices - 1).wait_for(state="attached")
    drawn_whole(page)


def one_patient(page: Page) -> None:
    """Says that the pictures are one examination."""
    page.get_by_text("These files are one examination of one patient").click()
    page.locator(".st-key-study .verdict").wait_for()


def downloaded(page: Page, label: str) -> tuple[str, bytes]:
    """Save a report: the name of the file, and what is in it."""
    with page.expect_download() as waiting:
        page.locator(".st-key-save").get_by_role("button", name=label, exact=True).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()
