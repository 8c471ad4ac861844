"""One model, one set of figures: in its card, in models/NAME and in the README."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tools import card, speed

from falx.model import file as model_file
from falx.model.file import DEFAULT_MODEL

# A figure in a table's cell, with the digits it is given with; not part of a name such as int8.
FIGURE = re.compile(r"(?<![\w.])(\d+(?:,\d{3})*(?:\.\d+)?)( ?%)?(?![\w])")


@pytest.fixture(scope="module")
def released(checkout: Path) -> Path:
    """The folder of the model in the wheel."""
    own, _ = model_file.read(DEFAULT_MODEL)
    folder = checkout / "models" / own.name
    assert folder.is_dir(), f"the model in the wheel is {own.name}, which is not in models/"
    return folder


def _numbers(document: Any) -> Iterator[float]:
    if isinstance(document, dict):
        for value in document.values():
            yield from _numbers(value)
    elif isinstance(document, list):
        for value in document:
            yield from _numbers(value)
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield document


def _unfounded(text: str, document: Any) -> list[str]:
    """The figures in the tables of a text that are no number of a document, as rounded there."""
    known = list(_numbers(document))
    cells = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    unfounded = []
    for digits, percent in FIGURE.findall(cells):
        value = float(digits.replace(",", ""))
        # Half a unit of the last digit, and a hair for the binary fraction.
        slack = 0.5 * 10 ** -len(digits.partition(".")[2]) + 1e-9
        if not any(abs(value - number * (100 if percent else 1)) <= slack for number in known):
            unfounded.append(digits + percent)
    return unfounded


def test_the_wheel_holds_the_released_file(released: Path) -> None:
    assert (released / f"{released.name}-int8.tflite").read_bytes() == DEFAULT_MODEL.read_bytes()


def test_every_released_file_has_a_card_of_the_same_model(released: Path) -> None:
    files = sorted(path for path in released.iterdir() if path.suffix in (".tflite", ".onnx"))
    assert {path.suffix for path in files} == {".tflite", ".onnx"}
    wanted, _ = model_file.read(DEFAULT_MODEL)
    for path in files:
        own, _ = model_file.read(path)
        assert (own.name, own.version, own.thresholds) == (wanted.name, wanted.version, wanted.thresholds)
        assert (own.metrics, own.provenance) == (wanted.metrics, wanted.provenance)


def test_the_metrics_are_of_the_file_in_the_wheel(released: Path) -> None:
    metrics = json.loads((released / "metrics.json").read_text(encoding="utf-8"))
    own, _ = model_file.read(DEFAULT_MODEL)
    assert metrics["model"]["name"] == own.name
    assert metrics["model"]["weights_sha256"] == own.weights_sha256
    assert metrics["model"]["sha256"] == hashlib.sha256(DEFAULT_MODEL.read_bytes()).hexdigest()


def test_the_results_are_as_the_command_fills_them_in(released: Path, checkout: Path) -> None:
    metrics = json.loads((released / "metrics.json").read_text(encoding="utf-8"))
    blocks = {
        checkout / "README.md": card.readme_block(metrics),
        released / "MODEL_CARD.md": card.card_block(metrics, released),
    }
    for page, block in blocks.items():
        told = f"{page} is not as measured; python -m tools.card {released.relative_to(checkout)}"
        assert page.read_text(encoding="utf-8") == card.fill(page, block), told
        assert released.name in block


def test_the_speed_is_as_the_command_fills_it_in(released: Path, checkout: Path) -> None:
    latency, startup = speed.newest("latency"), speed.newest("startup")
    # Measured with the model in the wheel, or it says nothing of it.
    assert (latency["model"], startup["model"]) == (released.name, released.name)
    block = speed.table(latency, startup)
    assert block.splitlines()[2].startswith("| Falx | 1.0 | ")
    page = checkout / "docs" / "performance.md"
    assert page.read_text(encoding="utf-8") == card.fill(page, block, "speed"), "python -m tools.speed"


@pytest.mark.parametrize("page", ["README.md", "MODEL_CARD.md"])
def test_every_figure_in_a_table_was_measured(released: Path, checkout: Path, page: str) -> None:
    # The card sets the release beside the one before, and beside a training without a collection.
    metrics = [
        json.loads((released / name).read_text(encoding="utf-8")) for name in ("metrics.json", "beside.json")
    ]
    text = ((checkout if page == "README.md" else released) / page).read_text(encoding="utf-8")
    if page == "README.md":
        (text,) = card.between("results").findall(text)
    else:
        # Targets are aimed at, not measured.
        text = re.sub("[≤≥] [\\d.]+( %)?", "", text)
    assert FIGURE.search(text), f"{page} states no figure"
    assert _unfounded(text, metrics) == []


def test_figures_that_were_not_measured_are_found() -> None:
    document = {"accuracy": [0.9144, 0.88, 0.94, 1234], "missed": 0.0312}
    table = "Not 99 %.\n| int8 | 91.4 % | 1,234 | 3 % | 3.1 % |\n| 0.914 | 91.5 % | 12 | 0.94 |"
    assert _unfounded(table, document) == ["91.5 %", "12"]
