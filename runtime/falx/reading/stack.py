"""Stacks: TIFF files of several pages, each a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from falx.errors import UnreadableImage
from falx.reading.pixels import from_image
from falx.reading.quiet import quiet_readers, quiet_reading
from falx.reading.volume import Volume
from falx.slices.slice import Origin, Slice

if TYPE_CHECKING:
    import numpy.typing as npt

    from falx.reading.input_file import InputFile

MOST_PAGES: Final = 4096
"""A file with more pages is not read: finding a page takes the longer, the further back it is."""


class Stack:
    """A TIFF file of several pages of 8 bits, each read as a picture of its own."""

    def __init__(self, file: InputFile, frames: int) -> None:
        self.name = file.name
        self.path = file.path
        self.frames = frames
        self._file = file

    def origin(self, number: int) -> Origin:
        """Returns where the page of this number, from 1, stands."""
        return Origin(format="tiff", frame=number)

    def read(self, number: int) -> Slice:
        """Reads the page of this number, from 1."""
        with (
            quiet_reading(f"{self.name}: the image is damaged"),
            self._file.open() as stream,
            Image.open(stream, formats=("TIFF",)) as image,
        ):
            image.seek(number - 1)
            page = from_image(image.copy(), self.name, self._file.most_pixels)
        return Slice(page.pixels, page.colour, self.origin(number))


def open_stack(file: InputFile) -> Stack | Volume | None:
    """Opens a TIFF file of several pages; of more than 8 bits as a volume, for one black and white of all.

    Returns None for a file of one page, and for one that cannot be read: who reads it as a picture says why.
    """
    with quiet_readers(), file.open() as stream:
        try:
            with Image.open(stream, formats=("TIFF",)) as image:
                count = getattr(image, "n_frames", 1)
                width, height = image.size
                deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
                if count < 2 or width * height > file.most_pixels:
                    return None
                if count <= MOST_PAGES and deep:
                    return _deep(image, file)
        except UnreadableImage:
            raise
        except Exception:  # noqa: BLE001 - Pillow's plugins raise anything on damaged headers
            return None
    if count > MOST_PAGES:
        raise UnreadableImage(f"{file.name}: too many pages: {count}; at most {MOST_PAGES} are read")
    return Stack(file, count)


def _deep(image: Image.Image, file: InputFile) -> Volume:
    pages: list[npt.NDArray[np.generic]] = []
    size = image.size
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        pages.append(np.asarray(image))
        if image.size != size or len(pages) * pages[0].nbytes > file.most_bytes:
            most = file.most_bytes // 2**20
            raise UnreadableImage(f"{file.name}: expected pages of one size, at most {most} MiB in all")
    return Volume.of_pages(np.stack(pages), file)
