"""Fonts for what a PDF's own letters do not cover: names in other scripts.

A PDF viewer brings the letters of western Europe; all others must be in the file. Falx ships no font, since
those of all scripts are larger than Falx: it takes what the server's system has.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from falx.errors import FalxError

__all__ = ["FOLDERS", "Font", "FontUnavailable", "covering", "is_western"]

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
"""Where Linux, macOS and Windows keep fonts."""

SUFFIXES: Final = (".ttf", ".otf", ".ttc")

FIRST: Final = ("dejavusans.", "notosans-regular", "arialuni", "arial.")
"""Fonts that cover much are looked into first, by the beginning of their file's name."""


class FontUnavailable(FalxError, LookupError):  # noqa: N818 - the name says what is wrong
    """A PDF needs a letter that no font of this machine has."""


@dataclass(frozen=True, slots=True)
class Font:
    """A font file.

    Attributes:
        path: of the file.
        number: of the font in a collection; 0 in other files.
    """

    path: Path
    number: int


def is_western(text: str) -> bool:
    """Whether a PDF viewer's own letters cover a text (Windows-1252; ISO 32000-1, annex D)."""
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def covering(text: str, folders: tuple[str, ...] = FOLDERS) -> list[Font]:
    """Fonts that have, together, every letter of a text: those that have most of it first.

    Raises:
        FontUnavailable: no font of these folders has one of the letters.
    """
    wanted = {ord(letter) for letter in text if not letter.isspace()}
    found: list[Font] = []
    for font in _installed(folders):
        has = wanted & _letters(font)
        if has:
            found.append(font)
            wanted -= has
        if not wanted:
            return found
    letters = "".join(chr(code) for code in sorted(wanted))
    raise FontUnavailable(
        f"no font of this server has {letters!r}: install one, such as Noto, or save the page instead and "
        "print that"
    )


@functools.cache
def _installed(folders: tuple[str, ...]) -> tuple[Font, ...]:
    return tuple(_fonts(folders))


def _fonts(folders: tuple[str, ...]) -> Iterator[Font]:
    paths = [
        Path(folder) / name
        for start in folders
        for folder, _, names in os.walk(Path(start).expanduser())
        for name in names
        if name.lower().endswith(SUFFIXES)
    ]
    for path in sorted(paths, key=_rank):
        yield Font(path, 0)


def _rank(path: Path) -> tuple[int, int, str]:
    name = path.name.lower()
    first = next((i for i, start in enumerate(FIRST) if name.startswith(start)), len(FIRST))
    plain = 0 if "regular" in name or "-" not in name else 1
    return first, plain, name


@functools.lru_cache(maxsize=256)
def _letters(font: Font) -> frozenset[int]:
    """The code points that a font has; none where it cannot be read."""
    from fontTools.ttLib import TTFont

    try:
        with TTFont(font.path, fontNumber=font.number, lazy=True) as opened:
            return frozenset(opened.getBestCmap() or ())
    except Exception:  # noqa: BLE001 - fontTools raises anything on damaged fonts
        return frozenset()
