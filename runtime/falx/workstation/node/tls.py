"""TLS for both directions: the node's certificate for peers that send, and the proof of a destination."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from falx.workstation.errors import SettingsError
from falx.workstation.node.settings import Settings


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """Makes the context for peers that connect; None without a certificate."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    with _usable():
        context = _PatientContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        if settings.tls_authority is not None:
            context.load_verify_locations(settings.tls_authority)
            context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(settings: Settings) -> ssl.SSLContext | None:
    """Makes the context for the destination; None where it is reached without TLS."""
    if not settings.destination_tls:
        return None
    with _usable():
        context = ssl.create_default_context(cafile=settings.tls_authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.tls_certificate is not None:
            context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    return context


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"TLS: the certificate, key or authority cannot be used: {error}") from error


class _PatientContext(ssl.SSLContext):
    """Shakes hands when the first bytes are read, in the association's own thread.

    pynetdicom would do it where it accepts connections, and one silent peer would keep out all others.
    """

    def wrap_socket(self, *arguments: object, **options: object) -> ssl.SSLSocket:
        options["do_handshake_on_connect"] = False
        return super().wrap_socket(*arguments, **options)  # type: ignore[arg-type] # passed on as they are
