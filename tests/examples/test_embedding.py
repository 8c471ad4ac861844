"""Every snippet of the guide on embedding runs, in a folder outside the checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from tests.examples.test_cpp import HEADERS, PLACES, link
from tests.reading.dicom import made

from falx import phantom

if TYPE_CHECKING:
    from tests.examples.conftest import Model

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs" / "embedding.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^## (.+?)\n|^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

ELSEWHERE = {"python -m PyInstaller --onefile program.py\n"}
"""Commands that other tests run: tests/packaging/test_frozen.py."""

PRINTS = {
    "One process 1": ["slice.png glioma", "scan.dcm glioma", "missing.png ImageNotFound"],
    "One process 2": ['"thresholds_changed": ["glioma"]'],
    "One process 4": ["<falx.Prediction glioma "],
    "Threads 1": ["glioma\n" * 8],
    "asyncio 1": ["['glioma', 'glioma', 'glioma', 'glioma']"],
    "A pool of processes 1": ["glioma\n" * 4],
    "A DICOM node 1": ["glioma 1.2.3"],
}
"""What the snippets of a section print, among other things, by their number."""


def snippets(language: str) -> dict[str, str]:
    """The snippets of a language by section and number."""
    found, section, number = {}, "", 0
    for heading, kind, code in SNIPPETS:
        section, number = (heading, 0) if heading else (section, number)
        if kind == language:
            number += 1
            found[f"{section} {number}"] = code
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = phantom.lesion()
    Image.fromarray(image).save(tmp_path / "slice.png")
    made.dataset(image, SOPInstanceUID="1.2.3").save_as(tmp_path / "scan.dcm", enforce_file_format=True)
    return tmp_path


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(code)
    command = [sys.executable, "program.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("name", snippets("python"))
def test_a_snippet_runs(name: str, folder: Path) -> None:
    code = snippets("python")[name]
    if "fastapi" in code:
        pytest.importorskip("fastapi")
        code += (
            "\nfrom fastapi.testclient import TestClient\n"
            "client = TestClient(app)\n"
            "answer = client.post('/predict', files={'file': open('slice.png', 'rb')})\n"
            "assert (answer.status_code, answer.json()['decision']) == (200, 'glioma')\n"
            "answer = client.post('/predict', files={'file': b'text'})\n"
            "assert answer.status_code == 422 and 'expected' in answer.json()['detail']\n"
        )
    if "model.onnx" in code:
        models = sorted((CHECKOUT / "models").glob("*/*-int8.onnx"))
        if not models:
            pytest.skip("the checkout came without its models")
        shutil.copy(models[-1], folder / "model.onnx")
    done = run(folder, code)
    if "logging" in code:
        assert done.stderr.startswith("DEBUG:falx:engine ")
    elif "fastapi" not in code:
        assert done.stderr == ""
    for expected in PRINTS.get(name, []):
        assert expected in done.stdout


def test_every_command_is_run() -> None:
    assert {code for name, code in snippets("sh").items() if name != "C++ 1"} == ELSEWHERE


def test_the_commands_for_cpp(folder: Path, int8: Model) -> None:
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler is installed")
    places = [*os.environ.get("CPLUS_INCLUDE_PATH", "").split(os.pathsep), *PLACES]
    found = {name: next((p for p in places if (Path(p) / name).exists()), None) for name in HEADERS}
    if None in found.values():
        pytest.skip(f"no {' and no '.join(HEADERS)} (CPLUS_INCLUDE_PATH)")
    assert importlib.util.find_spec("onnxruntime") is not None
    runtime = folder / "onnxruntime"
    (runtime / "lib").mkdir(parents=True)
    (runtime / "include").symlink_to(str(found[HEADERS[0]]))
    link(runtime / "lib")
    shutil.copy(CHECKOUT / "examples" / "cpp" / "classify.cpp", folder)
    shutil.copy(int8.path, folder / "NAME-self-contained.onnx")
    commands = snippets("sh")["C++ 1"]
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
