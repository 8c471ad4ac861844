"""Tables, colour and progress on a terminal."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Final, TextIO

from falx.words import counted, plain

FALLBACK_WIDTH: Final = 100
"""Columns where the output is not a terminal."""

MINIMUM_NOTE: Final = 24
"""Columns the last, wrapped column of a table has at least, however narrow the terminal."""

CODES: Final = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


def width(fallback: int = FALLBACK_WIDTH) -> int:
    """Returns the columns of the terminal, or the fallback where the output is none.

    As `shutil.get_terminal_size` finds them; that brings three decompressors.
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
    """Tells whether to colour: on a terminal, and where NO_COLOR is not set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def colour(text: str, name: str, stream: TextIO) -> str:
    """Returns a text in a colour of `CODES`, where the stream shows colours."""
    return f"\x1b[{CODES[name]}m{text}\x1b[0m" if name and use_colour(stream) else text


def paragraph(text: str, indent: str = "") -> str:
    """Wraps a text to the terminal; the lines behind the first begin with the indent."""
    return "\n".join(textwrap.wrap(text, width(), subsequent_indent=indent))


def wrapped(text: str) -> str:
    """Returns a message as lines that fit the terminal, whole words, so that a path can be copied."""
    if not sys.stderr.isatty():
        return f"{text}\n"
    return "\n".join(textwrap.wrap(text, width(), break_long_words=False, break_on_hyphens=False)) + "\n"


def say(text: str = "") -> None:
    """Prints a line, or several, to standard output."""
    sys.stdout.write(text + "\n")


def pairs(rows: Mapping[str, str]) -> str:
    """Returns names and their texts in two columns, the second one wrapped."""
    size = min(max(map(len, rows)), width() // 2)
    lines: list[str] = []
    for name, text in rows.items():
        wrapped = textwrap.wrap(plain(text), max(MINIMUM_NOTE, width() - size - 2)) or [""]
        lines += [f"{key.ljust(size)}  {part}" for key, part in zip_longest([name], wrapped, fillvalue="")]
    return "\n".join(lines)


class Table:
    """Rows that are printed as they come, each on one line that is not wider than the terminal.

    All columns but the last have a width; a longer text keeps its end, which tells files apart.
    """

    def __init__(self, widths: Sequence[int], stream: TextIO) -> None:
        self._widths = widths
        self._stream = stream

    def row(self, cells: Sequence[str], colour_name: str = "", coloured: int = 1) -> bool:
        """Prints a row, one of its cells (all, where that is 0) in a colour; True where the last is whole."""
        cells = [plain(cell) for cell in cells]
        fixed = [
            cell.ljust(size) if len(cell) <= size else "…" + cell[len(cell) - size + 1 :]
            for cell, size in zip(cells, self._widths, strict=False)
        ]
        left = max(1, width() - sum(self._widths) - 2 * len(self._widths))
        last = cells[-1] if len(cells[-1]) <= left else cells[-1][: left - 1] + "…"
        if coloured:
            fixed[coloured] = colour(fixed[coloured], colour_name, self._stream)
        line = "  ".join([*fixed, last]).rstrip()
        self._stream.write((line if coloured else colour(line, colour_name, self._stream)) + "\n")
        self._stream.flush()
        return last == cells[-1]


class Progress:
    """A bar on standard error while work is long; nothing where that is not a terminal."""

    INTERVAL_S: Final = 0.1
    SHORT: Final = 10
    """Fewer items than this need no bar."""

    def __init__(self, total: int | None = None) -> None:
        self._total = total
        self._shown = 0.0
        self._stream = sys.stderr if sys.stderr.isatty() else None

    def update(self, done: int, total: int | None = None) -> None:
        """Shows how many items are done, of how many as far as that is known; at most ten times a second."""
        now = time.monotonic()
        total = self._total if total is None else total
        if self._stream is None or now - self._shown < self.INTERVAL_S:
            return
        if total is not None and total < self.SHORT:
            return
        self._shown = now
        filled = 30 * done // total if total else 0
        bar = f"[{'#' * filled}{'.' * (30 - filled)}] {done} of {total}" if total else counted(done, "file")
        self._stream.write(f"\r{bar}")
        self._stream.flush()

    def clear(self) -> None:
        """Takes the bar away, so that a row can stand in its line."""
        if self._stream is not None and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = 0.0
