"""`falx serve` answers over HTTP until it is stopped."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Final

from falx.command.options import OK, add_address, add_model, load, whole_number
from falx.errors import FalxError

SHORTEST_TOKEN: Final = 16
"""Characters of a token: fewer are guessed."""


class TokenError(FalxError, ValueError):
    """The file of a token cannot be read, or does not hold a token."""


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `falx serve`."""
    from falx.serve.bounds import Bounds

    add_model(parser)
    add_address(parser, 8080)
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with the token that requests must bear (Authorization: Bearer)",
    )
    parser.add_argument(
        "--processes",
        type=whole_number,
        default=1,
        metavar="N",
        help="processes, each with the model (default 1)",
    )
    for field in dataclasses.fields(Bounds):
        parser.add_argument(
            f"--max-{field.name}",
            type=whole_number,
            default=field.default,
            metavar="N",
            help=f"the most {field.metadata['help']} (default {field.default})",
        )


def serve(options: argparse.Namespace) -> int:
    """Serves until the process is told to stop."""
    from falx.address import LOOPBACK
    from falx.serve.bounds import Bounds
    from falx.serve.server import Setup, start

    token = None if options.token_file is None else _token(Path(options.token_file))
    if options.address not in LOOPBACK and token is None:
        sys.stderr.write(
            f"falx: warning: listening at {options.address} without --token-file: everybody who "
            "reaches it is answered\n"
        )
    # Here, so that a model that cannot be used is said once, and not by each process.
    load(options)
    told = {name: getattr(options, name) for name in ("address", "port", "processes")}
    told |= {name: getattr(options, name) for name in ("model", "engine", "threads")}
    bounds = {field.name: getattr(options, f"max_{field.name}") for field in dataclasses.fields(Bounds)}
    start(Setup(**told, token=token, bounds=Bounds(**bounds)))
    return OK


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise TokenError(f"{path}: cannot read the token: {why}") from error
    if len(token) < SHORTEST_TOKEN or any(c.isspace() for c in token):
        raise TokenError(f"{path}: expected one word of at least {SHORTEST_TOKEN} characters, as a token")
    return token
