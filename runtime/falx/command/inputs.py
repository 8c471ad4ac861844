"""The inputs that the paths of a command line stand for, and what is said of them besides their answers."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from falx.command.options import whole_number
from falx.errors import UnreadableImage
from falx.words import MEBIBYTE, plain

if TYPE_CHECKING:
    from falx.reading.input_file import InputFile

WINDOWS: Final = os.name == "nt"

STANDARD_INPUT: Final = "-"


def add_volume(parser: argparse.ArgumentParser) -> None:
    """Adds the option that chooses a volume of a file of several."""
    parser.add_argument(
        "--volume",
        type=whole_number,
        default=1,
        metavar="N",
        help="take this volume of a file that holds several, such as points in time (default 1)",
    )


def given(paths: Iterable[str]) -> list[str | InputFile]:
    """Returns the inputs that the paths of a command line name.

    `-` is standard input. On Windows, where the shell leaves patterns alone, `*.png` is every file that it
    matches, in the order of their names.
    """
    found: list[str | InputFile] = []
    for path in paths:
        if path == STANDARD_INPUT:
            found.append(_standard_input())
        elif WINDOWS and not Path(path).exists():
            # Here: only who gives patterns needs it.
            import glob

            # One that matches nothing stays, so that the error names it.
            found += sorted(glob.glob(path)) or [path]  # noqa: PTH207 - keeps the path as it was given
        else:
            found.append(path)
    return found


def _standard_input() -> InputFile:
    from falx.reading.input_file import MOST_BYTES, InputFile

    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UnreadableImage(f"standard input: too large to be a study: over {MOST_BYTES // MEBIBYTE} MiB")
    return InputFile.of("standard input", data, STANDARD_INPUT)


def warn_of(items: Iterable[object], passed_over: Counter[str]) -> None:
    """Says on standard error what was passed over in folders, and what is known of volumes."""
    from falx.slices.slice import Part

    if passed_over:
        kinds = ", ".join(f"{count} {plain(kind)}" for kind, count in passed_over.most_common())
        sys.stderr.write(f"falx: passed over in folders: {kinds}\n")
    holders = dict.fromkeys(item.holder for item in items if isinstance(item, Part))
    if holders:
        from falx.reading.volume import Volume

        volumes = [one for one in holders if isinstance(one, Volume)]
        sys.stderr.writelines(f"falx: {plain(one.name)}: {note}\n" for one in volumes for note in one.notes)
