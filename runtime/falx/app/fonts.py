"""Fonts for the names in a PDF whose letters a PDF viewer does not bring.

A PDF viewer brings the letters of western Europe; all others must be in the file. Falx ships no font, since
the fonts of all scripts are larger than Falx: it takes those of the server's system.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Final

from falx.app import texts
from falx.errors import FalxError

FOLDERS: Final = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
    "C:/Windows/Fonts",
)
"""The folders in which Linux, macOS and Windows keep fonts."""

SUFFIXES: Final = (".ttf", ".otf", ".ttc")

FIRST: Final = ("dejavusans.", "notosans-regular", "arialuni", "arial.")
"""Fonts that cover much are looked into first; the beginnings of the names of their files."""


class FontUnavailable(FalxError, LookupError):  # noqa: N818 - the name says what is wrong
    """A PDF needs a letter that no font of this machine has."""


def is_western(text: str) -> bool:
    """Returns whether a PDF viewer's own letters cover a text (Windows-1252; ISO 32000-1, annex D)."""
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def covering(text: str, folders: tuple[str, ...] = FOLDERS) -> list[Path]:
    """Returns font files that have, together, every letter of a text; the first has most of it."""
    found, left = _covered(text, folders)
    if left:
        raise FontUnavailable(texts.NO_FONT.format(letters=numbered(left)))
    return found


def missing(text: str, folders: tuple[str, ...] = FOLDERS) -> str:
    """Returns the letters of a text that no font of these folders has, in the order of their codes."""
    return _covered(text, folders)[1]


def numbered(letters: str) -> str:
    """Returns letters that no font has, each with its number: they may not show."""
    return ", ".join(f"“{letter}” (U+{ord(letter):04X})" for letter in letters)


@functools.lru_cache(maxsize=256)
def _covered(text: str, folders: tuple[str, ...]) -> tuple[list[Path], str]:
    """Returns the fonts for a text, and the letters that none of them has."""
    wanted = {ord(letter) for letter in text if not letter.isspace()}
    found: list[Path] = []
    for path in _installed(folders) if wanted else ():
        has = wanted & _letters(path)
        if has:
            found.append(path)
            wanted -= has
        if not wanted:
            break
    return found, "".join(chr(code) for code in sorted(wanted))


@functools.cache
def _installed(folders: tuple[str, ...]) -> tuple[Path, ...]:
    """Returns the font files of folders, those that cover much first."""
    paths = [
        Path(folder) / name
        for start in folders
        for folder, _, names in os.walk(Path(start).expanduser())
        for name in names
        if name.lower().endswith(SUFFIXES)
    ]
    return tuple(sorted(paths, key=_rank))


def _rank(path: Path) -> tuple[int, int, str]:
    name = path.name.lower()
    first = next((i for i, start in enumerate(FIRST) if name.startswith(start)), len(FIRST))
    plain = 0 if "regular" in name or "-" not in name else 1
    return first, plain, name


@functools.lru_cache(maxsize=256)
def _letters(path: Path) -> frozenset[int]:
    """Returns the code points that a font has; none where it cannot be read."""
    from fontTools.ttLib import TTFont

    try:
        with TTFont(path, fontNumber=0, lazy=True) as opened:
            return frozenset(opened.getBestCmap() or ())
    except Exception:  # noqa: BLE001 - fontTools raises anything on damaged fonts
        return frozenset()
