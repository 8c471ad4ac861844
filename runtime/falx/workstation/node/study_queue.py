"""The queue of received studies: it decides which is due, has it classified, and tries failures again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from falx.workstation.errors import StudyUnanswered, WorkerError, cause
from falx.workstation.node.settings import Settings
from falx.workstation.node.spool import STUCK, Batch, Spool
from falx.workstation.node.worker import Worker

log = logging.getLogger("falx.listen")

TIDY_S: Final = 30.0
"""Time between two removals of what the spool need not keep, in seconds."""

TRIES: Final = 3
"""Failures to classify a study before it is set aside."""


class StudyQueue:
    """Has studies classified one by one, in a thread that runs `run`."""

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        worker: Worker,
        stopping: threading.Event,
        reported: Callable[[], None],
    ) -> None:
        """Queues what is in the spool.

        `stopping` ends `run`, after `changed`; `reported` is called when a result is in the outbox.
        """
        self._settings, self._spool, self._worker = settings, spool, worker
        self._stopping, self._reported = stopping, reported
        self._woken, self._guard = threading.Event(), threading.Lock()
        self._classifying = False
        self.worker_fails = False
        now = time.monotonic()
        # Whatever a killed process left waits as if it had just come: more of it may still be on its way.
        self._arrived = dict.fromkeys(spool.waiting(), now)
        self._not_before = {study: now + self._pause_s(study) for study in self._arrived}

    @property
    def classifying(self) -> bool:
        """True while a study is being classified."""
        with self._guard:
            return self._classifying

    def changed(self, study: str | None = None) -> None:
        """Says that an image of a study has arrived, or, without one, that a study may be due."""
        if study is not None:
            with self._guard:
                self._arrived[study] = time.monotonic()
        self._woken.set()

    def run(self, sending: Callable[[], Collection[str]]) -> None:
        """Classifies studies as they become due, until the node stops.

        `sending` returns the studies of which open associations may send more.
        """
        tidied = time.monotonic()
        while not self._stopping.is_set():
            self._woken.clear()
            study, wait_s = self._next(sending())
            if study is not None:
                self._classify(study)
                continue
            if time.monotonic() - tidied > TIDY_S:
                self._spool.tidy()
                tidied = time.monotonic()
            self._woken.wait(wait_s)

    def _next(self, sending: Collection[str]) -> tuple[str | None, float]:
        """Returns a study that is due; or None, and after how many seconds one may be."""
        now, wait_s = time.monotonic(), TIDY_S
        with self._guard:
            for study, arrived in sorted(self._arrived.items(), key=lambda item: item[1]):
                if study in sending:
                    # An association that falls silent is ended, so it does not hold a study for ever.
                    continue
                due = max(arrived + self._settings.quiet_s, self._not_before.get(study, 0.0))
                if due <= now:
                    return study, 0.0
                wait_s = min(wait_s, due - now)
        return None, wait_s

    def _classify(self, study: str) -> None:
        with self._guard:
            self._arrived.pop(study, None)
            self._not_before.pop(study, None)
            if self._stopping.is_set():
                return
            self._classifying = True
        try:
            self._begin(study)
            self.worker_fails = False
        except Exception as error:  # noqa: BLE001 - the images stay; what is wrong may be mended
            # An error that `stop` causes is no failure, here and below.
            if not self._stopping.is_set():
                log.error("study %s: not classified (%s), tried again", study, cause(error))  # noqa: TRY400
                self.worker_fails = isinstance(error, WorkerError)
                self._try_later(study, max(self._pause_s(study), self._settings.retry_s))
        with self._guard:
            self._classifying = False
            if study in self._spool.waiting():
                # More came while this was being classified.
                self._arrived.setdefault(study, time.monotonic())

    def _begin(self, study: str) -> None:
        batch = self._spool.begin(study)
        if batch is None:
            return
        try:
            self._answer(batch)
        except StudyUnanswered as error:
            if not self._stopping.is_set():
                self._fail(batch, str(error))
        else:
            self._spool.finish(batch)

    def _fail(self, batch: Batch, why: str) -> None:
        study, times = batch.study, self._spool.failed(batch)
        if times < TRIES:
            log.error("study %s: not classified (%s), tried again", study, why)
            self._try_later(study, self._settings.retry_after_s(times))
            return
        self._spool.set_aside(batch)
        log.error(
            "study %s: set aside, not classified %d times (%s); its images are kept, and it is tried again "
            "when it is received again",
            study,
            times,
            why,
        )

    def _try_later(self, study: str, wait_s: float) -> None:
        with self._guard:
            self._arrived[study] = time.monotonic()
            self._not_before[study] = time.monotonic() + wait_s

    def _pause_s(self, study: str) -> float:
        """Returns the wait of a study whose batch was begun and not finished, in seconds."""
        tries = self._spool.tries(study)
        return 0.0 if tries < STUCK else self._settings.retry_after_s(tries)

    def _answer(self, batch: Batch) -> None:
        study, settings = batch.study, self._settings
        if batch.published:
            log.info("study %s: its result was written before this process was started", study)
            return
        repeated = batch.fresh <= self._spool.reported(study)
        if repeated and not settings.again:
            log.info("study %s: %d images, all reported before", study, len(batch.fresh))
            return
        started = time.perf_counter()
        record = self._spool.publish(
            batch,
            lambda folder: self._worker.make(
                batch.images.values(),
                folder,
                further=[str(batch.number)] if repeated else [],
                capture=settings.capture,
                workers=settings.workers,
                limit_s=settings.longest_s,
            ),
        )
        log.info(
            "study %s: %d images, %s, not used: %s, in %.1f s",
            study,
            len(batch.images),
            record["label"] or record["decision"],
            ", ".join(record["not_used"]) or "none",
            time.perf_counter() - started,
        )
        self._reported()
