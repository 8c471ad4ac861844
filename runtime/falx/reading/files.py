"""Finds the files that the paths of a command line mean, and what holds slices in them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from falx.errors import ImageForbidden, ImageNotFound, UnreadableImage
from falx.reading.input_file import InputFile
from falx.reading.quiet import quiet_readers
from falx.reading.sniffing import START, VOLUME_SUFFIXES, Kind, kind_of
from falx.reading.source import SUFFIXES
from falx.slices.slice import Part, Unreadable

if TYPE_CHECKING:
    from falx.reading.dicom import DicomImage
    from falx.reading.stack import Stack
    from falx.reading.volume import Volume

INDEX: Final = "DICOMDIR"
"""The table of contents of a DICOM medium. In a folder it is passed over: the folder has the images."""

MODEL: Final = ".tflite"
LONGEST_SUFFIX: Final = 6
"""A longer one, with its dot, is part of a name, but for the suffix of a model."""

CONVERT: Final = "save it as NIfTI (.nii.gz), for example with 3D Slicer, ITK-SNAP or SimpleITK"
"""The way to convert MetaImage, which Falx does not read."""


def expand(
    paths: Iterable[str | InputFile], *, volume: int = 1, passed_over: Counter[str] | None = None
) -> Iterator[str | InputFile | Part]:
    """Returns the slices that paths mean, in order, for `Classifier.predict_many`; see `opened`.

    A file of one slice is its path, one of several a part for each; what cannot be read is one part, which
    raises the error when it is read.
    """
    for found in opened(paths, volume=volume, passed_over=passed_over):
        # Of a DICOM image of one frame, the tags need not be kept.
        alone = not isinstance(found, InputFile) and found.frames == 1
        file = getattr(found, "file", None) if alone else found
        if isinstance(file, InputFile):
            yield file.path if file.on_disk and file.path is not None else file
        elif not isinstance(found, InputFile):
            yield from (Part(found, number) for number in range(1, found.frames + 1))


def opened(
    paths: Iterable[str | InputFile], *, volume: int = 1, passed_over: Counter[str] | None = None
) -> Iterator[DicomImage | Volume | Stack | Unreadable | InputFile]:
    """Returns what the files hold that paths mean, in order; a path given twice is answered twice.

    A file is itself, whatever its name. A zip archive is the files in it, and a DICOMDIR the files that it
    lists. A folder is its images and those in folders within it, in the order of their names: every file
    with a suffix of `falx.reading.source.SUFFIXES` or of a volume, and every file that starts as one of those
    formats does, however it is named. Links to folders are not followed. Other files and hidden ones are
    counted in `passed_over`, by kind: `.txt`, `DICOMDIR`, `hidden`, `without suffix`.

    No slice is read yet. What cannot be read is in its place: a file, or a folder that holds no image.
    """
    others: Counter[str] = Counter() if passed_over is None else passed_over
    for path in paths:
        if isinstance(path, InputFile):
            yield from _contents(path, volume, others)
        elif not Path(path).is_dir():
            file = InputFile.at(path)
            header = Path(path).with_suffix(".hdr")
            if path.lower().endswith(".img") and header.is_file():
                # The voxels of a NIfTI pair.
                file = replace(file, opener=InputFile.at(header).opener)
            yield from _contents(file, volume, others)
        else:
            found = False
            for item in _folder(path, others):
                found = True
                yield item if isinstance(item, Unreadable) else _opened(*item, volume)
            if not found:
                error = ImageNotFound(f"{path}: no image in this folder or below")
                yield Unreadable(path, path, error)


def _contents(
    file: InputFile, volume: int, passed_over: Counter[str]
) -> Iterator[DicomImage | Volume | Stack | Unreadable | InputFile]:
    """Returns what a file is, or what the files are that an archive or a DICOMDIR stands for."""
    kind = kind_of(file.start(START))
    try:
        listed = _listed(file, kind)
        if listed is None:
            yield _opened(file, kind, volume)
            return
        found = False
        for member in listed:
            if isinstance(member, Unreadable):
                found = True
                yield member
                continue
            kind = kind_of(member.start(START))
            if is_image(member.name, kind):
                found = True
                yield _opened(member, kind, volume)
            else:
                passed_over[kind_by_name(member.name)] += 1
        if not found:
            raise ImageNotFound(f"{file.name}: no image in this archive")
    except UnreadableImage as error:
        yield Unreadable(file.name, file.path, error)


def _listed(file: InputFile, kind: Kind) -> Iterator[InputFile | Unreadable] | None:
    """Returns the files that a file stands for; None where it is an image by itself."""
    if kind is Kind.ZIP:
        from falx.reading.zip_archive import members

        return members(file)
    return _indexed(file) if kind is Kind.DICOM and _is_index(file.name) else None


def _indexed(file: InputFile) -> Iterator[InputFile | Unreadable]:
    """Returns the images that a DICOMDIR lists, in its order, as files beside it or in folders below."""
    # Here, and below: most who classify have neither media nor archives, nor DICOM, nor volumes.
    from falx.reading import tags
    from falx.reading.dicom import open_file

    path = file.path
    if path is None or not file.on_disk:
        raise UnreadableImage(
            f"{file.name}: expected images, got the list of them; give the folder that it lies in"
        )
    with quiet_readers():
        records = tags.directory(open_file(file).dataset)
    if not records:
        raise UnreadableImage(f"{path}: expected a list of images, got none; give the folder instead")
    folder = Path(path).parent
    for record in records:
        parts = [part for part in record if part]
        image = str(folder.joinpath(*parts))
        if not parts or any(part in (".", "..") or set(part) & set("/\\:") for part in parts):
            error = UnreadableImage(f"{path}: lists a file outside of its folder, which was not read")
            yield Unreadable(path, path, error)
        elif not Path(image).is_file():
            yield Unreadable(image, image, ImageNotFound(f"{image}: no such file, though {path} lists it"))
        else:
            yield InputFile.at(image)


def _opened(file: InputFile, kind: Kind, volume: int) -> DicomImage | Volume | Stack | Unreadable | InputFile:
    try:
        if kind is Kind.DICOM:
            from falx.reading.dicom import open_file

            return open_file(file)
        if kind.is_volume or (kind is not Kind.PICTURE and file.name.lower().endswith(VOLUME_SUFFIXES)):
            from falx.reading.volume import open_volume

            return open_volume(file, volume)
        if kind is Kind.TIFF:
            from falx.reading.stack import open_stack

            return open_stack(file) or file
    except UnreadableImage as error:
        return Unreadable(file.name, file.path, error)
    if kind is Kind.METAIMAGE:
        expected = "expected an image, DICOM, or a NIfTI, MGH or NRRD volume"
        found = UnreadableImage(f"{file.name}: {expected}, got {kind.value}; {CONVERT}")
        return Unreadable(file.name, file.path, found)
    return file


def _folder(path: str, passed_over: Counter[str]) -> Iterator[tuple[InputFile, Kind] | Unreadable]:
    """Returns the images of a folder and of those within it, each with what it is."""
    denied: list[OSError] = []
    for folder, names, files in os.walk(path, onerror=denied.append):
        yield from _denied(denied)
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                file = InputFile.at(os.path.join(folder, name))  # noqa: PTH118 - keeps the path as it was given
                kind = kind_of(file.start(START))
                if is_image(name, kind):
                    yield file, kind
                    continue
            passed_over[kind_by_name(name)] += 1
    yield from _denied(denied)


def _denied(errors: list[OSError]) -> Iterator[Unreadable]:
    while errors:
        error = errors.pop(0)
        forbidden = ImageForbidden(f"{error.filename}: the folder cannot be read: {error.strerror}")
        yield Unreadable(error.filename, error.filename, forbidden)


def kind_by_name(name: str) -> str:
    """Returns what a file is called that is passed over; never its name, which may be the patient's."""
    name = name.rpartition("/")[2]
    if name.startswith("."):
        return "hidden"
    if name.upper() == INDEX:
        return INDEX
    suffix = Path(name).suffix.lower()
    known = suffix == MODEL or (1 < len(suffix) <= LONGEST_SUFFIX and suffix[1:].isalnum())
    return suffix if known else "without suffix"


def _is_index(name: str) -> bool:
    return Path(name).name.upper() == INDEX


def is_image(name: str, kind: Kind) -> bool:
    """Returns whether a file is taken for an image, by its name or by what it starts like."""
    return not _is_index(name) and (kind.is_read or name.lower().endswith((*SUFFIXES, *VOLUME_SUFFIXES)))
