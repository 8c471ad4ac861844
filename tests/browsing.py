"""Helpers that tests of pages in Chromium share; the browser itself is a fixture of `tests/conftest.py`."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from PIL import Image
from tests.pictures import Pixels
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

__all__ = ["SERIOUS", "TIMEOUT_MS", "drawn", "violations"]

TIMEOUT_MS: Final = 1000 * PATIENCE_S
"""For anything a page does."""

SERIOUS: Final = ("serious", "critical")
"""The names that axe has for faults that keep somebody from using a page."""

AXE: Final = Path(__file__).parents[1] / "examples" / "browser" / "node_modules" / "axe-core" / "axe.min.js"


def drawn(canvas: Locator) -> Pixels:
    """Returns what is drawn on a canvas: `(H, W, 3)`."""
    url = canvas.evaluate("canvas => canvas.toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def violations(page: Page, impacts: tuple[str, ...] = ("minor", "moderate", *SERIOUS)) -> list[str]:
    """Returns the faults that axe-core finds on a page, of these impacts: the rule, and the element."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: run `npm ci --ignore-scripts` in examples/browser")
    if not page.evaluate("'axe' in window"):
        # The rules' own script, put there by the test: a page's policy may let the page itself load none.
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [
        f"{rule['id']}: {node['html']}"
        for rule in found
        if rule["impact"] in impacts
        for node in rule["nodes"]
    ]
