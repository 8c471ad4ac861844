"""Options of `falx listen`; light, so that help comes at once."""

from __future__ import annotations

import argparse
from typing import Any, Final

__all__ = ["OPTIONS", "SECONDS", "listen_options"]

OPTIONS: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    ("spool", {"metavar": "DIR"}, "folder that keeps what was received and what is to be sent"),
    ("destination", {"metavar": "TITLE@HOST:PORT"}, "where results are sent"),
    (
        "title",
        {"metavar": "TITLE"},
        "AE title of this node (default FALX); associations that call another are refused",
    ),
    (
        "host",
        {"metavar": "ADDRESS"},
        "address to listen at (default 127.0.0.1, this machine alone; 0.0.0.0 is all)",
    ),
    ("port", {"type": int, "metavar": "N"}, "port to listen at (default 11112)"),
    ("allow", {"action": "append", "metavar": "TITLE"}, "AE title that may send; repeatable (default: any)"),
    (
        "quiet",
        {"type": float, "metavar": "SECONDS"},
        "a study is classified when nothing of it came for so long (default 10)",
    ),
    (
        "keep",
        {"type": float, "metavar": "SECONDS"},
        "keep its images so long, in case more of it come (default 3600)",
    ),
    (
        "spool-mb",
        {"type": float, "metavar": "MB"},
        "refuse images when the spool holds so much (default 4096)",
    ),
    ("object-mb", {"type": float, "metavar": "MB"}, "longest image (default 256)"),
    ("associations", {"type": int, "metavar": "N"}, "associations open at a time (default 32)"),
    (
        "idle",
        {"type": float, "metavar": "SECONDS"},
        "end an association that says nothing for so long (default 60)",
    ),
    ("workers", {"type": int, "metavar": "N"}, "slices worked on at a time (default 2)"),
    (
        "longest",
        {"type": float, "metavar": "SECONDS"},
        "longest time the classification of a study may take (default 1800)",
    ),
    ("again", {"action": "store_true"}, "report a study again when all of its images are received again"),
    ("capture", {"action": "store_true"}, "also send pictures of the slices that carry the decision"),
    ("health-port", {"type": int, "metavar": "N"}, "answer http://127.0.0.1:N/healthz (default: no check)"),
    (
        "retry",
        {"type": float, "metavar": "SECONDS"},
        "wait so long after the first failure to send (default 5), twice as long after each",
    ),
    ("retry-most", {"type": float, "metavar": "SECONDS"}, "and at most so long (default 300)"),
    ("tls-certificate", {"metavar": "PEM"}, "accept TLS alone, with this certificate"),
    ("tls-key", {"metavar": "PEM"}, "and its key"),
    ("tls-authority", {"metavar": "PEM"}, "peers must show a certificate that this one signed"),
    ("destination-tls", {"action": "store_true"}, "send results over TLS"),
)
"""Options of `falx listen`: each but those in `SECONDS` is a setting of the same name."""

SECONDS: Final = ("quiet", "keep", "idle", "longest", "retry", "retry_most")
"""Options whose setting has the unit in its name."""


def listen_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `falx listen`."""
    parser.add_argument(
        "--config", metavar="TOML", help="file with these options; the command line comes first"
    )
    for name, options, text in OPTIONS:
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help=text, **options)
    parser.add_argument(
        "--echo", action="store_true", help="only ask the destination whether it answers (C-ECHO)"
    )
