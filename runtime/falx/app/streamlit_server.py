"""The server of the page: Streamlit, told to keep everything in memory and to itself."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from falx.address import LOOPBACK, check_free
from falx.app.colours import DARK
from falx.app.guard import Guard
from falx.app.page_service import PageService, install
from falx.errors import FalxError
from falx.optional import needs
from falx.words import DISCLAIMER, MEBIBYTE

if TYPE_CHECKING:
    from streamlit import App

SCRIPT: Final = Path(__file__).with_name("__main__.py")

FORGET_S: Final = 60
"""Seconds for which the slices of a page that was closed, or lost its connection, wait for it to return."""

THEME: Final = {
    "base": "dark",
    "primaryColor": DARK["accent"],
    "backgroundColor": DARK["ground"],
    "secondaryBackgroundColor": DARK["panel"],
    "textColor": DARK["text"],
    "linkColor": DARK["accent"],
    "borderColor": DARK["line"],
    "greenTextColor": DARK["no_tumor"],
    "redTextColor": DARK["tumor"],
    "yellowTextColor": DARK["ambiguous"],
    "grayTextColor": DARK["rejected"],
    "baseRadius": "10px",
    "font": 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif',
}
"""The theme of Streamlit's own elements."""


class AppUnavailable(FalxError, ImportError):  # noqa: N818 - the name says what is wrong
    """The page needs packages that are not installed."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The place where the page is served; `base_path`, before all its paths, has no slashes at its ends."""

    address: str
    port: int
    base_path: str
    open_browser: bool

    @property
    def url(self) -> str:
        """The page's address for a browser on this machine."""
        everywhere = self.address in ("0.0.0.0", "::")  # noqa: S104 - the user gave it; it is not a default
        host = "localhost" if everywhere or self.address in LOOPBACK else self.address
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/{self.base_path}".rstrip("/")


def start(service: PageService, endpoint: Endpoint) -> None:
    """Serves the page until the process is stopped."""
    with needs("`falx app`", "app", AppUnavailable):
        import fpdf  # noqa: F401 - so that it is not missing when a report is saved
        import streamlit
        from starlette.formparsers import MultiPartParser
        from starlette.middleware import Middleware
    check_free(endpoint.address, endpoint.port)
    install(service)
    # A file above this size would be put on the disk while it comes in.
    MultiPartParser.spool_max_size = (service.maximum_megabytes + 1) * MEBIBYTE

    @contextlib.asynccontextmanager
    async def announced(_: App) -> AsyncIterator[None]:
        sys.stdout.write(f"Falx is at {endpoint.url}; Ctrl+C ends it.\n{DISCLAIMER}\n")
        sys.stdout.flush()
        threading.Thread(target=_load_dicom, daemon=True).start()
        if endpoint.open_browser:
            # In a thread: a browser of the terminal would keep the page from being served.
            threading.Thread(target=webbrowser.open, args=(endpoint.url,), daemon=True).start()
        yield

    app = streamlit.App(
        SCRIPT,
        lifespan=announced,
        middleware=[Middleware(Guard, uploads=service.uploads)],
        on_script_error=lambda _: True,
    )
    # Messages of errors may quote the names of files, and those may be names of patients.
    logging.getLogger("streamlit").setLevel(logging.CRITICAL)
    app.run(config=_configuration(service, endpoint))


def _configuration(service: PageService, endpoint: Endpoint) -> Mapping[str, bool | int | str]:
    return {
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "client.toolbarMode": "minimal",
        "logger.hideWelcomeMessage": True,
        "logger.level": "critical",
        "server.address": endpoint.address,
        "server.baseUrlPath": endpoint.base_path,
        "server.disconnectedSessionTTL": FORGET_S,
        "server.fileWatcherType": "none",
        "server.headless": not endpoint.open_browser,
        "server.maxUploadSize": service.maximum_megabytes,
        "server.port": endpoint.port,
        "server.showEmailPrompt": False,
        **{f"theme.{name}": value for name, value in THEME.items()},
    }


def _load_dicom() -> None:
    """Loads the reader of DICOM, if it is installed: the first slice would wait half a second for it."""
    with contextlib.suppress(ImportError):
        importlib.import_module("pydicom.pixels")
