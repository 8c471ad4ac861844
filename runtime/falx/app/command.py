"""The command `falx app`."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from falx.classifier import Classifier

ADDRESS: Final = "127.0.0.1"
PORT: Final = 8501
LIMITS: Final = {
    # More than a series of a head has; a 3-D one has up to about 250.
    "files": (300, "files that a visitor has on the page at a time"),
    "slices": (300, "slices in these files; a volume or a zip archive holds many"),
    "megabytes": (
        200,
        "the size of all files, in MiB, and of each volume or archived file, unpacked",
    ),
    # A slice of 4096 × 4096 pixels of 16 bits is 32 MiB in memory.
    "megapixels": (16, "the pixels of one picture, in 1024 × 1024"),
}
"""The limits on what a visitor gives: the default of each, and its help."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Gives a parser the options of the page, besides those of the model and of thresholds."""
    about = f"the address to listen at (default {ADDRESS}: reached from this machine only)"
    parser.add_argument("--address", default=ADDRESS, help=about)
    parser.add_argument("--port", type=_port, default=PORT, help=f"the port to listen at (default {PORT})")
    about = "the path under which a proxy serves the page, such as /falx"
    parser.add_argument("--base-path", type=_path, default="", metavar="PATH", help=about)
    parser.add_argument("--no-browser", action="store_true", help="do not open the page in the browser")
    for name, (default, what) in LIMITS.items():
        about = f"{what} (default {default})"
        parser.add_argument(f"--max-{name}", type=_number, default=default, metavar="N", help=about)


def run(options: argparse.Namespace, classifier: Classifier) -> None:
    """Serves the page until the process is stopped.

    Args:
        options: Those of `add_options`, and `threshold`: labels with thresholds in place of the card's.
        classifier: Answers for all visitors.

    Raises:
        AppUnavailable: The packages of `falx[app]` are not installed.
        AddressUnavailable: The address or the port cannot be used.
    """
    from falx.address import LOOPBACK
    from falx.app import streamlit_server
    from falx.app.page_service import Service

    if options.address not in LOOPBACK:
        sys.stderr.write(
            f"falx: warning: listening at {options.address}: the page asks nobody who they are, so let "
            "only a proxy reach it that does\n"
        )
    service = Service(
        classifier=classifier,
        thresholds=replace(classifier.card.thresholds, **dict(options.threshold)),
        maximum_files=options.max_files,
        maximum_slices=options.max_slices,
        maximum_megabytes=options.max_megabytes,
        maximum_pixels=options.max_megapixels * 1024 * 1024,
    )
    endpoint = streamlit_server.Endpoint(
        address=options.address,
        port=options.port,
        base_path=options.base_path,
        open_browser=not options.no_browser and sys.stdout.isatty(),
    )
    streamlit_server.start(service, endpoint)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port, 1 to 65535, got {text!r}")
    return int(text)


def _path(text: str) -> str:
    path = text.strip("/")
    if path and not re.fullmatch(r"[\w.~-]+(/[\w.~-]+)*", path, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected a path such as /falx, got {text!r}")
    return path


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)
