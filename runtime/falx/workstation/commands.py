"""`falx listen`, and what `falx study` writes as DICOM."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from falx.errors import FalxError
from falx.words import counted

if TYPE_CHECKING:
    from falx.gathering import Gathering
    from falx.prediction import Model
    from falx.study import Study
    from falx.workstation.settings import Settings
    from falx.workstation.worker import Worker

log = logging.getLogger("falx.listen")

__all__ = ["check_outputs", "listen", "write_outputs"]

STATUS_S: Final = 60.0
"""How often the status line is printed, where it has changed, in seconds."""


def listen(options: argparse.Namespace) -> int:
    """Run a node until a signal ends it.

    Args:
        options: parsed.

    Returns:
        0 when it was told to end; 1 when a thread failed, or `--echo` was not answered.

    Raises:
        FalxError: a setting is wrong, the model cannot be used, or the port or spool is taken.
    """
    settings = _settings(options)
    if options.echo:
        from falx.workstation.node import echo

        answers = echo(settings)
        sys.stdout.write(f"{settings.destination} {'answers' if answers else 'does not answer'}\n")
        return 0 if answers else 1
    from falx.workstation.worker import Worker

    # It loads the model while this process loads what listens.
    worker = Worker({"path": options.model, "engine": options.engine, "threads": options.threads})
    try:
        return _listen(settings, worker)
    finally:
        worker.stop()


def _listen(settings: Settings, worker: Worker) -> int:
    from falx.workstation.node import Node

    # What is wrong with an image is told with the image's own words, and those may name the patient.
    warnings.simplefilter("ignore")
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).disabled = True
    _log_to_stderr()
    node = Node(settings, worker)
    for text in worker.warnings:
        sys.stderr.write(f"falx: warning: {text}\n")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    node.start()
    if node.health_port is not None:
        log.info("health check at http://127.0.0.1:%d/healthz", node.health_port)
    said, next_s = "", 0.0
    try:
        while not ended.wait(1.0) and not node.failed:
            next_s -= 1.0
            line = node.line() if next_s <= 0 else said
            if line != said:
                log.info("%s", line)
                said, next_s = line, STATUS_S
    finally:
        node.stop()
        log.info("stopped; %s", node.line())
    return 1 if node.failed else 0


def check_outputs(options: argparse.Namespace) -> None:
    """Say what is wrong with `--sr` and `--sc` before anything is classified.

    Raises:
        FalxError: they are given with several studies, or would replace something.
        DicomUnavailable: highdicom is not installed.
    """
    if options.sr is None and options.sc is None:
        return
    from falx.overlay import Folder
    from falx.workstation.headers import needed

    needed("highdicom")
    if len(options.paths) > 1:
        raise FalxError("--sr and --sc write what one study comes to; give one PATH")
    if options.sr is not None and Path(options.sr).exists():
        raise FalxError(f"{options.sr}: expected a new file, there is one; give another name")
    if options.sc is not None:
        Folder(options.sc)


def write_outputs(options: argparse.Namespace, study: Study, found: Gathering, model: Model) -> list[str]:
    """Write the report and the pictures that `falx study` was asked for.

    Args:
        options: with `sr`, a new file or None, and `sc`, a folder or None, as `check_outputs` passed them.
        study: made from `found`.
        found: its slices.
        model: that answered.

    Returns:
        What was written, a sentence each.

    Raises:
        FalxError: the study is none of DICOM images, or something cannot be written.
    """
    if options.sr is None and options.sc is None:
        return []
    from falx.workstation import results
    from falx.workstation.structured_report import structured_report

    known = results.sources(dict.fromkeys(result.path for result in study.results if result.path))
    identity = results.identity_of(known, model)
    written = []
    if options.sr is not None:
        _save(structured_report(study, known, model=model, identity=identity), Path(options.sr))
        written.append(f"Report written to {options.sr}.")
    if options.sc is not None:
        count = 0
        for picture in results.captures(study, found, known, identity=identity):
            _save(picture, Path(options.sc) / f"{int(picture.InstanceNumber):03}.dcm")
            count += 1
        written.append(f"{counted(count, 'picture')} written to {options.sc}.")
    return written


def _save(data: Any, path: Path) -> None:
    try:
        with path.open("xb") as stream:
            data.save_as(stream, enforce_file_format=True)
    except OSError as error:
        raise FalxError(f"{path}: cannot be written: {error.strerror or error}") from error


def _settings(options: argparse.Namespace) -> Settings:
    """The settings of the file, if one is given, and of the command line, which comes first."""
    from falx.workstation.options import OPTIONS, SECONDS
    from falx.workstation.settings import Settings, read_file

    given = {} if options.config is None else read_file(Path(options.config))
    for name, _, _ in OPTIONS:
        key = name.replace("-", "_")
        if hasattr(options, key):
            given[f"{key}_s" if key in SECONDS else key] = getattr(options, key)
    return Settings.build(given)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
