"""Loading and predicting says nothing on standard error, and to `logging` only what is nobody's secret."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.said import python
from tests.tiny import ModelOf

import falx
from falx import phantom

PROGRAM = """
import os, subprocess, sys, threading
import falx
from falx import phantom
done = threading.Event()
def speak():
    while not done.is_set():
        os.write(2, b"other\\n")
threading.Thread(target=speak).start()
classifier = falx.load(sys.argv[1], engine=sys.argv[2])
done.set()
assert classifier.predict(phantom.clear()).decision
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as threads:
    list(threads.map(classifier.predict, [phantom.clear()] * 8))
print("said by Python", file=sys.stderr)
import ctypes
ctypes.CDLL(None).perror(b"said by C")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="C's stderr is a function there")
def test_an_engine_does_not_greet_and_others_are_heard(engine: str, model_of: ModelOf) -> None:
    done = python("-W", "ignore", "-c", PROGRAM, model_of(engine), engine)
    assert (done.status, done.out) == (0, ""), done.err
    others, _, rest = done.err.rpartition("other\n")
    assert set(others.splitlines()) <= {"other"}
    assert re.fullmatch("said by Python\nsaid by C: .+\n", rest)


def test_the_log_names_engine_model_and_times_and_no_file(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "Smith.png"
    Image.fromarray(phantom.lesion()).save(path)
    assert logging.getLogger("falx").handlers == []
    assert logging.getLogger("falx").level == logging.NOTSET
    with caplog.at_level(logging.DEBUG, logger="falx"):
        classifier = falx.load(model, engines=3)
        classifier.predict(path)
        list(classifier.predict_many([tmp_path / "absent.png"]))
    assert {(record.name, record.levelname) for record in caplog.records} == {("falx", "DEBUG")}
    said = [record.getMessage() for record in caplog.records]
    patterns = [
        rf"engine {classifier.engine} \(1 of at most 3\) started in \d+\.\d ms, threads: 1",
        rf"model tiny 1\.2\.3 \(SHA-256 {classifier.model.sha256}\) is loaded on {classifier.engine}",
        rf"slice answered by {classifier.engine} in \d+\.\d ms",
    ]
    assert len(said) == len(patterns)
    for pattern, message in zip(patterns, said, strict=True):
        assert re.fullmatch(pattern, message)
    # Where it was said is where it happened.
    assert {record.filename for record in caplog.records} == {"pool.py", "classifier.py"}


def test_loading_a_model_does_not_load_logging(model: Path) -> None:
    package = {".tflite": "ai_edge_litert.interpreter", ".onnx": "onnxruntime"}[model.suffix]
    alone = f"import sys, numpy, PIL.Image, {package}; sys.exit('logging' in sys.modules)"
    if python("-c", alone).status:
        pytest.skip("the engine or NumPy loads it")
    code = "import sys, falx; falx.load(sys.argv[1]); assert 'logging' not in sys.modules"
    assert python("-c", code, model).status == 0
