"""From the paths on a command line to the files they mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from falx.errors import DicomUnavailable, ImageForbidden, ImageNotFound, UnreadableImage
from falx.prediction import Failure
from falx.reading.sniffing import DICOM_START, is_dicom, is_volume
from falx.reading.source import SUFFIXES
from falx.slices.slice import Part

if TYPE_CHECKING:
    from falx.reading.dicom import Object
    from falx.reading.nifti import Volume

__all__ = ["expand", "files", "holder"]

INDEX: Final = "DICOMDIR"
"""The table of contents of a DICOM medium; no picture."""


def expand(paths: Iterable[str]) -> Iterator[str | Part | Failure]:
    """The slices that paths mean, in order, for `Classifier.predict_many`.

    The files are those of `files`. One with several slices, which a DICOM file of several frames or a NIfTI
    volume is, becomes a `Part` for each.

    Yields:
        The path of a file of one slice, a part, or a failure.
    """
    for item in files(paths):
        yield from [item] if isinstance(item, Failure) else _slices(item)


def _slices(path: str) -> Iterator[str | Part | Failure]:
    try:
        found = holder(path)
        count = 1 if found is None else found.frames
    except DicomUnavailable:
        # Said where the file is read.
        yield path
    except UnreadableImage as error:
        yield Failure(path, error)
    else:
        if found is None or (count == 1 and not is_volume(path)):
            yield path
        else:
            yield from (Part(found, number) for number in range(1, count + 1))


def holder(path: str) -> Object | Volume | None:
    """The tags of a DICOM file, or a volume; None for other files, and for what is not there.

    Raises:
        UnreadableImage: it is damaged, or what reads it is not installed.
    """
    if is_volume(path):
        # Here, and below: most who classify have neither volumes nor DICOM.
        from falx.reading.nifti import open_volume

        return open_volume(path)
    try:
        # Who opens a pipe waits for a writer.
        if not Path(path).is_file():
            return None
        with Path(path).open("rb") as stream:
            start = stream.read(DICOM_START)
    # ValueError: a path with a null byte. Whoever reads the file says what is wrong.
    except (OSError, ValueError):
        return None
    if not is_dicom(start):
        return None
    from falx.reading.dicom import open_file

    return open_file(path, path, path)


def files(paths: Iterable[str]) -> Iterator[str | Failure]:
    """The files that paths mean, in order; a path given twice is answered twice.

    A file is itself, whatever its name. A folder is its images, folders within it too, in the order of
    their names: every file with a suffix of `falx.reading.source.SUFFIXES` or of NIfTI, and every DICOM file
    however it is named, but for a DICOMDIR. Other files and hidden ones are passed over, and links to
    folders are not followed.

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
    if path.suffix.lower() in SUFFIXES or is_volume(path):
        return True
    if path.name.upper() == INDEX:
        return False
    try:
        # Who opens a pipe waits for a writer.
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return is_dicom(stream.read(DICOM_START))
    # What cannot be opened and is not named like an image is not taken for one.
    except OSError:
        return False
