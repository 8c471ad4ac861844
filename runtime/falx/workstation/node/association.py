"""The receiving side of the node: associations of peers, and what C-STORE keeps and answers."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable
from typing import Final, cast

from falx.errors import AddressUnavailable, DicomUnavailable
from falx.optional import needs
from falx.reading.decoders import PLUGINS
from falx.reading.quiet import quiet_readers
from falx.reading.tags import MR_CLASSES
from falx.words import MEBIBYTE, plain
from falx.workstation.errors import SpoolFull, cause
from falx.workstation.node.settings import Settings
from falx.workstation.node.spool import IDENTIFIER, Spool
from falx.workstation.node.tls import server_context
from falx.workstation.objects.headers import REQUIRED

with needs("`falx listen`", "dicom", DicomUnavailable):
    from pydicom import dcmread
    from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.association import Association
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event, EventHandlerType
    from pynetdicom.transport import ThreadedAssociationServer

log = logging.getLogger("falx.listen")

IMAGES: Final = (*MR_CLASSES, CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
"""SOP classes that are kept and classified. A CT study is answered too: with `rejected`. Every other
storage class is acknowledged and not kept, so that a study with reports in it can be sent as a whole."""

VERIFICATION: Final = "1.2.840.10008.1.1"

MAXIMUM_PDU: Final = 131072
"""Longest message that a peer may send at once, in bytes; shorter ones make large images slower."""

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
MISMATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
"""Status of C-STORE (DICOM PS3.4, B.2.3)."""


class Receiver:
    """A DICOM server that writes each image to the spool before it acknowledges the image."""

    def __init__(self, settings: Settings, spool: Spool, changed: Callable[[str | None], None]) -> None:
        """Reads the certificates; `start` listens.

        `changed` is called with the UID of a study when one of its images is in the spool, and with None when
        an association has ended.
        """
        self._settings, self._spool, self._changed = settings, spool, changed
        self._tls = server_context(settings)
        self._guard = threading.Lock()
        # Open associations, each with the study that it is sending; None before its first image.
        self._open: dict[Association, str | None] = {}
        # The bytes of the image that an association is sending.
        self._incoming: dict[Association, int] = {}
        self._counts = dict.fromkeys(("received", "ignored", "refused", "associations_refused"), 0)
        self._server: ThreadedAssociationServer | None = None

    @property
    def port(self) -> int:
        """The port it listens at."""
        assert self._server is not None  # noqa: S101 - our own invariant: it was started
        assert self._server.socket is not None  # noqa: S101
        return int(self._server.socket.getsockname()[1])

    def start(self) -> None:
        """Listens, in threads of its own; raises AddressUnavailable where it cannot."""
        settings = self._settings
        entity = AE(ae_title=settings.title)
        entity.maximum_associations = settings.associations
        entity.maximum_pdu_size = MAXIMUM_PDU
        entity.network_timeout = entity.dimse_timeout = settings.idle_s
        entity.acse_timeout = min(30.0, settings.idle_s)
        entity.require_called_aet = True
        entity.require_calling_aet = list(settings.allow)
        entity.add_supported_context(VERIFICATION)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax), list(PLUGINS))
        handlers: list[EventHandlerType] = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_DATA_RECV, self._limit),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]
        address = settings.host, settings.port
        try:
            self._server = entity.start_server(
                address, block=False, evt_handlers=handlers, ssl_context=self._tls
            )
        except OSError as error:
            raise AddressUnavailable(
                f"cannot listen at {settings.host}:{settings.port}: {error.strerror or error}"
            ) from error

    def stop(self) -> None:
        """Ends the associations and listens no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def sending(self) -> set[str]:
        """Returns the studies of which an open association has sent an image last: more may follow."""
        with self._guard:
            return {study for study in self._open.values() if study is not None}

    def status(self) -> dict[str, int]:
        """Returns how many images and associations there have been."""
        return {**self._counts, "associations": len(self._open)}

    def _store(self, event: Event) -> int:
        """Keeps an image, or answers why not; it never raises, for a traceback could name the patient."""
        self._incoming.pop(event.assoc, None)
        try:
            with quiet_readers():
                return self._kept(event)
        except SpoolFull:
            return self._refused("the spool is full", OUT_OF_RESOURCES)
        except Exception as error:  # noqa: BLE001 - see above
            return self._refused(cause(error), CANNOT_UNDERSTAND)

    def _kept(self, event: Event) -> int:
        request = cast("C_STORE", event.request)
        asked = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
        if asked[0] not in IMAGES:
            self._count("ignored")
            return SUCCESS
        data = event.encoded_dataset()
        if len(data) > self._settings.object_mb * MEBIBYTE:
            # It was whole before its association could be ended.
            return OUT_OF_RESOURCES
        header = dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=list(REQUIRED))
        found = [str(header.get(name) or "") for name in REQUIRED]
        _, instance, study, _ = found
        if not all(map(IDENTIFIER.fullmatch, found)) or tuple(found[:2]) != asked:
            return self._refused("its identifiers are missing, or are not those of its message", MISMATCH)
        with self._guard:
            # Another thread may have seen it end since its image came.
            if event.assoc in self._open:
                self._open[event.assoc] = study
        self._spool.store(study, instance, data)
        self._count("received")
        self._changed(study)
        return SUCCESS

    def _refused(self, why: str, status: int) -> int:
        self._count("refused")
        log.warning("refused an image: %s", why)
        return status

    def _limit(self, event: Event) -> None:
        """Ends an association whose image is too long: an image is held in memory until it is whole."""
        before = self._incoming.get(event.assoc, 0)
        held = self._incoming[event.assoc] = before + len(event.data)
        if before <= self._settings.object_mb * MEBIBYTE < held:
            self._count("refused")
            log.warning("ended an association: more than %g MB at once", self._settings.object_mb)
            event.assoc.abort(block=False)

    def _rejected(self, event: Event) -> None:
        self._count("associations_refused")
        peer = event.assoc.requestor
        log.warning("refused an association of %s at %s", plain(str(peer.ae_title)), plain(str(peer.address)))

    def _opened(self, event: Event) -> None:
        with self._guard:
            self._open[event.assoc] = None

    def _closed(self, event: Event) -> None:
        with self._guard:
            self._open.pop(event.assoc, None)
            self._incoming.pop(event.assoc, None)
        self._changed(None)

    def _count(self, name: str) -> None:
        with self._guard:
            self._counts[name] += 1
