from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from tests.workstation.peers import WrittenStudy, write_study

import falx
from falx.errors import FalxError
from falx.workstation.errors import StudyUnanswered
from falx.workstation.node.worker import PROGRAM, Worker
from falx.workstation.objects import study_objects


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_it_writes_what_a_study_comes_to(
    worker: Worker, classifier: falx.Classifier, study: WrittenStudy, out: Path
) -> None:
    made = worker.make(study.files, out, further=["2"], capture=True, workers=2, limit_s=60)
    answer, expected = study_objects.make(classifier, study.files, capture=True, further=["2"])
    assert made == {
        "uid": str(expected[0].SOPInstanceUID),
        "outcome": {
            "decision": answer.decision,
            "label": answer.verdict.label,
            "confidence": answer.verdict.confidence,
            "not_used": [],
        },
    }
    written = [pydicom.dcmread(file) for file in sorted(out.iterdir())]
    assert [one.SOPInstanceUID for one in written] == [one.SOPInstanceUID for one in expected]
    assert worker.model == classifier.model


def test_a_study_that_takes_too_long_ends_its_process_and_the_next_is_answered_by_another(
    worker: Worker, out: Path, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study", 1, ImageComments=f"wait|{tmp_path / 'once'}")
    pid = worker.pid
    with pytest.raises(StudyUnanswered, match=r"it took more than 0\.5 s"):
        worker.make(study.files, out, limit_s=0.5)
    assert worker.make(study.files, out, limit_s=60)["outcome"]["decision"]
    assert worker.pid != pid


def test_a_model_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    worker = Worker({"path": str(tmp_path / "none.tflite")})
    with pytest.raises(FalxError, match=r"none\.tflite: no such model file; give the path"):
        worker.model  # noqa: B018 - it is a question
    worker.stop()


def test_a_process_that_does_not_start_is_an_error() -> None:
    worker = Worker(command=[sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(
        FalxError, match="the process that classifies did not start: its process ended with status 3"
    ):
        worker.model  # noqa: B018 - it is a question
    worker.stop()


def test_it_leaves_no_core_file_with_images_in_it() -> None:
    resource = pytest.importorskip("resource", reason="only Unix limits core files")
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux tells the limits of another process")
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        worker = Worker(command=[sys.executable, str(Path(__file__).with_name("deadly.py"))])
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    worker.model  # noqa: B018 - to wait for it
    size = min(1, before[1]) if before[1] >= 0 else 1
    assert resource.prlimit(worker.pid, resource.RLIMIT_CORE) == (size, size)
    worker.stop()


def test_it_ends_with_the_node_and_not_by_signals_that_are_meant_for_it() -> None:
    command = [sys.executable, "-P", "-c", PROGRAM, json.dumps(sys.path), "{}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert json.loads(process.stdout.readline())["warnings"] == []
        process.terminate()
        process.stdin.close()
        assert process.wait(30) == 0
