"""The packages that read files, without their warnings and their logs.

They warn about damaged EXIF, large images, and values that are not of their type; a caller of Falx gets a
result or an error instead. Warnings and logs of pydicom quote the values of a data set, the patient's name
among them, and must not reach a log of Falx's caller. `warnings.catch_warnings` alone changes and
restores the filters of the whole process, and two threads that overlap would restore each other's; so
the first thread in changes them and the last one out restores them.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from falx.errors import UnreadableImage
from falx.reading.damage import in_words

MODULES: Final = (
    r"(PIL|pydicom|pylibjpeg|openjpeg|jpeg_ls|nibabel|highdicom|pynetdicom"
    r"|falx\.(reading|workstation))\b"
)
"""Modules whose warnings are ignored; a warning about a value of a data set names the module that asked."""

LOGGERS: Final = ("pydicom", "pylibjpeg", "openjpeg", "nibabel", "highdicom", "pynetdicom")
"""The loggers that are silent meanwhile; loggers below them have their level of these."""

SILENT: Final = 51
"""Above `logging.CRITICAL`."""

_lock = threading.Lock()
_inside = 0
_saved: warnings.catch_warnings[None] | None = None
_levels: dict[str, int] = {}


@contextmanager
def quiet_readers() -> Iterator[None]:
    """Ignores what modules that read files warn of and log, in this process, until the last thread leaves."""
    global _inside, _saved
    with _lock:
        if _inside == 0:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("ignore", module=MODULES)
        # Not imported for this: what logs has done so. Each time, for it may have come meanwhile.
        logging: Any = sys.modules.get("logging")
        for name in LOGGERS:
            if logging is not None and name not in _levels:
                _levels[name] = logging.getLogger(name).level
                logging.getLogger(name).setLevel(SILENT)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _saved is not None:
                for name, level in _levels.items():
                    sys.modules["logging"].getLogger(name).setLevel(level)
                _levels.clear()
                _saved.__exit__(None, None, None)
                _saved = None


@contextmanager
def quiet_reading(damage: str) -> Iterator[None]:
    """Keeps the readers quiet, and turns what they raise on a damaged file into an error that begins so."""
    with quiet_readers():
        try:
            yield
        except UnreadableImage:
            raise
        except Exception as error:  # they raise anything
            raise UnreadableImage(f"{damage}: {in_words(error)}") from error
