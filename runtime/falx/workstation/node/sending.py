"""The sending side of the node: results go to the destination until it has taken each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from falx.errors import DicomUnavailable
from falx.optional import needs
from falx.reading.decoders import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from falx.workstation.node.association import SUCCESS, VERIFICATION
from falx.workstation.node.settings import Settings
from falx.workstation.node.spool import Result, Spool
from falx.workstation.node.tls import client_context

with needs("`falx listen`", "dicom", DicomUnavailable):
    from pydicom.uid import EnhancedSRStorage, SecondaryCaptureImageStorage
    from pynetdicom import AE
    from pynetdicom.association import Association

log = logging.getLogger("falx.listen")

SENT: Final = (EnhancedSRStorage, SecondaryCaptureImageStorage)
"""SOP classes that are sent."""

WARNINGS: Final = range(0xB000, 0xC000)
"""Status of C-STORE where the object was stored all the same (DICOM PS3.4, B.2.3)."""

LOOK_S: Final = 30.0
"""Longest pause between two looks into the outbox, in seconds."""


class Sender:
    """Sends what is in the outbox of a spool, in a thread that runs `run`."""

    def __init__(self, settings: Settings, spool: Spool, stopping: threading.Event) -> None:
        """Reads the certificates. `stopping` ends `run`, after `wake`."""
        # Each association reads them anew, as certificates are renewed; here to say early what is wrong.
        client_context(settings)
        self._settings, self._spool, self._stopping = settings, spool, stopping
        self._woken = threading.Event()
        # How often a result was not taken, and when it is sent again.
        self._retries: dict[str, tuple[int, float]] = {}
        self.destination_up: bool | None = None

    def wake(self) -> None:
        """Says that there is something to send, or to end."""
        self._woken.set()

    def run(self) -> None:
        """Sends results as they come, until the node stops."""
        while not self._stopping.is_set():
            self._woken.clear()
            now, waiting = time.monotonic(), self._spool.outbox()
            times = [self._retries.get(result.uid, (0, 0.0))[1] for result in waiting]
            if due := [result for result, when in zip(waiting, times, strict=True) if when <= now]:
                self._send(due)
            else:
                self._woken.wait(max(0.05, min([when - now for when in times], default=LOOK_S)))

    def _send(self, due: Sequence[Result]) -> None:
        association = _associate(self._settings, SENT)
        if not association.is_established:
            if self.destination_up is not False:
                log.warning("the destination %s does not answer; tried again", self._settings.destination)
            self.destination_up = False
            for result in due:
                self._later(result)
            return
        self.destination_up = True
        try:
            for result in due:
                if self._stopping.is_set():
                    return
                self._send_result(association, result)
        finally:
            if association.is_established:
                association.release()

    def _send_result(self, association: Association, result: Result) -> None:
        for number, file in enumerate(result.files, start=1):
            try:
                status = association.send_c_store(file, msg_id=number).get("Status")
            except (RuntimeError, ValueError):
                # The association has ended, or the destination does not take such objects.
                status = None
            if status != SUCCESS and status not in WARNINGS:
                said = "no answer" if status is None else f"status 0x{status:04X}"
                log.warning("study %s: its result was not taken (%s); tried again", result.study, said)
                self._later(result)
                return
        self._spool.sent(result)
        self._retries.pop(result.uid, None)
        log.info("study %s: result sent, %d objects", result.study, len(result.files))

    def _later(self, result: Result) -> None:
        failures = self._retries.get(result.uid, (0, 0.0))[0] + 1
        self._retries[result.uid] = failures, time.monotonic() + self._settings.retry_after_s(failures)


def echo(settings: Settings) -> bool:
    """Asks the destination whether it answers (C-ECHO)."""
    association = _associate(settings, [VERIFICATION])
    if not association.is_established:
        return False
    try:
        return bool(association.send_c_echo().get("Status", 1) == SUCCESS)
    finally:
        association.release()


def _associate(settings: Settings, classes: Sequence[str]) -> Association:
    """Opens an association with the destination; it may not be established."""
    to = settings.destination
    entity = AE(ae_title=settings.title)
    entity.network_timeout = entity.dimse_timeout = settings.idle_s
    entity.acse_timeout = entity.connection_timeout = min(10.0, settings.idle_s)
    for uid in classes:
        entity.add_requested_context(uid, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
    context = client_context(settings)
    return entity.associate(
        to.host, to.port, ae_title=to.title, tls_args=None if context is None else (context, to.host)
    )
