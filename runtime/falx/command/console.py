"""What the command line shows to people: tables, colour, progress."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Final, TextIO

from falx.words import plain

__all__ = ["Progress", "Table", "colour", "pairs", "paragraph", "say", "use_colour", "width"]

FALLBACK_WIDTH: Final = 100
"""Columns where the output is no terminal."""

MINIMUM_NOTE: Final = 24
"""Columns the last, wrapped column of a table has at least, however narrow the terminal."""

CODES: Final = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


def width(fallback: int = FALLBACK_WIDTH) -> int:
    """Columns of the terminal, as `shutil.get_terminal_size` finds them; that brings three decompressors.

    Args:
        fallback: what it is taken for where the output is no terminal.
    """
    told = os.environ.get("COLUMNS", "")
    columns = int(told) if told.isdecimal() else 0
    if columns < 1:
        try:
            columns = os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else 0
        # ValueError: it is closed.
        except (OSError, ValueError):
            columns = 0
    return columns or fallback


def use_colour(stream: TextIO) -> bool:
    """Whether to colour: only on a terminal, and not where NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def colour(text: str, name: str, stream: TextIO) -> str:
    """Text in a colour of `CODES`, where the stream shows colours."""
    return f"\x1b[{CODES[name]}m{text}\x1b[0m" if name and use_colour(stream) else text


def paragraph(text: str) -> str:
    """Text wrapped to the terminal."""
    return "\n".join(textwrap.wrap(text, width()))


def say(text: str = "") -> None:
    """Print a line, or several, to standard output."""
    sys.stdout.write(text + "\n")


def pairs(rows: Mapping[str, str]) -> str:
    """Names and their texts in two columns, the second one wrapped."""
    size = min(max(map(len, rows)), width() // 2)
    lines: list[str] = []
    for name, text in rows.items():
        wrapped = textwrap.wrap(plain(text), max(MINIMUM_NOTE, width() - size - 2)) or [""]
        lines += [f"{key.ljust(size)}  {part}" for key, part in zip_longest([name], wrapped, fillvalue="")]
    return "\n".join(lines)


class Table:
    """Rows that are printed as they come: columns of a fixed width, the last one wrapped."""

    def __init__(self, headings: Sequence[str], widths: Sequence[int], stream: TextIO) -> None:
        """Print the headings.

        Args:
            headings: of all columns.
            widths: of all columns but the last; a longer text keeps its end, which tells files apart.
            stream: to print to.
        """
        self._widths = widths
        self._stream = stream
        self.row(headings, "bold", 0)

    def row(self, cells: Sequence[str], colour_name: str = "", coloured: int = 1) -> None:
        """Print a row, one of its cells (or, where that is 0, all of them) in a colour."""
        cells = [plain(cell) for cell in cells]
        fixed = [_fit(cell, size) for cell, size in zip(cells, self._widths, strict=False)]
        indent = sum(self._widths) + 2 * len(self._widths)
        lines = textwrap.wrap(cells[-1], max(MINIMUM_NOTE, width() - indent)) or [""]
        if coloured:
            fixed[coloured] = colour(fixed[coloured], colour_name, self._stream)
        first = "  ".join([*fixed, lines[0]]).rstrip()
        self._stream.write((first if coloured else colour(first, colour_name, self._stream)) + "\n")
        self._stream.writelines(" " * indent + line + "\n" for line in lines[1:])
        self._stream.flush()


class Progress:
    """A bar on standard error while work is long; nothing where that is no terminal."""

    INTERVAL_S: Final = 0.1
    SHORT: Final = 10
    """Fewer items than this need no bar."""

    def __init__(self, total: int) -> None:
        """Show nothing yet.

        Args:
            total: how many items there are.
        """
        self._total = total
        self._shown = 0.0
        self._active = sys.stderr.isatty() and total >= self.SHORT

    def update(self, done: int) -> None:
        """Show how many items are done, at most ten times a second."""
        now = time.monotonic()
        if not self._active or now - self._shown < self.INTERVAL_S:
            return
        self._shown = now
        filled = 30 * done // self._total
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done} of {self._total}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the bar away, so that a row can stand in its line."""
        if self._active and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = 0.0


def _fit(text: str, size: int) -> str:
    return text.ljust(size) if len(text) <= size else "…" + text[len(text) - size + 1 :]
