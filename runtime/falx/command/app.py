"""`falx app` serves the page until it is stopped."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Final

from falx.command.options import OK, add_address, add_model, add_threshold, load, thresholds, whole_number

LIMITS: Final = {
    # More than a series of a head has; a 3-D one has up to about 250.
    "files": (300, "files that a visitor has on the page at a time"),
    "slices": (300, "slices in these files; a volume or a zip archive holds many"),
    "megabytes": (200, "the size of all files, in MiB, and of each volume or archived file, unpacked"),
    # A slice of 4096 × 4096 pixels of 16 bits is 32 MiB in memory.
    "megapixels": (16, "the pixels of one picture, in 1024 × 1024"),
}
"""The limits on what a visitor gives: the default of each, and its help."""


def add_app(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `falx app`."""
    add_model(parser)
    add_threshold(parser, "instead of the card's")
    add_address(parser, 8501)
    about = "the path under which a proxy serves the page, such as /falx"
    parser.add_argument("--base-path", type=_path, default="", metavar="PATH", help=about)
    parser.add_argument("--no-browser", action="store_true", help="do not open the page in the browser")
    for name, (default, what) in LIMITS.items():
        about = f"{what} (default {default})"
        parser.add_argument(f"--max-{name}", type=whole_number, default=default, metavar="N", help=about)


def app(options: argparse.Namespace) -> int:
    """Serves the page until the process is stopped."""
    from falx.address import LOOPBACK
    from falx.app import streamlit_server
    from falx.app.page_service import PageService

    classifier = load(options)
    if options.address not in LOOPBACK:
        sys.stderr.write(
            f"falx: warning: listening at {options.address}: the page asks nobody who they are, so let "
            "only a proxy reach it that does\n"
        )
    service = PageService(
        classifier=classifier,
        thresholds=thresholds(options, classifier),
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
    return OK


def _path(text: str) -> str:
    path = text.strip("/")
    if path and not re.fullmatch(r"[\w.~-]+(/[\w.~-]+)*", path, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected a path such as /falx, got {text!r}")
    return path
