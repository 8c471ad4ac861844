"""Decoders written in Rust, whose panics pass by `except Exception`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from falx.errors import UnreadableImage

__all__ = ["no_panics"]

P = ParamSpec("P")
T = TypeVar("T")


def no_panics(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function raise UnreadableImage where a decoder panics.

    PyO3 raises a panic as `pyo3_runtime.PanicException`, which is no Exception, so that it ends the whole
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
