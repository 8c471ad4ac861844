"""Reads one grey slice from anything that holds a picture.

Each input is read like this, exactly:

- 8-bit grey: unchanged. 1-bit: 0 and 255.
- RGB, palette, CMYK, YCbCr, Lab, HSV: to RGB by Pillow, then ITU-R BT.601 luma,
  `(19595 R + 38470 G + 7471 B + 32768) >> 16`, which leaves grey stored as RGB unchanged.
- With alpha: composited on black first.
- 16-bit and 32-bit grey, float, and arrays of those: linearly, so that the least value becomes 0 and
  the greatest 255, rounded half up; integers in exact integer arithmetic. One value only: black.
- An array with a window: the window's ends become 0 and 255, as DICOM's do (`falx.reading.window`).
- DICOM: modality and VOI transformations, MONOCHROME1 inverted; `falx.reading.dicom` has each step. Volumes:
  `falx.reading.volume`.
- EXIF orientation is applied: the slice is as a viewer shows it.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from falx.errors import UnreadableImage
from falx.reading.damage import no_panics
from falx.reading.input_file import MOST_BYTES, InputFile
from falx.reading.pixels import PixelArray, from_array, from_image
from falx.reading.quiet import quiet_reading
from falx.reading.sniffing import START, Kind, is_dataset, kind_of
from falx.slices.slice import Part, Slice

if TYPE_CHECKING:
    import numpy.typing as npt
    from pydicom.dataset import Dataset

    from falx.reading.dicom import DicomImage

__all__ = ["FORMATS", "SUFFIXES", "Source", "describe", "path_of", "read"]


class Readable(Protocol):
    """An open file, or what reads like one."""

    def read(self, size: int = ..., /) -> bytes:
        """Reads bytes."""


Source: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[np.generic] "
    "| PixelArray | Dataset | Readable | InputFile | Part"
)
"""The types that hold a slice; see `read`."""

FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000")
"""The formats that are read besides DICOM. Not EPS and its kind, for which Pillow starts other programs.
The first five stand first because Pillow knows them without loading all of its plugins."""

DIRECT: Final = {
    b"\xff\xd8\xff": ("PIL.JpegImagePlugin", "jpeg_factory"),
    b"\x89PNG\r\n\x1a\n": ("PIL.PngImagePlugin", "PngImageFile"),
}
"""The readers of files that start like this: `Image.open` would load the readers of five formats first."""

SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp", ".jp2", ".dcm"}
)
"""Ends of names: a file of a folder with such a name is taken for an image whatever it holds. A file that
starts like an image is taken under any name."""


SEVERAL: Final = "give it as a study"
"""The advice for a file of several slices; the command line, Python and the service all call it a study."""


@no_panics
def read(source: Source) -> Slice:
    """Turns an input into one grey slice.

    Args:
        source: A path (what the file holds decides, not its name), the bytes of a file, a file open for
            reading bytes (from where it stands to its end), a PIL image, a pydicom Dataset, a `Part` of a
            file with several slices, an `InputFile`, a `PixelArray`, or an array: `(H, W)`, `(H, W, 1)`,
            `(H, W, 3)` RGB or `(H, W, 4)` RGBA, of bool, integers up to 32 bits, or floats of any range.
            Alpha is in the full range of an integer type, and in 0..1 for floats.

    Raises:
        ImageNotFound: The path does not exist.
        ImageForbidden: The file may not be read.
        DicomUnavailable: The input is DICOM, and pydicom is not installed.
        NotASlice: The input is not a slice of a human head, by its tags or its size in millimetres.
        UnreadableImage: The input is not one picture; the message says what it is.
    """
    if isinstance(source, str | os.PathLike):
        return _read_file(InputFile.at(source))
    if isinstance(source, InputFile):
        return _read_file(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _read_file(InputFile.of(describe(source), bytes(source)))
    if isinstance(source, Image.Image):
        return from_image(source, describe(source))
    if isinstance(source, np.ndarray):
        return from_array(PixelArray(source), describe(source))
    if isinstance(source, PixelArray):
        return from_array(source, describe(source.values))
    if isinstance(source, Part):
        return source.holder.read(source.number)
    if is_dataset(source):
        from falx.reading.dicom import open_dataset

        return _only(open_dataset(source))
    if hasattr(source, "read"):
        return _read_file(InputFile.of(describe(source), _all_of(source)))
    raise UnreadableImage(
        "expected a path, bytes, an open file, a PIL image, a NumPy array or a pydicom Dataset, "
        f"got {type(source).__name__}"
    )


def describe(source: Source) -> str:
    """Returns what messages and results call an input: its path, or what it is."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source) if isinstance(os.fspath(source), str) else os.fsdecode(source)
    if isinstance(source, InputFile):
        return source.name
    if isinstance(source, bytes | bytearray | memoryview):
        return f"{memoryview(source).nbytes} bytes"
    if isinstance(source, Image.Image):
        return f"{source.mode} image of {source.width} x {source.height} pixels"
    if isinstance(source, np.ndarray):
        return f"{source.dtype} array of shape {source.shape}"
    if isinstance(source, PixelArray):
        return describe(source.values)
    if isinstance(source, Part):
        return source.holder.name
    return f"an open file ({type(source).__name__})" if hasattr(source, "read") else type(source).__name__


def path_of(source: Source) -> str | None:
    """Returns the path that results repeat, as it was given; None for what is not of a file."""
    if isinstance(source, Part):
        return source.holder.path
    if isinstance(source, InputFile):
        return source.path
    return describe(source) if isinstance(source, str | os.PathLike) else None


def _all_of(stream: Readable) -> bytes:
    """Reads an open file to its end."""
    name = describe(stream)
    try:
        data = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: it is closed, or holds text in another encoding
        raise UnreadableImage(f"{name}: cannot be read: {error}") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise UnreadableImage(
            f"{name}: expected bytes from it, got {type(data).__name__}; open it in mode 'rb'"
        )
    if len(data) > MOST_BYTES:
        raise UnreadableImage(f"{name}: too large to be a slice: over {MOST_BYTES // 2**20} MiB")
    return bytes(data)


def _read_file(file: InputFile) -> Slice:
    with file.open() as stream:
        start = stream.read(START)
        stream.seek(0)
        if not start:
            raise UnreadableImage(f"{file.name}: expected an image, got an empty file")
        kind = kind_of(start)
        if kind is not Kind.DICOM:
            return _read_picture(stream, start, kind, file)
    # Here: most who classify have no DICOM.
    from falx.reading.dicom import open_file

    return _only(open_file(file))


def _read_picture(stream: BinaryIO, start: bytes, kind: Kind, file: InputFile) -> Slice:
    name = file.name
    if kind.is_volume or kind is Kind.ZIP:
        raise UnreadableImage(f"{name}: expected one slice, got {kind.value}; {SEVERAL}")
    with quiet_reading(f"{name}: the image is damaged"):
        try:
            image = _open(stream, start)
        except Image.DecompressionBombError as error:
            raise UnreadableImage(
                f"{name}: too large to be a slice, so it was not decoded: {error}"
            ) from error
        except UnidentifiedImageError as error:
            if kind in (Kind.PICTURE, Kind.TIFF):
                message = f"{name}: the image is damaged: its header cannot be read"
                raise UnreadableImage(message) from error
            raise UnreadableImage(
                f"{name}: expected {', '.join(FORMATS)} or DICOM, got {kind.value}"
            ) from error
        with image:
            return from_image(image, name, file.most_pixels)


def _open(stream: BinaryIO, start: bytes) -> Image.Image:
    reader = next((reader for mark, reader in DIRECT.items() if start.startswith(mark)), None)
    if reader is not None:
        module, name = reader
        try:
            image: Image.Image = getattr(importlib.import_module(module), name)(stream)
        except Exception:  # noqa: BLE001 - what is wrong with it, `Image.open` says below
            stream.seek(0)
        else:
            return image
    return Image.open(stream, formats=FORMATS)


def _only(found: DicomImage) -> Slice:
    if found.frames > 1:
        raise UnreadableImage(f"{found.name}: expected one slice, got {found.frames} frames; {SEVERAL}")
    return found.read()
