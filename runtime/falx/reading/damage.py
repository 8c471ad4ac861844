"""The errors of readers on damaged files: panics that pass by `except Exception`, and words for errors."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from falx.errors import UnreadableImage

OTHERWISE: Final = "what it holds contradicts itself"

P = ParamSpec("P")
T = TypeVar("T")


def no_panics(function: Callable[P, T]) -> Callable[P, T]:
    """Makes a function raise UnreadableImage where a decoder panics.

    PyO3 raises a panic as `pyo3_runtime.PanicException`, which is not an Exception, so that it ends the whole
    program; pylibjpeg-rle panics on damaged DICOM. https://pyo3.rs/main/doc/pyo3/panic/struct.PanicException
    """

    @wraps(function)
    def guarded(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return function(*arguments, **options)
        except BaseException as error:
            if type(error).__module__ != "pyo3_runtime":
                raise
            raise UnreadableImage(f"the image is damaged, its decoder gave up: {error}") from error

    return guarded


def in_words(error: Exception) -> str:
    """Returns what a reader's error says of a file, without the name or the text of the error.

    Texts of errors are left out: they speak of the reader's code, and some quote the file, such as the name
    of a patient.
    """
    if isinstance(error, MemoryError):
        return "it does not fit into the memory of this machine"
    if isinstance(error, EOFError | struct.error | IndexError):
        return "it ends too early"
    # gzip.BadGzipFile is an OSError without a number; gzip is not imported for it.
    if isinstance(error, zlib.error) or type(error).__name__ == "BadGzipFile":
        return "its compressed data is damaged"
    if isinstance(error, OSError):
        broken = "broken" in str(error) or "decoder" in str(error)
        return error.strerror or (OTHERWISE if broken else "it ends too early")
    return OTHERWISE
