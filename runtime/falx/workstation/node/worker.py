"""The process that classifies for `falx listen`.

It is a process of its own because decoders are compiled code of others: a decoder that ends its process on
a damaged image must not end the node, and again after each restart. The process reads questions from its
standard input and answers on its standard output, each a line of JSON. It loads the model once, and ends
when the node ends, however that happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from falx.errors import FalxError
from falx.prediction import ModelIdentity
from falx.reading.quiet import quiet_readers
from falx.workstation.errors import StudyUnanswered, WorkerError, cause

if TYPE_CHECKING:
    from pydicom import Dataset

    from falx.classifier import Classifier
    from falx.study import Study
    from falx.workstation.node.spool import MadeReport

    Make = Callable[..., tuple[Study, list[Dataset]]]

PROGRAM: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from falx.workstation.node.worker import main; sys.exit(main(sys.argv[2:]))"
)
"""The program of the process: it finds modules where the node does, and not in the folder it starts in."""


class Worker:
    """The process as the node sees it: it starts when it is made, and anew when it has ended."""

    def __init__(
        self, options: Mapping[str, object] | None = None, *, command: Sequence[str] | None = None
    ) -> None:
        """Starts the process with the options of `falx.load`, and does not wait. Tests give a command."""
        own = (sys.executable, "-P", "-c", PROGRAM, json.dumps(sys.path))
        self._command = [*(own if command is None else command), json.dumps(dict(options or {}))]
        self._guard = threading.Lock()
        self._model: ModelIdentity | None = None
        self.warnings: tuple[str, ...] = ()
        self._greeted = False
        self._process = self._start()

    @property
    def model(self) -> ModelIdentity:
        """The model that the process has loaded; `warnings` holds what loading it warned of."""
        if self._model is None:
            self._ready()
        assert self._model is not None  # noqa: S101 - our own invariant: a ready process has said it
        return self._model

    @property
    def pid(self) -> int:
        """The number of the process that runs, or has ended last."""
        return self._process.pid

    def make(self, images: Iterable[Path], folder: Path, *, limit_s: float, **options: object) -> MadeReport:
        """Classifies a study and writes its results: the report as `001.dcm`, and pictures after it.

        The options are those of `falx.workstation.objects.study_objects.make`. Raises StudyUnanswered where
        the study ended the process, took more than `limit_s` or raised an error, and OSError where the disk
        is at fault.
        """
        process = self._ready()
        question = {"images": list(map(str, images)), "folder": str(folder), "options": options}
        started = time.monotonic()
        timer = threading.Timer(limit_s, process.kill)
        timer.start()
        try:
            answer = _ask(process, question)
        finally:
            timer.cancel()
        if answer is None:
            late, code = time.monotonic() - started >= limit_s, process.wait()
            raise StudyUnanswered(f"it took more than {limit_s:g} s" if late else _ended(code))
        if "number" in answer:
            raise OSError(answer["number"], answer["error"])
        if "error" in answer:
            raise StudyUnanswered(answer["error"])
        return cast("MadeReport", answer)

    def stop(self) -> None:
        """Ends the process at once: a `make` under way raises StudyUnanswered, the next starts it anew."""
        process = self._process
        process.kill()
        process.wait()
        _close(process)

    def _ready(self) -> subprocess.Popen[str]:
        """Returns the process as soon as it has loaded the model."""
        with self._guard:
            if self._process.poll() is not None:
                _close(self._process)
                self._process = self._start()
            process = self._process
            if not self._greeted:
                said = _ask(process, None)
                if said is None:
                    raise WorkerError(f"the process that classifies did not start: {_ended(process.wait())}")
                if "error" in said:
                    process.wait()
                    raise WorkerError(said["error"])
                self._model, self.warnings = ModelIdentity(**said["model"]), tuple(said["warnings"])
                self._greeted = True
            return process

    def _start(self) -> subprocess.Popen[str]:
        self._greeted = False
        return subprocess.Popen(  # noqa: S603 - this Python
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )


def _ask(process: subprocess.Popen[str], question: Mapping[str, object] | None) -> dict[str, Any] | None:
    """Returns the answer to a question, or the greeting; None if the process has ended."""
    assert process.stdin is not None  # noqa: S101 - our own invariant, for the type checker
    assert process.stdout is not None  # noqa: S101
    line = ""
    # The pipe may be broken, or closed by `stop`.
    with contextlib.suppress(OSError, ValueError):
        if question is not None:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
    answer: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
    return answer


def _close(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        # A broken pipe loses what it still holds of a question.
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.close()


def _ended(code: int) -> str:
    """Says how a process ended, for the log."""
    if code >= 0:
        return f"its process ended with status {code}"
    try:
        return f"its process ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"its process ended by signal {-code}"


def main(arguments: Sequence[str], make: Make | None = None) -> int:
    """Runs the process; the last argument holds the options of `falx.load` as JSON. Tests make other results.

    Returns 0 when the node has ended, and 2 where the process cannot start.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # All processes of a terminal or service get them; the node acts on them.
        signal.signal(number, signal.SIG_IGN)
    _leave_no_core()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    _silence()
    try:
        from falx.classifier import load

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            classifier = load(**json.loads(arguments[-1]))
        if make is None:
            # Loads highdicom, so that the first study does not wait for it.
            from falx.workstation.objects import study_objects

            make = study_objects.make
    except Exception as error:  # noqa: BLE001 - whatever its kind; nothing of a patient is known here
        known = isinstance(error, FalxError | OSError)
        _say(answers, {"error": str(error) if known else f"{cause(error)}: {error}"})
        return 2
    said = [str(warning.message) for warning in caught]
    _say(answers, {"model": classifier.model.to_dict(), "warnings": said})
    warnings.simplefilter("ignore")
    questions: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(questions,), daemon=True).start()
    while True:
        question = json.loads(questions.get())
        with quiet_readers():
            _say(answers, _answer(classifier, make, question))


def _leave_no_core() -> None:
    """Keeps the images in memory out of a core file, if a decoder crashes."""
    try:
        import resource
    except ImportError:
        return  # Windows
    # One byte, for at zero Linux would still pipe a core to a program that collects them.
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    size = 0 if most == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (size, size))


def _silence() -> None:
    """Sends everything else that this process prints nowhere: decoders and engines say what they like."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(nowhere, stream.fileno())


def _read(questions: queue.SimpleQueue[str]) -> None:
    """Passes questions on, and ends the process at once when the node has ended."""
    for line in sys.stdin:
        questions.put(line)
    os._exit(0)


def _answer(classifier: Classifier, make: Make, question: Mapping[str, Any]) -> Mapping[str, object]:
    try:
        study, made = make(classifier, list(map(Path, question["images"])), **question["options"])
        for number, data_set in enumerate(made, start=1):
            data_set.save_as(Path(question["folder"], f"{number:03}.dcm"), enforce_file_format=True)
    except BaseException as error:  # noqa: BLE001 - whatever its kind; its message could name the patient
        # The system's number of an error of the disk; an OSError may have none.
        code = getattr(error, "errno", None)
        return {"error": cause(error)} if code is None else {"error": cause(error), "number": code}
    report: MadeReport = {
        "uid": str(made[0].SOPInstanceUID),
        "outcome": {
            "decision": study.decision,
            "label": study.verdict.label,
            "confidence": study.verdict.confidence,
            "not_used": [f"{one.slices} {one.reason.code}" for one in study.not_used],
        },
    }
    return report


def _say(answers: TextIO, answer: Mapping[str, object]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
