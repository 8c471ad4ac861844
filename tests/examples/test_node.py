"""The example for Node: it answers as Falx does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.examples.conftest import Model

EXAMPLE = Path(__file__).parents[2] / "examples" / "node"

Command = list[str | Path]


@pytest.fixture(scope="module")
def command() -> Command:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    if not (EXAMPLE / "node_modules" / "onnxruntime-node").exists():
        pytest.skip("its packages are not installed: run `npm ci --ignore-scripts` in examples/node")
    return [node, EXAMPLE / "classify.mjs"]


def test_node_answers_as_falx_does(command: Command, int8: Model, drawings: list[Path]) -> None:
    int8.check_run(command, drawings)


def test_node_answers_as_falx_does_for_patients(command: Command, int8: Model, slices: list[Path]) -> None:
    int8.check_run(command, slices)
