"""The page in Chromium: it answers as Falx does, keeps the slice to itself, works offline, for everyone."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import math
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.browsing import TIMEOUT_MS, drawn, violations
from tests.pictures import encoded

from falx.slices.overlay import overlay
from falx.slices.reasons import REASONS
from falx.words import DISCLAIMER, LABELS, RECOMMENDATIONS, band

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page
    from tests.examples.conftest import Model

EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"

EXACT = 1e-4
"""The tolerance of values in float32, 0..1: adding up in another order changes the last digits."""

ROUNDED = 0.1
"""The tolerance of a probability in int8: where a sum lies between two steps, kernels round it to one or the
other, and layers behind it make more of that. Measured for falx-4 on 30 slices: 0.041 at most."""

ROUNDED_MEAN = 0.015
"""The tolerance of the mean of a slice's largest difference; measured: 0.0071."""

NAMES = {
    "no_tumor": "No tumour",
    "meningioma": "Meningioma",
    "glioma": "Glioma",
    "pituitary": "Pituitary tumour",
    "ambiguous": "Ambiguous",
    "rejected": "Rejected",
}

HIGHEST = """
async ([heatmap, width]) => (await import("./overlay.js")).highest(Float32Array.from(heatmap), width)
"""

# Gives a file to the page as a drop or a paste does.
GIVE = """
([kind, name, text]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
  document.dispatchEvent(
    kind === "drop"
      ? new DragEvent("drop", { dataTransfer: files, cancelable: true })
      : new ClipboardEvent("paste", { clipboardData: files }),
  );
}
"""


# Modules of the page, used as the page uses them, for each picture of a folder.
CLASSIFY = """
async ([model, count]) => {
  const { start, decode, classify } = await import("./falx.js");
  const session = await start(new Uint8Array(await (await fetch(model)).arrayBuffer()));
  const answers = [];
  for (let i = 0; i < count; i++) {
    const answer = await classify(session, await decode(await (await fetch(`pictures/${i}`)).blob()));
    answers.push({ ...answer, heatmap: answer.heatmap.reduce((a, b) => Math.max(a, b)) });
  }
  return answers;
}
"""


@dataclass
class Site:
    """The page, served from a folder; and what was asked of the server."""

    folder: Path
    url: str = ""
    requests: list[str] = field(default_factory=list)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and notes what is asked."""

    def __init__(self, *arguments: Any, site: Site) -> None:
        self.site = site
        super().__init__(*arguments, directory=str(site.folder))

    def log_request(self, code: Any = "-", size: Any = "-") -> None:  # noqa: ARG002 - the overridden one has it
        self.site.requests.append(f"{self.command} {self.path} {code}")


def asked(
    page: Page, folder: Path, pictures: Sequence[Path], model: str = "vendor/model.onnx"
) -> list[dict[str, Any]]:
    """Returns what the modules of an open page answer for pictures, which are laid into its folder."""
    (folder / "pictures").mkdir(exist_ok=True)
    for number, path in enumerate(pictures):
        shutil.copyfile(path, folder / "pictures" / str(number))
    answers: list[dict[str, Any]] = page.evaluate(CLASSIFY, [model, len(pictures)])
    return answers


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the page, in a checkout that has no model yet."""
    if shutil.which("node") is None:
        pytest.skip("Node, which lays ONNX Runtime beside the page, is not installed")
    if not (EXAMPLE / "node_modules" / "onnxruntime-web").exists():
        pytest.skip("its packages are not installed: run `npm ci --ignore-scripts` in examples/browser")
    folder = tmp_path_factory.mktemp("checkout") / "examples" / "browser"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "vendor"))
    (folder / "node_modules").symlink_to(EXAMPLE / "node_modules")
    (folder.parents[1] / "models").mkdir()
    return folder


@pytest.fixture(scope="module")
def site(laid: Path, float32: Model) -> Iterator[Site]:
    assert vendor(laid, str(float32.path)).endswith(f"{float32.path}\n")
    site = Site(laid)
    server = serve(site)
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@pytest.fixture(scope="module")
def page(context: BrowserContext, site: Site) -> Iterator[Page]:
    """The page, ready, for all tests in turn; that no script fails on it is asserted in the end."""
    with opened(context, site) as page:
        yield page


@pytest.fixture
def fresh(context: BrowserContext, site: Site) -> Iterator[Page]:
    """The page, ready, before any slice was given."""
    with opened(context, site) as page:
        yield page


@contextlib.contextmanager
def opened(context: BrowserContext, site: Site) -> Iterator[Page]:
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(site.url)
    page.locator("html[data-ready]").wait_for()
    yield page
    page.close()
    assert problems == []


class TestAnswers:
    def test_of_drawings_are_falx_s(
        self, page: Page, site: Site, float32: Model, drawings: list[Path]
    ) -> None:
        for path, answer in zip(drawings, asked(page, site.folder, drawings), strict=True):
            float32.check(path, answer, EXACT)
            shown = float32.expected(path).heatmap
            assert answer["heatmap"] == pytest.approx(0.0 if shown is None else shown.max(), abs=EXACT)

    @pytest.mark.slow
    def test_of_patients_are_falx_s(self, page: Page, site: Site, float32: Model, slices: list[Path]) -> None:
        assert len(slices) >= 50
        for path, answer in zip(slices, asked(page, site.folder, slices), strict=True):
            float32.check(path, answer, EXACT)

    @pytest.mark.slow
    def test_of_patients_from_jpeg_are_falx_s(
        self, page: Page, site: Site, float32: Model, originals: list[Path]
    ) -> None:
        for path, answer in zip(originals[:20], asked(page, site.folder, originals[:20]), strict=True):
            float32.check(path, answer)

    @pytest.mark.slow
    def test_of_int8_are_near(self, page: Page, site: Site, int8: Model, slices: list[Path]) -> None:
        shutil.copy(int8.path, site.folder / "vendor" / "int8.onnx")
        differences = []
        answers = asked(page, site.folder, slices[:30], "vendor/int8.onnx")
        for path, answer in zip(slices[:30], answers, strict=True):
            int8.check(path, answer, ROUNDED)
            known = int8.expected(path).probabilities
            if known is not None:
                differences.append(np.abs(np.subtract(answer["probabilities"], list(known.values()))).max())
        assert np.mean(differences) <= ROUNDED_MEAN


class TestPage:
    def test_says_what_falx_says(self, page: Page, float32: Model, drawings: list[Path]) -> None:
        for path in drawings:
            give(page, path)
            expected = float32.expected(path)
            verdict = page.locator("#verdict").inner_text()
            assert NAMES[expected.decision] in verdict
            assert expected.recommendation in verdict
            if expected.reason is not None:
                assert REASONS[expected.reason.code] in verdict
            if expected.confidence is not None:
                assert f"{percent(expected.confidence)}, {expected.band} confidence" in verdict
            table = page.locator("#probabilities")
            shares = table.locator("td:nth-child(2)").all_inner_texts() if table.is_visible() else []
            known = (expected.probabilities or {}).values()
            assert [text.strip() for text in shares] == [percent(share) for share in known]

    def test_bars_are_as_long_as_probabilities(
        self, page: Page, float32: Model, drawings: list[Path]
    ) -> None:
        give(page, drawings[1])
        known = float32.expected(drawings[1]).probabilities
        assert known is not None
        widths = page.evaluate(
            "[...document.querySelectorAll('.bar')].map((bar) => {"
            " const [whole, part, mark] = [bar, ...bar.children].map((e) => e.getBoundingClientRect());"
            " return [part.width / whole.width, (mark.x + mark.width / 2 - whole.x) / whole.width]; })"
        )
        thresholds = float32.falx.card.thresholds
        for label, (length, mark) in zip(LABELS, widths, strict=True):
            assert length == pytest.approx(known[label], abs=0.01)
            assert mark == pytest.approx(thresholds[label], abs=0.01)

    def test_lays_the_heatmap_over_the_slice(self, page: Page, float32: Model, drawings: list[Path]) -> None:
        # One that is not square, if it looks enough like a head not to be rejected.
        given = next(path for path in drawings[2:4] if float32.expected(path).heatmap is not None)
        give(page, given)
        heatmap = float32.expected(given).heatmap
        assert heatmap is not None
        with Image.open(given) as image:
            pixels = np.asarray(image)
        assert np.abs(canvas(page) - np.asarray(overlay(pixels, heatmap), np.int64)).max() <= 1
        page.get_by_role("checkbox", name="Heatmap").uncheck()
        assert (canvas(page) == pixels[..., np.newaxis]).all()
        page.get_by_role("checkbox", name="Heatmap").check()

    def test_shows_no_heatmap_of_what_is_rejected(self, page: Page, drawings: list[Path]) -> None:
        noise = next(path for path in drawings if path.stem == "noise")
        give(page, noise)
        assert not page.get_by_role("checkbox", name="Heatmap").is_visible()
        with Image.open(noise) as image:
            assert (canvas(page) == np.asarray(image)).all()

    @pytest.mark.parametrize("kind", ["drop", "paste"])
    def test_takes_a_drop_and_a_paste(self, page: Page, drawings: list[Path], kind: str) -> None:
        page.evaluate(GIVE, [kind, f"{kind}.png", base64.b64encode(drawings[1].read_bytes()).decode()])
        answered(page, f"{kind}.png, 256 × 256")

    def test_says_what_it_cannot_read(self, page: Page, drawings: list[Path], tmp_path: Path) -> None:
        deep, large = encoded(np.zeros((64, 64), np.uint16)), encoded(Image.new("L", (4097, 4096)))
        files = {
            "empty.png": (b"", "The file is empty."),
            "text.png": (b"no image at all", "the file is another, or damaged"),
            "short.png": (drawings[1].read_bytes()[:3000], "the file is another, or damaged"),
            "slice.dcm": (bytes(128) + b"DICM", "This page reads no DICOM. Save the slice as PNG"),
            "deep.png": (deep, "It has 16 bits a pixel, of which a browser reads 8"),
            "large.png": (large, "4097 × 4096 pixels are too many for a slice"),
        }
        for name, (content, words) in files.items():
            (tmp_path / name).write_bytes(content)
            give(page, tmp_path / name)
            assert page.locator("#decision").inner_text() == "Cannot be read"
            assert words in page.locator("#note").inner_text()
            assert not page.locator("#picture").is_visible()

    def test_answers_for_the_slice_that_was_given_last(
        self, page: Page, site: Site, drawings: list[Path]
    ) -> None:
        for path in drawings[:5]:
            page.set_input_files("#file", path)
        answered(page, drawings[4].name)
        # As long as those before it would take, were they answered after it.
        asked(page, site.folder, drawings[:4])
        assert page.locator("#name").inner_text().startswith(drawings[4].name)

    def test_says_that_the_model_is_missing(self, browser: Browser, site: Site) -> None:
        context = browser.new_context(service_workers="block")
        page = context.new_page()
        page.route("**/model.onnx", lambda route: route.fulfill(status=404))
        page.goto(site.url)
        page.get_by_text("vendor/model.onnx is missing. Run “npm run vendor”").wait_for(timeout=TIMEOUT_MS)
        context.close()


class TestPrivacy:
    def test_nothing_leaves_the_browser(self, page: Page, site: Site, drawings: list[Path]) -> None:
        site.requests.clear()
        urls: list[str] = []
        page.context.on("request", lambda request: urls.append(f"{request.method} {request.url}"))
        give(page, drawings[1])
        page.evaluate("new Promise((done) => requestIdleCallback(done))")
        # The browser asks for the page's icon when it likes, without being given anything.
        asked = [request for request in site.requests if request != "GET /icon.svg 200"]
        assert (urls, asked) == ([], [])

    def test_the_page_may_not_speak_to_another_server(self, page: Page, tmp_path: Path) -> None:
        other = Site(tmp_path)
        server = serve(other)
        refused = page.evaluate(
            "async (url) => [await fetch(url, { mode: 'no-cors' }).catch(String),"
            " await import(url).catch(String), navigator.sendBeacon(url, 'slice')]",
            other.url,
        )
        server.shutdown()
        server.server_close()
        assert other.requests == []
        assert "Failed to fetch" in refused[0]
        assert "Failed to fetch" in refused[1]

    @pytest.mark.slow
    def test_works_offline_once_loaded(self, fresh: Page, drawings: list[Path]) -> None:
        fresh.get_by_text("Ready, also without a network").wait_for()
        fresh.context.set_offline(True)
        try:
            fresh.reload()
            fresh.locator("html[data-ready]").wait_for()
            give(fresh, drawings[1])
            assert fresh.locator("#decision").inner_text() in NAMES.values()
        finally:
            fresh.context.set_offline(False)

    def test_all_files_are_kept_for_that(self) -> None:
        listed = re.search(r"const FILES = (\[.*?\]);", (EXAMPLE / "sw.js").read_text(), re.DOTALL)
        assert listed is not None
        kept = set(json.loads(listed[1].replace(",\n]", "]"))) - {"./"}
        served = {
            path.name for path in EXAMPLE.iterdir() if path.suffix in {".html", ".css", ".js", ".svg"}
        } - {"sw.js"}
        run = {"model.onnx", "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"}
        assert kept == served | {f"vendor/{name}" for name in run}


@pytest.mark.slow
class TestEveryone:
    @pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
    def test_axe_finds_nothing(
        self, fresh: Page, drawings: list[Path], tmp_path: Path, size: tuple[int, int]
    ) -> None:
        fresh.set_viewport_size({"width": size[0], "height": size[1]})
        text = tmp_path / "text.png"
        text.write_text("no image")
        found = {"empty": violations(fresh)}
        for path in (*drawings[:2], drawings[-1], text):
            give(fresh, path)
            found[path.name] = violations(fresh)
        assert found == {state: [] for state in found}

    def test_works_by_keyboard(self, fresh: Page, drawings: list[Path]) -> None:
        # From now on Playwright, not Chromium, opens what chooses files.
        fresh.on("filechooser", lambda _: None)
        fresh.keyboard.press("Tab")
        assert fresh.evaluate("document.activeElement.id") == "file"
        with fresh.expect_file_chooser() as choice:
            fresh.keyboard.press("Enter")
        choice.value.set_files(drawings[1])
        answered(fresh, drawings[1].name)
        before = canvas(fresh)
        fresh.keyboard.press("Tab")
        fresh.keyboard.press("Space")
        assert not fresh.get_by_role("checkbox", name="Heatmap").is_checked()
        fresh.keyboard.press("Space")
        fresh.keyboard.press("Tab")
        fresh.keyboard.press("End")
        assert fresh.get_by_label("Opacity").input_value() == "100"
        assert np.abs(canvas(fresh) - before).max() > 10
        fresh.keyboard.press("Tab")
        fresh.keyboard.press("Enter")
        assert fresh.get_by_text("Otherwise the likeliest tumour").is_visible()

    def test_says_in_words_what_it_shows(self, page: Page, float32: Model, drawings: list[Path]) -> None:
        give(page, drawings[1])
        expected = float32.expected(drawings[1])
        assert expected.probabilities is not None
        status = page.get_by_role("status").filter(has_text=NAMES[expected.decision])
        assert status.count() == 1
        picture = page.get_by_role("img", name="The slice, 256 by 256 pixels. The heatmap is highest,")
        assert picture.count() == 1
        table = page.get_by_role(
            "table", name="The probability of each label, and what it needs to be decided"
        )
        row = table.get_by_role("row").filter(has_text="Glioma").aria_snapshot()
        share = percent(expected.probabilities["glioma"])
        needed = percent(float32.falx.card.thresholds["glioma"])
        assert f'row "Glioma {share} {needed}"'.replace("\xa0", " ") in row.replace("\xa0", " ")

    @pytest.mark.parametrize("size", [(1280, 800), (390, 844), (320, 500)])
    def test_the_disclaimer_stays_in_view(
        self, page: Page, drawings: list[Path], size: tuple[int, int]
    ) -> None:
        page.set_viewport_size({"width": size[0], "height": size[1]})
        give(page, drawings[1])
        assert page.locator("#disclaimer").inner_text() == DISCLAIMER
        for end in ("0", "document.body.scrollHeight"):
            page.evaluate(f"scrollTo(0, {end})")
            box = page.locator("#disclaimer").bounding_box()
            assert box is not None
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= size[1]

    @pytest.mark.parametrize("size", [(1280, 800), (390, 844), (320, 500)])
    def test_nothing_is_cut_off(self, page: Page, drawings: list[Path], size: tuple[int, int]) -> None:
        page.set_viewport_size({"width": size[0], "height": size[1]})
        for path in drawings[1:4]:
            give(page, path)
            inner, outer = (page.locator(name).bounding_box() for name in ("#picture", "#screen"))
            assert inner is not None
            assert outer is not None
            assert inner["height"] <= outer["height"]
            assert inner["y"] >= outer["y"]
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        right = page.evaluate("document.getElementById('probabilities').getBoundingClientRect().right")
        assert right <= page.evaluate("document.getElementById('how').getBoundingClientRect().right") + 1

    def test_no_decision_is_told_by_colour_alone(self, page: Page) -> None:
        signs = page.evaluate(
            "['none', 'no_tumor', 'tumor', 'ambiguous', 'rejected', 'error'].map((kind) => {"
            " document.getElementById('verdict').dataset.kind = kind;"
            " return [...document.querySelectorAll('.sign > *')].filter((sign) => sign.checkVisibility())"
            ".map((sign) => sign.getAttribute('class')); })"
        )
        assert signs == [
            [f"sign-{kind}"] for kind in ("none", "no_tumor", "tumor", "ambiguous", "rejected", "error")
        ]


class TestModules:
    def test_words_are_falx_s(self, page: Page) -> None:
        words = page.evaluate(
            "async () => { const words = await import('./words.js');"
            " return { ...words, band: [1, 0.85, 0.8499, 0.6, 0.5999, 0].map(words.band) }; }"
        )
        assert words["NAMES"] == NAMES
        assert words["RECOMMENDATIONS"] == RECOMMENDATIONS
        assert words["REASONS"] == ["", *REASONS.values()]
        assert words["band"] == [band(value) for value in (1, 0.85, 0.8499, 0.6, 0.5999, 0)]

    def test_the_card_is_read(self, page: Page, float32: Model) -> None:
        card = page.evaluate(
            "async () => (await import('./card.js')).readCard("
            "new Uint8Array(await (await fetch('vendor/model.onnx')).arrayBuffer()))"
        )
        assert card["name"] == float32.falx.card.name
        assert card["thresholds"] == float32.falx.card.thresholds.to_dict()
        assert card["self_contained"] is True

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ([8, 8], "has no card of Falx"),
            ([], "has no card of Falx"),
            ([8, 128], "is cut short"),
            ([0x1F, 0x8B, 8, 0], "is no ONNX file"),
        ],
    )
    def test_a_foreign_model_is_refused(self, page: Page, content: list[int], words: str) -> None:
        said = page.evaluate(
            "async (content) => { const { readCard } = await import('./card.js');"
            " try { readCard(Uint8Array.from(content)); } catch (error) { return error.message; } }",
            content,
        )
        assert words in said

    @pytest.mark.parametrize(
        ("peak", "words"),
        [
            ((0, 0), "in the upper left of the picture"),
            ((4, 5), "in the centre of the picture"),
            ((8, 11), "in the lower right of the picture"),
            ((4, 11), "in the middle right of the picture"),
        ],
    )
    def test_the_place_of_the_heatmap_is_told(self, page: Page, peak: tuple[int, int], words: str) -> None:
        heatmap = np.full((9, 12), 0.02)
        assert page.evaluate(HIGHEST, [heatmap.ravel().tolist(), 12]) == "Nothing in it speaks for a tumour."
        heatmap[peak] = 0.5
        said = page.evaluate(HIGHEST, [heatmap.ravel().tolist(), 12])
        assert said.startswith("The heatmap is highest, 0.50 of 1, ")
        assert words in said


class TestVendor:
    def test_says_how_to_make_a_model_where_there_is_none(self, laid: Path) -> None:
        said = vendor(laid, status=1)
        assert "models/ holds no *-self-contained.onnx; make one with" in said
        assert "python -m falx_export RUN --out DIR --self-contained" in said

    def test_takes_the_newest_release_and_float32(self, laid: Path, tmp_path: Path) -> None:
        folder = tmp_path / "examples" / "browser"
        shutil.copytree(laid, folder, symlinks=True)
        taken = []
        for name in ("falx-9-float32", "falx-10-int8", "falx-10-float32"):
            file = tmp_path / "models" / name.rpartition("-")[0] / f"{name}-self-contained.onnx"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
            vendor(folder)
            taken.append((folder / "vendor" / "model.onnx").read_text())
        assert taken == ["falx-9-float32", "falx-10-int8", "falx-10-float32"]


def serve(site: Site) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, site=site))
    site.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def vendor(folder: Path, *arguments: str, status: int = 0) -> str:
    command = ["node", str(folder / "vendor.mjs"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def percent(share: float) -> str:
    """A share of 1 as the page writes it."""
    return f"{math.floor(100 * share + 0.5)}\xa0%"


def give(page: Page, path: Path) -> None:
    """Choose a file, and wait for the answer."""
    page.set_input_files("#file", path)
    answered(page, path.name)


def answered(page: Page, name: str) -> None:
    page.locator("#name", has_text=name).wait_for()
    page.locator('#screen[aria-busy="false"]').wait_for()


def canvas(page: Page) -> npt.NDArray[np.int64]:
    """Returns what is drawn, `(H, W, 3)`."""
    return drawn(page.locator("#picture")).astype(np.int64)
