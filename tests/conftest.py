"""For all tests: what Hypothesis does on a shared machine, and a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from benchmarks import chromium
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A busy machine makes an example slow, not wrong. In CI the same examples run every time, so that a
# failure belongs to the change and can be repeated.
# TensorFlow adds up in another order without oneDNN. The export, which turns it off, is run in this process
# too, and what is started afterwards would inherit that: half of the tests would compare unlike with like.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# What is printed for people is as wide as their terminal; pytest-xdist gives each of its processes one of 80.
os.environ["COLUMNS"] = "100"

settings.register_profile("falx", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("falx")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Trainings and exports first: side by side, the longest files must not be left to the end."""
    items.sort(key=lambda item: not {"trainer", "export"} & {*item.path.parts})


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, one for all tests; each opens a context of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    found = chromium.found()
    if found is None:
        pytest.skip(f"no Chromium is installed: none of {', '.join(chromium.NAMES)}")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found)
        yield started
        started.close()
