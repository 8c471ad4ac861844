"""The DICOM node of `falx listen`: it receives images, has studies classified, and sends reports.

Three threads beside those of the associations: one has studies classified, in a process of their own
(`falx.workstation.node.worker`), one sends, one answers the health check. They share the spool, each of whose
steps is finished or not begun (`falx.workstation.node.spool`).

Nothing of a patient is logged: studies are named by their UID, peers by title and address, and errors of
other libraries, whose messages may quote an image's header, by their place in the code.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Final

from falx._version import __version__
from falx.words import MEBIBYTE
from falx.workstation.errors import cause
from falx.workstation.node.association import Receiver
from falx.workstation.node.health import Health
from falx.workstation.node.sending import Sender
from falx.workstation.node.settings import Settings
from falx.workstation.node.spool import Spool
from falx.workstation.node.study_queue import StudyQueue
from falx.workstation.node.worker import Worker

log = logging.getLogger("falx.listen")

STOPS: Final = 30
"""The attempts, one a second, to end the process that classifies when the node stops."""


class Node:
    """A node; `start` it, and `stop` it."""

    def __init__(self, settings: Settings, worker: Worker) -> None:
        """Takes the spool, and waits for the worker, which stays the caller's to stop."""
        worker.model  # noqa: B018 - to say early what is wrong with it
        self._settings, self._worker = settings, worker
        self._stopping, self._failed = threading.Event(), threading.Event()
        self.spool = Spool(
            settings.spool, limit_bytes=int(settings.spool_mb * MEBIBYTE), keep_s=settings.keep_s
        )
        try:
            self._sender = Sender(settings, self.spool, self._stopping)
            self._queue = StudyQueue(settings, self.spool, worker, self._stopping, self._sender.wake)
            self._receiver = Receiver(settings, self.spool, self._queue.changed)
        except BaseException:
            self.spool.close()
            raise
        self._health: Health | None = None
        classify = functools.partial(self._queue.run, self._receiver.sending)
        self._threads = [
            threading.Thread(target=self._guarded, args=(run,), name=f"falx-{name}", daemon=True)
            for name, run in (("classify", classify), ("send", self._sender.run))
        ]

    @property
    def port(self) -> int:
        """The port it listens at."""
        return self._receiver.port

    @property
    def health_port(self) -> int | None:
        """The port of the health check; None where there is none."""
        return None if self._health is None else self._health.port

    @property
    def failed(self) -> bool:
        """True when a thread has ended that should not have: then this process should be started anew."""
        return self._failed.is_set()

    def start(self) -> None:
        """Listens, classifies and sends until `stop`; raises AddressUnavailable where it cannot."""
        settings = self._settings
        try:
            self._receiver.start()
            if settings.health_port is not None:
                self._health = Health(settings.health_port, self.status)
        except BaseException:
            self._receiver.stop()
            self.spool.close()
            raise
        for thread in self._threads:
            thread.start()
        log.info(
            "%s listens at %s:%d%s, results go to %s%s",
            settings.title,
            settings.host,
            self.port,
            " (TLS)" if settings.tls_certificate else "",
            settings.destination,
            " (TLS)" if settings.destination_tls else "",
        )

    def stop(self) -> None:
        """Stops, once; what was received and not answered waits in the spool for the next start."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._queue.changed()
        self._sender.wake()
        classifying = self._queue.classifying
        if classifying:
            self._worker.stop()
        self._receiver.stop()
        for _ in range(STOPS if classifying else 0):
            # It may not have asked yet: then it asks a new process.
            self._threads[0].join(timeout=1)
            if self._threads[0].is_alive():
                self._worker.stop()
        for thread in self._threads:
            thread.join(timeout=30)
        if self._health is not None:
            self._health.close()
        self.spool.close()

    def status(self) -> dict[str, object]:
        """Returns what the health check answers."""
        trouble = None
        if self.failed:
            trouble = "a thread has ended; start this process anew"
        elif self._queue.worker_fails:
            trouble = "the process that classifies does not start"
        elif self.spool.full:
            trouble = "the spool is full"
        return {
            "status": "unwell" if trouble else "ok",
            **({"trouble": trouble} if trouble else {}),
            **self._receiver.status(),
            **self.spool.counts(),
            "spool_mb": round(self.spool.size / MEBIBYTE, 1),
            "destination_up": self._sender.destination_up,
            "falx": __version__,
            "model": self._worker.model.to_dict(),
        }

    def line(self) -> str:
        """Returns the status in one line."""
        status = self.status()
        up = {True: "up", False: "down", None: "not tried"}[self._sender.destination_up]
        return (
            f"{status['status']}: {status['received']} images received, "
            f"{status['studies_waiting']} studies waiting ({status['studies_stuck']} stuck), "
            f"{status['studies_set_aside']} set aside, "
            f"{status['results_to_send']} results to send, {status['results_sent']} sent, "
            f"spool {status['spool_mb']} of {self._settings.spool_mb:g} MB, destination {up}"
        )

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001 - whatever its kind, this process must be started anew
            log.error("this process must be started anew: %s", cause(error))  # noqa: TRY400
            self._failed.set()
