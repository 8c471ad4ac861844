"""The guide on embedding: FastAPI, C++ and the browser, in a folder outside the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from tests import guides
from tests.examples.test_cpp import includes, link

from falx import phantom

if TYPE_CHECKING:
    from tests.examples.conftest import Model

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(phantom.lesion()).save(tmp_path / "slice.png")
    return tmp_path


def test_the_snippet_for_fastapi(folder: Path) -> None:
    code = guides.block("docs/embedding.md", "python", "FastAPI") + (
        "\nfrom fastapi.testclient import TestClient\n"
        "client = TestClient(app)\n"
        "answer = client.post('/predict', files={'file': open('slice.png', 'rb')})\n"
        "assert (answer.status_code, answer.json()['decision']) == (200, 'glioma')\n"
        "answer = client.post('/predict', files={'file': b'text'})\n"
        "assert answer.status_code == 422 and 'expected' in answer.json()['detail']\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_commands_for_cpp(folder: Path, int8: Model) -> None:
    headers, _ = includes()
    runtime = folder / "onnxruntime"
    (runtime / "lib").mkdir(parents=True)
    (runtime / "include").symlink_to(headers)
    link(runtime / "lib")
    shutil.copy(CHECKOUT / "examples" / "cpp" / "classify.cpp", folder)
    shutil.copy(int8.path, folder / "NAME-self-contained.onnx")
    commands = guides.block("docs/embedding.md", "sh", "C++")
    environment = {"PATH": os.environ["PATH"], "ORT": str(runtime)}
    done = subprocess.run(
        ["sh", "-e", "-c", commands], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    int8.check(folder / "slice.png", json.loads(done.stdout))


def test_the_page_takes_a_model_in_a_copy_outside_the_checkout(folder: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    page = shutil.copytree(
        CHECKOUT / "examples" / "browser",
        folder / "page",
        ignore=shutil.ignore_patterns("vendor", "node_modules"),
    )
    runtime = page / "node_modules" / "onnxruntime-web" / "dist"
    runtime.mkdir(parents=True, exist_ok=True)
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        (runtime / name).write_bytes(b"")
    (folder / "mine.onnx").write_bytes(b"model")
    subprocess.run([node, page / "vendor.mjs", "mine.onnx"], cwd=folder, check=True)
    assert (page / "vendor" / "model.onnx").read_bytes() == b"model"
    done = subprocess.run([node, page / "vendor.mjs"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("vendor: models/ holds no *-self-contained.onnx; make one")
