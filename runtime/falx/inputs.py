"""From the paths on a command line to the files they mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from falx import dicom
from falx.errors import ImageForbidden, ImageNotFound
from falx.images import SUFFIXES
from falx.prediction import Failure

__all__ = ["expand"]


def expand(paths: Iterable[str]) -> Iterator[str | Failure]:
    """The files that paths mean, in order; a path given twice is answered twice.

    A file is itself, whatever its name. A folder is its images, folders within it too, in the order of
    their names: every file with a suffix of `falx.images.SUFFIXES`, and every DICOM file however it is
    named. Other files and hidden ones are passed over, and links to folders are not followed.

    Yields:
        The path of a file, or a failure: a folder that holds no image or may not be read.
    """
    for path in paths:
        if not Path(path).is_dir():
            yield path
            continue
        found = False
        for item in _folder(path):
            found = True
            yield item
        if not found:
            yield Failure(path, ImageNotFound(f"{path}: no image in this folder or below"))


def _folder(path: str) -> Iterator[str | Failure]:
    denied: list[OSError] = []
    for folder, names, files in os.walk(path, onerror=denied.append):
        yield from _denied(denied)
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            file = os.path.join(folder, name)  # noqa: PTH118 - keeps the path as it was given, "./" too
            if not name.startswith(".") and _is_image(Path(file)):
                yield file
    yield from _denied(denied)


def _denied(errors: list[OSError]) -> Iterator[Failure]:
    while errors:
        error = errors.pop(0)
        yield Failure(
            error.filename, ImageForbidden(f"{error.filename}: the folder cannot be read: {error.strerror}")
        )


def _is_image(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        # Who opens a pipe waits for a writer.
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return dicom.is_file(stream.read(dicom.PREAMBLE))
    # What cannot be opened and is not named like an image is not taken for one.
    except OSError:
        return False
