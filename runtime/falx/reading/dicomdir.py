"""DICOMDIR: the table of contents of a DICOM medium (PS3.3, annex F), given by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from falx.errors import ImageNotFound, UnreadableImage
from falx.reading import tags
from falx.reading.dicom import open_file
from falx.reading.input_file import InputFile
from falx.reading.quiet import quiet_readers
from falx.slices.slice import Unreadable


def listed(file: InputFile) -> Iterator[InputFile | Unreadable]:
    """Returns the images that a DICOMDIR lists, in its order, as files beside it or in folders below."""
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
