"""From anything that holds a picture to one grey slice.

What becomes of each input, exactly:

- 8-bit grey: unchanged. 1-bit: 0 and 255.
- RGB, palette, CMYK, YCbCr, Lab, HSV: to RGB by Pillow, then ITU-R BT.601 luma,
  `(19595 R + 38470 G + 7471 B + 32768) >> 16`, which leaves grey stored as RGB unchanged.
- With alpha: composited on black first.
- 16-bit and 32-bit grey, float, and arrays of those: linearly, so that the least value becomes 0 and
  the greatest 255, rounded half up; integers in exact integer arithmetic. One value only: black.
- DICOM: modality and VOI transformations, MONOCHROME1 inverted; `falx.reading.dicom` has each step. NIfTI:
  `falx.reading.nifti`.
- EXIF orientation is applied: the slice is as a viewer shows it.
"""

from __future__ import annotations

import importlib
import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from falx.errors import ImageForbidden, ImageNotFound, UnreadableImage
from falx.reading.panics import no_panics
from falx.reading.pixels import from_array, from_image
from falx.reading.quiet import quiet_readers
from falx.reading.sniffing import DICOM_START, is_dataset, is_dicom, is_volume
from falx.slices.slice import Part, Slice

if TYPE_CHECKING:
    from falx.reading.dicom import Object

__all__ = ["FORMATS", "SUFFIXES", "Source", "describe", "read"]

Source: TypeAlias = Any
"""A path, bytes, a PIL image, an array, a pydicom Dataset, or a `falx.slices.slice.Part` of a file of several
slices. (pydicom is optional, so `Any`.)"""

FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000")
"""The formats read besides DICOM. Not EPS and its kind, for which Pillow starts other programs.
The first five stand first because Pillow knows them without loading all of its plugins."""

DIRECT: Final = {
    b"\xff\xd8\xff": ("PIL.JpegImagePlugin", "jpeg_factory"),
    b"\x89PNG\r\n\x1a\n": ("PIL.PngImagePlugin", "PngImageFile"),
}
"""What reads the files that start like this: `Image.open` would load the readers of five formats first."""

SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp", ".jp2", ".dcm"}
)
"""What the files of a folder must end in to be taken for images. A file named alone may end in anything."""


@no_panics
def read(source: Source) -> Slice:
    """Turn an input into one grey slice.

    Args:
        source: a path (what the file holds decides, not how it is named), the bytes of a file, a PIL
            image, a pydicom Dataset, a `Part` of a file with several slices, or an array: `(H, W)`,
            `(H, W, 1)`, `(H, W, 3)` RGB or `(H, W, 4)` RGBA, of bool, integers up to 32 bits, or floats of
            any range. Alpha is in the full range of an integer type, and in 0..1 for floats.

    Raises:
        ImageNotFound: the path does not exist.
        ImageForbidden: the file may not be read.
        DicomUnavailable: it is DICOM, and pydicom is not installed.
        NotASlice: it is DICOM, and by its tags no MR slice of a head.
        UnreadableImage: anything else that is not one picture; the message says what it is.
    """
    if isinstance(source, str | os.PathLike):
        return _read_path(Path(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return _read_stream(io.BytesIO(source), describe(source))
    if isinstance(source, Image.Image):
        return from_image(source, describe(source))
    if isinstance(source, np.ndarray):
        return from_array(source, describe(source))
    if isinstance(source, Part):
        return source.holder.read(source.number)
    if is_dataset(source):
        from falx.reading.dicom import open_dataset

        return _only(open_dataset(source))
    raise UnreadableImage(
        "expected a path, bytes, a PIL image, a NumPy array or a pydicom Dataset, "
        f"got {type(source).__name__}"
    )


def describe(source: Source) -> str:
    """What messages and results call an input: its path, or what it is."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source) if isinstance(os.fspath(source), str) else os.fsdecode(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return f"{len(source)} bytes"
    if isinstance(source, Image.Image):
        return f"{source.mode} image of {source.width} x {source.height} pixels"
    if isinstance(source, np.ndarray):
        return f"{source.dtype} array of shape {source.shape}"
    if isinstance(source, Part):
        return source.holder.name
    return type(source).__name__


def _read_path(path: Path) -> Slice:
    try:
        # Before it is opened: who opens a pipe waits for a writer.
        _check_file(path)
        with path.open("rb") as stream:
            return _read_stream(stream, str(path))
    except UnreadableImage:
        raise
    except FileNotFoundError as error:
        raise ImageNotFound(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UnreadableImage(f"{path}: expected an image file, got a folder") from error
    except PermissionError as error:
        raise ImageForbidden(f"{path}: permission to read it is denied") from error
    # ValueError: a path with a null byte.
    except (OSError, ValueError) as error:
        raise UnreadableImage(f"{path}: cannot be read: {error}") from error


def _check_file(path: Path) -> None:
    if stat.S_IFMT(path.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        raise UnreadableImage(f"{path}: expected an image file, got a pipe or a device")
    if is_volume(path):
        raise UnreadableImage(
            f"{path}: expected one slice, got a NIfTI volume; `falx.reading.files.expand` gives each of its "
            "slices, `Classifier.predict_study` takes all"
        )


def _read_stream(stream: BinaryIO, name: str) -> Slice:
    start = stream.read(DICOM_START)
    stream.seek(0)
    if not start:
        raise UnreadableImage(f"{name}: expected an image, got an empty file")
    if is_dicom(start):
        # Here, and above: most who classify have no DICOM.
        from falx.reading.dicom import open_file

        return _only(open_file(stream, name))
    with quiet_readers():
        try:
            image = _open(stream, start)
        except Image.DecompressionBombError as error:
            raise UnreadableImage(
                f"{name}: too large to be a slice, so it was not decoded: {error}"
            ) from error
        except UnidentifiedImageError as error:
            raise UnreadableImage(
                f"{name}: expected {', '.join(FORMATS)} or DICOM, got {_kind(start)}"
            ) from error
        except Exception as error:  # Pillow's plugins raise anything on damaged headers
            raise UnreadableImage(f"{name}: the image is damaged: {error}") from error
        with image:
            return from_image(image, name)


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


def _only(found: Object) -> Slice:
    if found.frames > 1:
        raise UnreadableImage(
            f"{found.name}: expected one slice, got {found.frames} frames; `falx.reading.files.expand` gives "
            "each of them, `Classifier.predict_study` takes all"
        )
    return found.read()


def _kind(start: bytes) -> str:
    """What the first bytes of a file look like, for a message."""
    known = {
        b"%PDF": "PDF",
        b"PK\x03\x04": "a zip archive",
        b"\x1f\x8b": "a gzip archive",
        b"%!PS": "PostScript",
    }
    for magic, kind in known.items():
        if start.startswith(magic):
            return kind
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return "text"
    return "bytes of another kind"
