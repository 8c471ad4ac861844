"""Threads and processes on one classifier: the answers of each are those of one alone, bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.engines.alone import ALONE, load
from tests.said import python

from falx.engines import ENGINES
from falx.model import file as model_file
from falx.model.file import DEFAULT_MODEL

SCRIPT = """
import json, multiprocessing, os, signal, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import falx
from falx import phantom

warnings.simplefilter("ignore", falx.FalxWarning)
MODEL, ENGINE = sys.argv[1:]
HEAD = phantom.lesion()
NOISE = np.random.default_rng(1).normal(0, 12, (4, *HEAD.shape))
SLICES = [np.where(HEAD > 0, HEAD + noise, 0).clip(0, 255).astype(np.uint8) for noise in NOISE]


def said(answer):
    return [answer.decision, *(answer.probabilities or {}).values()]


def load():
    return falx.load(MODEL, engine=ENGINE, threads=2)


def alone(_):
    classifier = load()
    return [said(classifier.predict(image)) for image in SLICES]


def forked(classifier, leave):
    # While other threads are in the middle of a slice, and hold what they hold.
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        same = [said(classifier.predict(image)) for image in SLICES] == serial
        same &= [said(a) for a in classifier.predict_many(SLICES, workers=2)] == serial
        leave(0 if same else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    serial = alone(None)
    classifier = load()
    with ThreadPoolExecutor(8) as pool:
        threads = [said(a) for a in pool.map(classifier.predict, SLICES * 8)] == serial * 8
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        processes = pool.map(alone, range(4), chunksize=1) == [serial] * 4
    forks = [forked(classifier, os._exit)]
    done = threading.Event()
    def work():
        while not done.is_set():
            classifier.predict(SLICES[0])
    busy = [threading.Thread(target=work) for _ in range(3)]
    for thread in busy:
        thread.start()
    time.sleep(0.1)
    forks += [forked(classifier, os._exit) for _ in range(2)]
    done.set()
    for thread in busy:
        thread.join()
    # A child that leaves as programs do: what it has of its parent's engines must not hold it up.
    forks.append(forked(classifier, sys.exit))
    print(json.dumps({"threads": threads, "processes": processes, "forks": forks, "slices": len(serial),
                      "different": len({str(row) for row in serial})}))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("engine", [name for name in ENGINES if ALONE in (None, name)])
def test_threads_and_processes_answer_as_one_alone(engine: str, tmp_path: Path) -> None:
    released = (Path(__file__).parents[2] / "models").glob("*/*-int8.onnx")
    model = DEFAULT_MODEL if ENGINES[engine][0] == "tflite" else next(released)
    assert not model_file.read(model)[0].self_contained
    load(engine, model)
    script = tmp_path / "concurrency.py"
    script.write_text(SCRIPT)
    done = python("-W", "ignore::DeprecationWarning", script, model, engine)
    assert done.status == 0, done.err
    same = {"threads": True, "processes": True, "forks": [0] * 4}
    assert done.answers == [same | {"slices": 4, "different": 4}]
