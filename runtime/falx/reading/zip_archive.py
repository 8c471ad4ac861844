"""Zip archives of slices or of DICOM: their members, read without being unpacked to a disk."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO, Final

from falx.errors import UnreadableImage
from falx.reading.damage import in_words
from falx.reading.input_file import InputFile
from falx.slices.slice import Unreadable

MOST_MEMBERS: Final = 20_000
"""Members of an archive; a larger one is not read."""

IN_ALL: Final = 8
"""All members may be unpacked to this many times what one of them may, as the archive claims them."""

DEEPEST: Final = 32
"""Folders in a member's name."""

ENCRYPTED: Final = 1
"""The bit of a member's flags that says so (APPNOTE 6.3.10, 4.4.4)."""


def members(file: InputFile) -> Iterator[InputFile | Unreadable]:
    """Returns the files in a zip archive, in the order of their names; hidden ones are left out.

    Nothing is written to a disk, so no name can lead out of a folder. A member's path is that of the archive,
    a slash, and the name in the archive.
    """
    try:
        # A file on a disk belongs to the archive, which closes it when the last member is forgotten.
        archive = zipfile.ZipFile(file.path if file.path and file.on_disk else file.open())
    except UnreadableImage:
        raise
    except Exception as error:  # noqa: BLE001 - zipfile raises anything on damaged archives
        raise UnreadableImage(f"{file.name}: the zip archive is damaged: {_why(error)}") from None
    found = [info for info in archive.infolist() if not info.is_dir()]
    size = sum(info.file_size for info in found)
    most = IN_ALL * file.most_bytes
    if len(found) > MOST_MEMBERS or size > most:
        raise UnreadableImage(
            f"{file.name}: too large to be a study: {len(found)} files of {size / 2**20:.0f} MiB; at most "
            f"{MOST_MEMBERS} of {most // 2**20} MiB are read; unpack it, and give the folder"
        )
    for info in sorted(found, key=lambda info: info.filename):
        parts = PurePosixPath(info.filename).parts
        if any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts):
            continue
        name = f"{file.name}/{info.filename}"
        path = None if file.path is None else f"{file.path}/{info.filename}"
        if ".." in parts or info.filename.startswith("/") or len(parts) > DEEPEST:
            yield Unreadable(
                name, path, UnreadableImage(f"{name}: not read, because its name leads elsewhere")
            )
        elif info.flag_bits & ENCRYPTED:
            yield Unreadable(name, path, UnreadableImage(f"{name}: is encrypted; unpack the archive"))
        else:
            opener = partial(_open, archive, info, name, file.most_bytes)
            yield replace(file, name=name, path=path, opener=opener, on_disk=False)


def _open(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, most_bytes: int) -> BinaryIO:
    try:
        with archive.open(info) as stream:
            # What an archive claims of a size need not be true.
            data = stream.read(most_bytes + 1)
    except Exception as error:  # noqa: BLE001 - zipfile raises anything on damaged archives
        raise UnreadableImage(f"{name}: the zip archive is damaged: {_why(error)}") from None
    if len(data) > most_bytes:
        raise UnreadableImage(f"{name}: too large to be a slice: over {most_bytes // 2**20} MiB unpacked")
    return io.BytesIO(data)


def _why(error: Exception) -> str:
    if isinstance(error, NotImplementedError):
        return "it is compressed in a way that Python does not unpack"
    return "its contents do not agree with its checksums" if "CRC" in str(error) else in_words(error)
