"""`falx listen` receives studies and answers them until it is stopped."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Final

from falx.command.options import OK, SOME_FAILED, add_model
from falx.workstation.node.settings import add_options, from_options

if TYPE_CHECKING:
    from falx.workstation.node.settings import Settings
    from falx.workstation.node.worker import Worker

log = logging.getLogger("falx.listen")

STATUS_S: Final = 60.0
"""Seconds between status lines, which are printed where the status has changed."""


def add_listen(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `falx listen`."""
    add_model(parser)
    add_options(parser)


def listen(options: argparse.Namespace) -> int:
    """Runs a node until a signal ends it; fails where a thread did, or `--echo` was not answered."""
    settings = from_options(options)
    if options.echo:
        from falx.workstation.node.sending import echo

        answers = echo(settings)
        sys.stdout.write(f"{settings.destination} {'answers' if answers else 'does not answer'}\n")
        return OK if answers else SOME_FAILED
    from falx.workstation.node.worker import Worker

    # It loads the model while this process loads what listens.
    worker = Worker({"path": options.model, "engine": options.engine, "threads": options.threads})
    try:
        return _listen(settings, worker)
    finally:
        worker.stop()


def _listen(settings: Settings, worker: Worker) -> int:
    from falx.workstation.node.node import Node

    # Warnings about an image quote it, and may name the patient.
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
    return SOME_FAILED if node.failed else OK


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
