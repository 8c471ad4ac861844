"""Takes pictures of the page of `falx app` in each of its states, of drawn heads, in Chromium.

    python -m tools.screenshots --out runs/screens
    python -m tools.screenshots --out docs/pictures --only slice study --size desk

The first command takes all, to be looked at before a release; the second takes those of docs/app.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks import chromium, turns
from benchmarks.page import served
from PIL import Image, ImageDraw, ImageFont

from falx import phantom

__all__ = ["SIZES", "STATES", "main"]

SIZES: Final = {"desk": (1280, 800), "tablet": (820, 1180), "print": (794, 1123)}
"""Width and height in pixels: a laptop's, a tablet's, and A4 at 96 pixels an inch, as it is printed."""

SLICES: Final = 12
TIMEOUT_MS: Final = 120_000

STATES: Final = {
    "start": (),
    "slice": ("lesion.png",),
    "ambiguous": ("clear.png",),
    "limited": ("small.png",),
    "rejected": ("gradient.png",),
    "error": ("broken.png",),
    "study": tuple(f"slice-{number}.png" for number in range(1, SLICES + 1)),
    "mixed": ("lesion.png", "clear.png", "gradient.png", "broken.png"),
}
"""The files that are given to the page for each picture."""

TABLE: Final = ("mixed",)
"""The states in which the table of all slices is opened."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Takes the pictures; returns the exit status."""
    from playwright.sync_api import sync_playwright

    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        served(options.port) as url,
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as folder,
    ):
        _draw(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium.found())
        for state in options.only:
            page = browser.new_page()
            page.set_default_timeout(TIMEOUT_MS)
            _give(page, url, [Path(folder, name) for name in STATES[state]])
            if state in TABLE:
                page.get_by_text("All slices in a table").click()
            for size in options.size:
                _take(page, size, options.out / f"app-{state}{'' if size == 'desk' else f'-{size}'}.png")
            page.close()
        browser.close()
    return 0


def _give(page: Any, url: str, paths: list[Path]) -> None:
    page.goto(url)
    page.locator('[data-testid="stFileUploaderDropzone"]').wait_for()
    if not paths:
        return
    page.locator('[data-testid="stFileUploaderDropzoneInput"]').set_input_files(paths)
    page.locator(".st-key-save").wait_for()
    if len(paths) > 1:
        page.get_by_text(f"Study of {len(paths)} slices").wait_for()
    page.locator('[data-testid="stProgress"]').wait_for(state="detached")


def _take(page: Any, size: str, path: Path) -> None:
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(media="print" if size == "print" else "screen")
    # Streamlit moves what has another place, for a moment.
    page.wait_for_timeout(1500)
    page.screenshot(path=path)


def _draw(folder: Path) -> None:
    """Draws the pictures that are given."""
    random = np.random.default_rng(1)
    for number in range(1, SLICES + 1):
        head = phantom.lesion() if 5 <= number <= 7 else phantom.clear()
        Image.fromarray(turns.noisy(head, len(head), random, 2)).save(folder / f"slice-{number}.png")
    Image.fromarray(phantom.lesion()).save(folder / "lesion.png")
    Image.fromarray(phantom.clear()).save(folder / "clear.png")
    small = Image.fromarray(phantom.lesion()).resize((120, 120))
    ImageDraw.Draw(small).text((2, 0), "12 Mar\nTR 500", fill=255, font=ImageFont.load_default(9))
    small.save(folder / "small.png")
    Image.linear_gradient("L").save(folder / "gradient.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.screenshots", description="Pictures of the page in each of its states."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to put them")
    parser.add_argument("--only", nargs="+", choices=STATES, default=list(STATES), help="these states")
    parser.add_argument("--size", nargs="+", choices=SIZES, default=list(SIZES), help="these sizes")
    parser.add_argument("--port", type=int, default=8598, help="to serve the page at (default 8598)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
