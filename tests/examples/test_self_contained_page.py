"""The page on self-contained files names the examples, and its tables are what the graphs take and answer."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from falx import phantom
from falx.model.file import extract
from falx.model.tensor_spec import TensorSpec
from falx.slices.reasons import REASONS
from falx.words import DECISIONS

if TYPE_CHECKING:
    from tests.examples.conftest import Model

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "self-contained.md"

EXAMPLES = [
    "examples/python/classify.py",
    "examples/node/classify.mjs",
    "examples/browser/falx.js",
    "examples/cpp/classify.cpp",
]

MAXIMUM_LINES = 60

ROW = r"^\| `(\w+)` \| (\w+) \| `(\([^`]*\))` \|"
"""A row of a table of inputs or outputs: name, type, shape."""


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_page_names_each_example(page: str) -> None:
    assert [path for path in EXAMPLES if f"](../{path})" not in page] == []


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_is_short(path: str) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) < MAXIMUM_LINES


def test_the_onnx_tables_are_the_graphs(page: str) -> None:
    from falx_export.self_contained import onnx_file

    specs = [onnx_file.INPUT, *onnx_file.OUTPUTS.values()]
    section = page[page.index("## ONNX") : page.index("## TFLite")]
    assert re.findall(ROW, section, re.MULTILINE) == [(spec.name, spec.dtype, shown(spec)) for spec in specs]


def test_the_tflite_tables_are_the_file_s(page: str) -> None:
    card, _ = extract((ROOT / "tests" / "engines" / "self-contained.tflite").read_bytes())
    section = page[page.index("## TFLite") :]
    told = {name: (kind, shape) for name, kind, shape in re.findall(ROW, section, re.MULTILINE)}
    specs = [card.input, *card.outputs.values()]
    known = {spec.name: (spec.dtype, shown(spec)) for spec in specs}
    if "heatmap" in known:
        known["heatmap"] = ("float32", "(1, N, N)")
    assert {name: told[name] for name in known} == known
    assert told.keys() - known.keys() <= {"heatmap", "familiarity", "no_brain"}


def test_the_picture_to_check_a_program_with_is_the_drawn_lesion() -> None:
    with Image.open(ROOT / "examples" / "lesion.png") as image:
        np.testing.assert_array_equal(np.asarray(image), phantom.lesion())


def test_its_answers_are_those_of_the_cards(page: str) -> None:
    section = page[page.index("**Check your program.**") : page.index("**The file decides as Falx does.**")]
    rows = re.findall(r"^\| `(falx-\S+)` \| (.*) \|$", section, re.MULTILINE)
    assert len(rows) == 2
    for file, told in rows:
        # The card of a self-contained file has the answers of the plain one that it is made of.
        files = (file, file.replace("-self-contained", ""))
        found = next((path for name in files for path in ROOT.glob(f"models/*/{name}")), None)
        if found is None:
            pytest.skip(f"no {file}: the checkout came without its models")
        tests = {test.phantom: test.probabilities for test in extract(found.read_bytes())[0].self_test}
        assert told == " | ".join(f"{share:.4f}" for share in tests["lesion"])


def test_the_numbers_of_decisions_and_reasons_are_the_graphs(page: str) -> None:
    decisions = ", ".join(f"{index} `{word}`" for index, word in enumerate(DECISIONS))
    reasons = ", ".join(f"{index} `{code}`" for index, code in enumerate(REASONS, 1))
    assert decisions in page
    assert f"0 not rejected, {reasons}" in page


def test_the_python_example_answers_as_falx_does(int8: Model, drawings: list[Path]) -> None:
    int8.check_run([sys.executable, ROOT / EXAMPLES[0]], drawings)


def test_the_python_example_answers_as_falx_does_for_patients(int8: Model, slices: list[Path]) -> None:
    int8.check_run([sys.executable, ROOT / EXAMPLES[0]], slices)


def shown(spec: TensorSpec) -> str:
    """A shape as Python writes it: `(4,)`."""
    axes = ", ".join(map(str, spec.shape))
    return f"({axes},)" if len(spec.shape) == 1 else f"({axes})"
