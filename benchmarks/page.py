"""Measures how long a visitor of `falx app` waits, from giving slices to seeing answers, in Chromium.

    python -m benchmarks.page --out page.json

For one slice and for fifty: the seconds until the first decision is on the page and until all are, and how
long page and server were deaf in between, at most: the page's own script was not run, or the server did not
answer whether it is well. Each visit is a new one, in a browser that has the page's files.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks import chromium, figures, turns
from benchmarks.ports import served
from PIL import Image

from falx import phantom

MANY: Final = 50
PACKAGES: Final = ("falx", "streamlit", "ai-edge-litert", "pillow", "numpy")
TIMEOUT_MS: Final = 120_000
WELL: Final = "/_stcore/health"
"""The path at which Streamlit's server answers whether it is well."""

WATCH: Final = """() => {
  window.deaf = 0;
  let last = performance.now();
  setInterval(() => {
    window.deaf = Math.max(window.deaf, performance.now() - last);
    last = performance.now();
  }, 20);
}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    from playwright.sync_api import sync_playwright

    parser = figures.parser("benchmarks.page", __doc__)
    parser.add_argument("--visits", type=int, default=5, metavar="N", help="of each kind (5)")
    options = parser.parse_args(arguments)
    setting = {
        **figures.machine(PACKAGES),
        "slices": f"phantoms with noise, {turns.SIDE} x {turns.SIDE}, PNG",
        "visits": options.visits,
    }
    with (
        served("app", "--no-browser", well=WELL) as port,
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as folder,
    ):
        url, paths = f"http://localhost:{port}", _slices(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium.found())
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(TIMEOUT_MS)
        one = [_visit(context, url, paths[:1]) for _ in range(options.visits + 1)][1:]
        many = [_visit(context, url, paths) for _ in range(options.visits)]
        browser.close()
    rows = [{"slices": 1, **_summary(one)}, {"slices": MANY, **_summary(many)}]
    figures.tell(setting, rows, options.out)
    return 0


def _visit(context: Any, url: str, paths: Sequence[Path]) -> dict[str, float]:
    """Returns the times of a visit, in seconds."""
    page = context.new_page()
    page.goto(url)
    page.locator('[data-testid="stFileUploaderDropzone"]').wait_for()
    page.wait_for_timeout(500)
    page.evaluate(WATCH)
    files = page.locator('[data-testid="stFileUploaderDropzoneInput"]')
    with _watched(f"{url}{WELL}") as deaf:
        started = time.perf_counter()
        files.set_input_files(paths)
        page.locator('.st-key-answer .verdict:not([data-kind="none"])').wait_for()
        first = time.perf_counter() - started
        if len(paths) > 1:
            slices = page.locator(".st-key-list input[type=radio]")
            slices.nth(len(paths) - 1).wait_for(state="attached")
        every = time.perf_counter() - started
    page_deaf = page.evaluate("window.deaf") / 1000
    page.close()
    return {"first_s": first, "all_s": every, "page_deaf_s": page_deaf, "server_deaf_s": max(deaf)}


@contextmanager
def _watched(url: str) -> Iterator[list[float]]:
    """Asks the server again and again whether it is well; gives how long each answer took, in seconds."""
    times = [0.0]
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            started = time.perf_counter()
            with urllib.request.urlopen(url) as response:  # noqa: S310 - http, on this machine
                response.read()
            times.append(time.perf_counter() - started)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield times
    finally:
        done.set()
        thread.join()


def _summary(visits: Sequence[dict[str, float]]) -> dict[str, float]:
    found = {}
    for key in visits[0]:
        values = [visit[key] for visit in visits]
        found[f"{key.removesuffix('_s')}_median_s"] = round(statistics.median(values), 3)
        found[f"{key.removesuffix('_s')}_most_s"] = round(max(values), 3)
    return found


def _slices(folder: Path) -> list[Path]:
    random = np.random.default_rng(1)
    paths = [folder / f"slice-{number + 1}.png" for number in range(MANY)]
    for number, path in enumerate(paths):
        head = phantom.lesion() if 20 <= number < 30 else phantom.clear()
        Image.fromarray(turns.noisy(head, turns.SIDE, random)).save(path)
    return paths


if __name__ == "__main__":
    sys.exit(main())
