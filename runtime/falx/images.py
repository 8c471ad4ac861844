"""From anything that holds a picture to one grey slice.

What becomes of each input, exactly:

- 8-bit grey: unchanged. 1-bit: 0 and 255.
- RGB, palette, CMYK, YCbCr, Lab, HSV: to RGB by Pillow, then ITU-R BT.601 luma,
  `(19595 R + 38470 G + 7471 B + 32768) >> 16`, which leaves grey stored as RGB unchanged.
- With alpha: composited on black first.
- 16-bit and 32-bit grey, float, and arrays of those: linearly, so that the least value becomes 0 and
  the greatest 255, rounded half up; integers in exact integer arithmetic. One value only: black.
- DICOM: modality and VOI transformations, MONOCHROME1 inverted; `falx.dicom` has each step. NIfTI:
  `falx.volume`.
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

from falx._panics import no_panics
from falx._quiet import quiet_readers
from falx.errors import ImageForbidden, ImageNotFound, UnreadableImage
from falx.kinds import DICOM_START, is_dataset, is_dicom, is_volume
from falx.slices import Part, Slice

if TYPE_CHECKING:
    import numpy.typing as npt

    from falx.dicom import Object

__all__ = ["DERIVED", "FORMATS", "MAXIMUM_PIXELS", "SUFFIXES", "Slice", "Source", "describe", "read"]

Source: TypeAlias = Any
"""A path, bytes, a PIL image, an array, a pydicom Dataset, or a `falx.slices.Part` of a file of several
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

MAXIMUM_PIXELS: Final = 4096 * 4096
"""16 times the largest matrix of a scanner. A file that claims more is not decoded; what is decoded keeps to
500 MB, in colour and in floats too."""

COLOUR_SAMPLES: Final = 128
"""Colour is judged on a grid of about this many rows and columns: enough, and a sixteenth of the time."""

MULTIPLE_PICTURES_ALLOWED: Final = "MPO"
"""A JPEG of a phone, which holds a second picture of the same view."""

DERIVED: Final = "Falx, made of a slice"
"""What heatmaps and sheets say in the PNG keyword `Software`: found in a folder of slices, they are none."""

ORIENTATION_TAG: Final = 0x0112
TRANSPOSITIONS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How each EXIF orientation is undone (EXIF 2.32, table 4, tag 0x0112)."""


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
        return _convert(source, describe(source))
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Part):
        return source.holder.read(source.number)
    if is_dataset(source):
        from falx.dicom import open_dataset

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
            f"{path}: expected one slice, got a NIfTI volume; `falx.inputs.expand` gives each of its "
            "slices, `Classifier.predict_study` takes all"
        )


def _read_stream(stream: BinaryIO, name: str) -> Slice:
    start = stream.read(DICOM_START)
    stream.seek(0)
    if not start:
        raise UnreadableImage(f"{name}: expected an image, got an empty file")
    if is_dicom(start):
        # Here, and above: most who classify have no DICOM.
        from falx.dicom import open_file

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
            return _convert(image, name)


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
            f"{found.name}: expected one slice, got {found.frames} frames; `falx.inputs.expand` gives "
            "each of them, `Classifier.predict_study` takes all"
        )
    return found.read()


def _convert(image: Image.Image, name: str) -> Slice:
    _check_size(image.size, name)
    if image.info.get("Software") == DERIVED:
        raise UnreadableImage(
            f"{name}: expected a slice, got a heatmap or a sheet that Falx made of slices; give those"
        )
    with quiet_readers():
        try:
            _check_frames(image, name)
            image.load()
            return _from_image(_upright(image), name)
        except UnreadableImage:
            raise
        except Exception as error:  # Pillow's decoders raise anything on damaged data
            raise UnreadableImage(f"{name}: the image is damaged or cut short: {error}") from error


def _check_frames(image: Image.Image, name: str) -> None:
    if image.format == MULTIPLE_PICTURES_ALLOWED or not getattr(image, "is_animated", False):
        return
    # Not counted: to count a hundred thousand frames takes Pillow seconds.
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return
    raise UnreadableImage(
        f"{name}: expected one image, got several frames; save the slice to classify as a file of its own"
    )


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF does not make the picture unreadable
        return image
    transposition = TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def _from_image(image: Image.Image, name: str) -> Slice:
    if image.mode == "L" and "transparency" not in image.info:
        return Slice(np.asarray(image))
    if image.mode == "1":
        return Slice(np.asarray(image.convert("L")))
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Slice(_scaled(np.asarray(image), name))
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
        del rgba
    # In one name, and copied only where need be: each copy of a large slice is 64 MB.
    image = image if image.mode == "RGB" else image.convert("RGB")
    return Slice(np.asarray(image.convert("L")), _colour(np.asarray(image)))


def _from_array(array: npt.NDArray[Any]) -> Slice:
    name = describe(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise UnreadableImage(f"{name}: expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    _check_size((array.shape[1], array.shape[0]), name)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.ndim == 2:
        # A copy: the slice outlives whatever the caller does with the array.
        return Slice(array.copy() if array.dtype == np.uint8 else _scaled(array, name))
    colours = array[:, :, :3]
    rgb = colours if array.dtype == np.uint8 else _scaled(colours, name)
    if array.shape[2] == 4:
        rgb = np.floor(rgb * _alpha(array[:, :, 3:], name) + 0.5).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return Slice(np.asarray(image.convert("L")), _colour(rgb))


def _alpha(alpha: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    """Opacity in 0..1 of an array's fourth channel."""
    opacity = np.asarray(alpha, np.float64)
    if alpha.dtype.kind in "ui":
        opacity /= np.iinfo(alpha.dtype).max
    if not (opacity.min() >= 0 and opacity.max() <= 1):  # NaN too
        raise UnreadableImage(
            f"{name}: expected alpha in the full range of an integer type or in 0..1, "
            f"got {alpha.min()}..{alpha.max()}"
        )
    return opacity


def _scaled(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    """Grey values of any range, stretched to 0..255."""
    if values.dtype.kind in "ui" and values.dtype.itemsize <= 4:
        return _scaled_integers(values)
    if values.dtype.kind != "f" or values.dtype.itemsize > 8:
        raise UnreadableImage(
            f"{name}: expected bool, integers up to 32 bits or floats up to 64, got {values.dtype}"
        )
    finite = np.isfinite(values)
    if not finite.all():
        raise UnreadableImage(
            f"{name}: {np.count_nonzero(~finite)} values are NaN or infinite; replace them, "
            "for example with numpy.nan_to_num"
        )
    # One array of doubles, and everything in its place: a large slice takes eight bytes a pixel, not forty.
    numbers = values.astype(np.float64)
    # Into -1..1 first: the range of doubles from both ends of the scale would overflow. By a power of two,
    # which is exact; NumPy 1 overflows where numbers below 2e-308 are divided by their own size.
    largest = max(-numbers.min(), numbers.max())
    np.ldexp(numbers, -np.frexp(largest)[1], out=numbers)
    low, high = numbers.min(), numbers.max()
    if high == low:
        return np.zeros(values.shape, np.uint8)
    numbers -= low
    numbers /= high - low
    numbers *= 255
    numbers += 0.5
    scaled: npt.NDArray[np.uint8] = np.floor(numbers, out=numbers).astype(np.uint8)
    return scaled


def _scaled_integers(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    low, high = int(values.min()), int(values.max())
    if high == low:
        return np.zeros(values.shape, np.uint8)
    # int64 first: 510 times the range would overflow in the array's own type.
    scaled: npt.NDArray[np.int64] = ((values.astype(np.int64) - low) * 510 + (high - low)) // (
        2 * (high - low)
    )
    return scaled.astype(np.uint8)


def _colour(rgb: npt.NDArray[np.uint8]) -> float:
    """Mean distance between the strongest and the weakest channel, 0..1, of `(H, W, 3)` uint8."""
    step = max(1, min(rgb.shape[:2]) // COLOUR_SAMPLES)
    samples = rgb[::step, ::step]
    return float(np.mean(samples.max(axis=2) - samples.min(axis=2))) / 255


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise UnreadableImage(f"{name}: expected at least one pixel, got {width} x {height}")
    if width * height > MAXIMUM_PIXELS:
        raise UnreadableImage(
            f"{name}: too large to be a slice, so it was not decoded: {width} x {height} pixels, "
            f"at most {MAXIMUM_PIXELS} are read"
        )


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
