"""A file that is to be read: one on a disk, one in an archive, or bytes that a caller has."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final

from falx.errors import ImageForbidden, ImageNotFound, UnreadableImage
from falx.reading.pixels import MAXIMUM_PIXELS

MOST_BYTES: Final = 2**30
"""The bytes of the largest file that is read, unpacked: four times the finest heads of 7 tesla scanners in 16
bits. While a volume is read, it takes twice as much memory at most."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that is to be read: its name for messages, and the path that results repeat, if it has one.

    It lies there where it is `on_disk`. The file, or each in an archive, may be unpacked to `most_bytes`; a
    picture that claims more than `most_pixels` is not decoded.
    """

    name: str
    path: str | None
    opener: Callable[[], BinaryIO]
    on_disk: bool = False
    most_bytes: int = MOST_BYTES
    most_pixels: int = MAXIMUM_PIXELS

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> InputFile:
        """Returns the file at a path, which need not exist yet."""
        given = os.fsdecode(path)
        return cls(given, given, partial(_open, given), on_disk=True)

    @classmethod
    def of(cls, name: str, data: bytes, path: str | None = None) -> InputFile:
        """Returns a file of these bytes; results repeat the path."""
        return cls(name, path, partial(io.BytesIO, data))

    def open(self) -> BinaryIO:
        """Opens the file; the caller closes it. Raises UnreadableImage, or a subclass that says why."""
        try:
            return self.opener()
        except UnreadableImage:
            raise
        except FileNotFoundError as error:
            raise ImageNotFound(f"{self.name}: no such file") from error
        except PermissionError as error:
            raise ImageForbidden(f"{self.name}: permission to read it is denied") from error
        # ValueError: a path with a null byte.
        except (OSError, ValueError) as error:
            raise UnreadableImage(f"{self.name}: cannot be read: {error}") from error

    def start(self, size: int) -> bytes:
        """Returns the first bytes of the file, at most so many; none where the file cannot be read."""
        try:
            with self.open() as stream:
                return stream.read(size)
        except (OSError, UnreadableImage):
            return b""


def _open(path: str) -> BinaryIO:
    # Looked at before it is opened: opening a pipe waits for a writer.
    kind = stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - a third of the time of Path's
    if kind == stat.S_IFDIR:
        raise UnreadableImage(f"{path}: expected an image file, got a folder")
    if kind != stat.S_IFREG:
        raise UnreadableImage(f"{path}: expected an image file, got a pipe or a device")
    return open(path, "rb")  # noqa: PTH123 - as above; the caller closes it
