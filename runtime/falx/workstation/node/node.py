"""The DICOM node of `falx listen`: it receives images, classifies studies, and sends reports.

Three threads besides those of the associations: one has studies classified, in a process of their own
(`falx.workstation.node.worker`), one sends, one answers the health check. What they share is the spool, and
each of its steps is finished or not begun, see `falx.workstation.node.spool`.

Nothing of a patient is logged: studies are named by their UID, peers by title and address, and errors of
other libraries, whose messages may quote an image's header, by their class.
"""

from __future__ import annotations

import io
import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from falx._version import __version__
from falx.errors import FalxError
from falx.reading.quiet import quiet_readers
from falx.words import plain
from falx.workstation.node import health
from falx.workstation.node.settings import Settings
from falx.workstation.node.spool import IDENTIFIER, STUCK, Batch, Result, Spool, SpoolFull
from falx.workstation.node.worker import Unanswered, Worker
from falx.workstation.objects import headers

__all__ = ["IMAGES", "SYNTAXES", "Node", "echo"]

log = logging.getLogger("falx.listen")

IMAGES: Final = {
    "1.2.840.10008.5.1.4.1.1.4": "MR Image",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR Image",
    "1.2.840.10008.5.1.4.1.1.4.3": "Enhanced MR Color Image",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR Image",
    "1.2.840.10008.5.1.4.1.1.2": "CT Image",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image",
}
"""SOP classes that are kept and classified. A CT study is answered too: that it was rejected. Every other
storage class is acknowledged and not kept, so that a study with reports in it can be sent as a whole."""

SYNTAXES: Final = {
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
    "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless, first-order prediction",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
}
"""Transfer syntaxes that are accepted."""

SENT: Final = ("1.2.840.10008.5.1.4.1.1.88.22", "1.2.840.10008.5.1.4.1.1.7")
"""SOP classes that are sent: Enhanced SR and Secondary Capture Image."""

PLAIN_SYNTAXES: Final = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]

VERIFICATION: Final = "1.2.840.10008.1.1"

MAXIMUM_PDU: Final = 131072
"""Bytes of a message that a peer may send at once; more of them take longer."""

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
MISMATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
"""Status of C-STORE (DICOM PS3.4, B.2.3)."""

MEGABYTE: Final = 1024 * 1024
TIDY_S: Final = 30.0

TRIES: Final = 3
"""How often the classification of a study may fail before it is set aside."""

STOPS: Final = 30
"""How often, once a second, the process that classifies is ended when the node stops."""

IDENTIFIERS: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


class Node:
    """A node; `start` it, and `stop` it."""

    def __init__(self, settings: Settings, worker: Worker) -> None:
        """Take the spool.

        Args:
            settings: what to do.
            worker: that classifies; it stays the caller's to stop.

        Raises:
            DicomUnavailable: pynetdicom is not installed.
            FalxError: another process works in the spool, a certificate cannot be used, or the worker does
                not start: highdicom is not installed, or the model cannot be used.
        """
        self._settings, self._worker = settings, worker
        self._net = headers.needed("pynetdicom")
        worker.model  # noqa: B018 - to say early what is wrong with it
        self._server_tls = _server_tls(settings)
        # Read at each association anew, as certificates are renewed; here to say early what is wrong.
        _client_tls(settings)
        self._spool = Spool(
            settings.spool, limit_bytes=int(settings.spool_mb * MEGABYTE), keep_s=settings.keep_s
        )
        self._stopping = threading.Event()
        self._failed = threading.Event()
        self._classifying = False
        self._cannot_classify = False
        self._to_classify, self._to_send = threading.Event(), threading.Event()
        self._guard = threading.Lock()
        now = time.monotonic()
        # Whatever a killed process left waits as if it had just come: more of it may still be on its way.
        self._arrived = dict.fromkeys(self._spool.waiting(), now)
        self._not_before = {study: now + _pause(self._spool.tries(study)) for study in self._arrived}
        # Associations, with the study that each is sending; None before its first image.
        self._open: dict[Any, str | None] = {}
        self._incoming: dict[Any, int] = {}
        self._counts = dict.fromkeys(("received", "ignored", "refused", "associations_refused"), 0)
        self._destination_up: bool | None = None
        self._retries: dict[str, tuple[int, float]] = {}
        self._threads: list[threading.Thread] = []
        self._server: Any = None
        self._health: health.Health | None = None

    @property
    def port(self) -> int:
        """The port it listens at."""
        return int(self._server.socket.getsockname()[1])

    @property
    def health_port(self) -> int | None:
        """The port of the health check; None where there is none."""
        return None if self._health is None else self._health.port

    @property
    def failed(self) -> bool:
        """Whether a thread has ended that should not have: this process should be started anew."""
        return self._failed.is_set()

    def start(self) -> None:
        """Listen, classify and send until `stop`.

        Raises:
            FalxError: the port is taken, or the address is not this machine's.
        """
        settings, event = self._settings, self._net.evt
        entity = self._net.AE(ae_title=settings.title)
        entity.maximum_associations = settings.associations
        entity.maximum_pdu_size = MAXIMUM_PDU
        entity.network_timeout = entity.dimse_timeout = settings.idle_s
        entity.acse_timeout = min(30.0, settings.idle_s)
        entity.require_called_aet = True
        entity.require_calling_aet = list(settings.allow)
        entity.add_supported_context(VERIFICATION)
        for context in self._net.AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, list(SYNTAXES))
        handlers = [
            (event.EVT_CONN_OPEN, self._opened),
            (event.EVT_C_STORE, self._store),
            (event.EVT_DATA_RECV, self._limit),
            (event.EVT_REJECTED, self._rejected),
            (event.EVT_CONN_CLOSE, self._closed),
        ]
        try:
            self._server = entity.start_server(
                (settings.host, settings.port),
                block=False,
                evt_handlers=handlers,
                ssl_context=self._server_tls,
            )
        except OSError as error:
            self._spool.close()
            raise FalxError(
                f"cannot listen at {settings.host}:{settings.port}: {error.strerror or error}"
            ) from error
        if settings.health_port is not None:
            self._health = health.Health(settings.health_port, self.status)
        for name, run in (("classify", self._classify_all), ("send", self._send_all)):
            thread = threading.Thread(target=self._guarded, args=(run,), name=f"falx-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        log.info(
            "%s listens at %s:%d%s, results go to %s%s",
            settings.title,
            settings.host,
            self.port,
            " (TLS)" if self._server_tls else "",
            settings.destination,
            " (TLS)" if settings.destination_tls else "",
        )

    def stop(self) -> None:
        """Stop; what was received and not answered waits in the spool for the next start."""
        self._stopping.set()
        self._to_classify.set()
        self._to_send.set()
        with self._guard:
            classifying = self._classifying
        if classifying:
            self._worker.stop()
        self._server.shutdown()
        self._server.server_close()
        for _ in range(STOPS if classifying else 0):
            # It may not have asked yet: then it asks a new process.
            self._threads[0].join(timeout=1)
            if self._threads[0].is_alive():
                self._worker.stop()
        for thread in self._threads:
            thread.join(timeout=30)
        if self._health is not None:
            self._health.close()
        self._spool.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until a thread has failed; True then, False after the timeout."""
        return self._failed.wait(timeout)

    def status(self) -> dict[str, Any]:
        """What the health check answers."""
        if self.failed:
            trouble: str | None = "a thread has ended; start this process anew"
        elif self._cannot_classify:
            trouble = "the process that classifies does not start"
        elif self._spool.full:
            trouble = "the spool is full"
        else:
            trouble = None
        return {
            "status": "unwell" if trouble else "ok",
            **({"trouble": trouble} if trouble else {}),
            **self._counts,
            **self._spool.counts(),
            "associations": len(self._open),
            "spool_mb": round(self._spool.size / MEGABYTE, 1),
            "destination_up": self._destination_up,
            "falx": __version__,
            "model": self._worker.model.to_dict(),
        }

    def line(self) -> str:
        """The status in one line."""
        status = self.status()
        up = {True: "up", False: "down", None: "not tried"}[status["destination_up"]]
        return (
            f"{status['status']}: {status['received']} images received, "
            f"{status['studies_waiting']} studies waiting ({status['studies_stuck']} stuck), "
            f"{status['studies_set_aside']} set aside, "
            f"{status['results_to_send']} results to send, {status['results_sent']} sent, "
            f"spool {status['spool_mb']} of {self._settings.spool_mb:g} MB, destination {up}"
        )

    def echo(self) -> bool:
        """Whether the destination answers to C-ECHO."""
        return echo(self._settings)

    # What peers do

    def _store(self, event: Any) -> int:
        """Keep an image, or say why not; never raises, for a traceback could name the patient."""
        self._incoming.pop(event.assoc, None)
        try:
            with quiet_readers():
                return self._kept(event)
        except SpoolFull:
            self._count("refused")
            log.warning("refused an image: the spool is full")
            return OUT_OF_RESOURCES
        except Exception as error:  # noqa: BLE001 - see above
            self._count("refused")
            log.warning("refused an image: %s", type(error).__name__)
            return CANNOT_UNDERSTAND

    def _kept(self, event: Any) -> int:
        import pydicom

        if str(event.request.AffectedSOPClassUID) not in IMAGES:
            self._count("ignored")
            return SUCCESS
        data = event.encoded_dataset()
        if len(data) > self._settings.object_mb * MEGABYTE:
            # It was whole before its association could be ended.
            return OUT_OF_RESOURCES
        header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=list(IDENTIFIERS))
        found = [str(header.get(name) or "") for name in IDENTIFIERS]
        _, instance, study, _ = found
        asked = (str(event.request.AffectedSOPClassUID), str(event.request.AffectedSOPInstanceUID))
        if not all(map(IDENTIFIER.fullmatch, found)) or tuple(found[:2]) != asked:
            self._count("refused")
            log.warning("refused an image whose identifiers are missing or not those of its message")
            return MISMATCH
        with self._guard:
            # Another thread may have seen it end since its image came.
            if event.assoc in self._open:
                self._open[event.assoc] = study
        self._spool.store(study, instance, data)
        with self._guard:
            self._arrived[study] = time.monotonic()
        self._count("received")
        self._to_classify.set()
        return SUCCESS

    def _limit(self, event: Any) -> None:
        """End an association whose image is too long: it is held in memory until it is whole."""
        before = self._incoming.get(event.assoc, 0)
        held = self._incoming[event.assoc] = before + len(event.data)
        if before <= self._settings.object_mb * MEGABYTE < held:
            self._count("refused")
            log.warning("ended an association: more than %g MB at once", self._settings.object_mb)
            event.assoc.abort(block=False)

    def _rejected(self, event: Any) -> None:
        self._count("associations_refused")
        requestor = event.assoc.requestor
        log.warning(
            "refused an association of %s at %s",
            plain(str(requestor.ae_title)),
            plain(str(requestor.address)),
        )

    def _opened(self, event: Any) -> None:
        with self._guard:
            self._open[event.assoc] = None

    def _closed(self, event: Any) -> None:
        with self._guard:
            study = self._open.pop(event.assoc, None)
            self._incoming.pop(event.assoc, None)
        if study is not None:
            self._to_classify.set()

    # What the node does by itself

    def _classify_all(self) -> None:
        tidied = time.monotonic()
        while not self._stopping.is_set():
            self._to_classify.clear()
            study, wait_s = self._next()
            if study is not None:
                self._classify(study)
                continue
            if time.monotonic() - tidied > TIDY_S:
                self._spool.tidy()
                tidied = time.monotonic()
            self._to_classify.wait(wait_s)

    def _next(self) -> tuple[str | None, float]:
        """A study to classify now; or None, and how long to wait at most until there may be one."""
        now, wait_s = time.monotonic(), TIDY_S
        with self._guard:
            busy = set(self._open.values())
            for study, arrived in sorted(self._arrived.items(), key=lambda item: item[1]):
                due = max(arrived + self._settings.quiet_s, self._not_before.get(study, 0.0))
                # An association that is still open may send more of the study that it sent of last; it ends
                # when it is idle too long.
                if study not in busy and due <= now:
                    return study, 0.0
                if study not in busy:
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
        except Exception as error:  # noqa: BLE001 - the images stay; what is wrong may be mended
            # What `stop` ended is no failure, here and below.
            if not self._stopping.is_set():
                log.error("study %s: not classified (%s), tried again", study, _cause(error))  # noqa: TRY400
                self._cannot_classify = isinstance(error, FalxError)
                self._try_later(study, max(_pause(self._spool.tries(study)), self._settings.retry_s))
        else:
            self._cannot_classify = False
        self._classifying = False
        if study in self._spool.waiting():
            # More came while this was being classified.
            with self._guard:
                self._arrived.setdefault(study, time.monotonic())

    def _begin(self, study: str) -> None:
        batch = self._spool.begin(study)
        if batch is None:
            return
        try:
            self._answer(batch)
        except Unanswered as error:
            if not self._stopping.is_set():
                self._fail(batch, str(error))
        else:
            self._spool.finish(batch)

    def _fail(self, batch: Batch, why: str) -> None:
        """Try a study again, or no more."""
        study, times = batch.study, self._spool.failed(batch)
        if times < TRIES:
            log.error("study %s: not classified (%s), tried again", study, why)
            self._try_later(study, _doubled(self._settings, times))
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
                batch.images,
                folder,
                further=[str(batch.number)] if repeated else [],
                capture=settings.capture,
                workers=settings.workers,
                limit_s=settings.longest_s,
            ),
        )
        log.info(
            "study %s: %d images, %s, in %.1f s",
            study,
            len(batch.images),
            record["label"] or record["decision"],
            time.perf_counter() - started,
        )
        self._to_send.set()

    def _send_all(self) -> None:
        while not self._stopping.is_set():
            self._to_send.clear()
            now = time.monotonic()
            waiting = self._spool.outbox()
            due = [result for result in waiting if self._retries.get(result.uid, (0, 0.0))[1] <= now]
            if due:
                self._send(due)
                continue
            times = [self._retries[result.uid][1] - now for result in waiting]
            self._to_send.wait(max(0.05, min(times, default=TIDY_S)))

    def _send(self, due: list[Result]) -> None:
        association = _associate(self._settings, SENT)
        if not association.is_established:
            if self._destination_up is not False:
                log.warning("the destination %s does not answer; tried again", self._settings.destination)
            self._destination_up = False
            for result in due:
                self._later(result)
            return
        self._destination_up = True
        try:
            for result in due:
                if self._stopping.is_set():
                    return
                self._send_result(association, result)
        finally:
            if association.is_established:
                association.release()

    def _send_result(self, association: Any, result: Result) -> None:
        for number, file in enumerate(result.files, start=1):
            try:
                status = association.send_c_store(file, msg_id=number).get("Status")
            except (RuntimeError, ValueError):
                # The association has ended, or the destination takes no such objects.
                status = None
            if status is None or not (status == SUCCESS or 0xB000 <= status <= 0xBFFF):
                said = "no answer" if status is None else f"status 0x{status:04X}"
                log.warning("study %s: its result was not taken (%s); tried again", result.study, said)
                self._later(result)
                return
        self._spool.sent(result)
        self._retries.pop(result.uid, None)
        log.info("study %s: result sent, %d objects", result.study, len(result.files))

    def _later(self, result: Result) -> None:
        tries = self._retries.get(result.uid, (0, 0.0))[0] + 1
        self._retries[result.uid] = tries, time.monotonic() + _doubled(self._settings, tries)

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001 - of whatever kind, this process must be started anew
            log.error("this process must be started anew: %s", _cause(error))  # noqa: TRY400
            self._failed.set()

    def _count(self, name: str) -> None:
        with self._guard:
            self._counts[name] += 1


def echo(settings: Settings) -> bool:
    """Whether the destination answers to C-ECHO.

    Raises:
        DicomUnavailable: pynetdicom is not installed.
        FalxError: a certificate cannot be used.
    """
    association = _associate(settings, [VERIFICATION])
    if not association.is_established:
        return False
    try:
        return bool(association.send_c_echo().get("Status", 1) == SUCCESS)
    finally:
        association.release()


def _associate(settings: Settings, classes: Sequence[str]) -> Any:
    """An association with the destination, established or not."""
    net = headers.needed("pynetdicom")
    to = settings.destination
    entity = net.AE(ae_title=settings.title)
    entity.network_timeout = entity.dimse_timeout = settings.idle_s
    entity.acse_timeout = entity.connection_timeout = min(10.0, settings.idle_s)
    for uid in classes:
        entity.add_requested_context(uid, PLAIN_SYNTAXES)
    context = _client_tls(settings)
    return entity.associate(
        to.host, to.port, ae_title=to.title, tls_args=None if context is None else (context, to.host)
    )


def _doubled(settings: Settings, tries: int) -> float:
    """How long to wait after so many tries that failed, in seconds."""
    return min(settings.retry_s * 2.0 ** min(tries - 1, 30), settings.retry_most_s)


def _pause(tries: int) -> float:
    """How long a batch waits that was begun so often and not finished, in seconds: 8 to 600."""
    return 0.0 if tries < STUCK else min(2.0 ** (tries + 1), 600.0)


def _cause(error: Exception) -> str:
    """An error for the log: in Falx's own words, or by its class."""
    own = isinstance(error, OSError | FalxError)
    return f"{type(error).__name__}: {error}" if own else type(error).__name__


def _server_tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        context = _PatientContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        if settings.tls_authority is not None:
            context.load_verify_locations(settings.tls_authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise FalxError(f"TLS: the certificate, key or authority cannot be used: {error}") from error
    return context


def _client_tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.destination_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls_authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.tls_certificate is not None:
            context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise FalxError(f"TLS: the certificate, key or authority cannot be used: {error}") from error
    return context


class _PatientContext(ssl.SSLContext):
    """Shakes hands when the first bytes are read, in the association's own thread.

    pynetdicom would do it where it accepts connections, and one peer that says nothing would keep out all
    others.
    """

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*arguments, **(options | {"do_handshake_on_connect": False}))
