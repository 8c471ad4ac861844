"""From arrays and PIL images to one grey slice; `falx.reading.source` says what becomes of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from falx.errors import UnreadableImage
from falx.reading.quiet import quiet_readers
from falx.slices.slice import Slice

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["DERIVED", "MAXIMUM_PIXELS", "from_array", "from_image"]

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


def from_image(image: Image.Image, name: str) -> Slice:
    """Turns a PIL image into one grey slice, upright by its EXIF orientation.

    Args:
        image: of any mode.
        name: what messages call it.

    Raises:
        UnreadableImage: it is too large, has several frames, is damaged, or was made by Falx.
    """
    _check_size(image.size, name)
    if image.info.get("Software") == DERIVED:
        raise UnreadableImage(
            f"{name}: expected a slice, got a heatmap or a sheet that Falx made of slices; give those"
        )
    with quiet_readers():
        try:
            _check_frames(image, name)
            image.load()
            return _grey(_upright(image), name)
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


def _grey(image: Image.Image, name: str) -> Slice:
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


def from_array(array: npt.NDArray[Any], name: str) -> Slice:
    """Turns an array into one grey slice; the slice does not share its memory.

    Args:
        array: `(H, W)`, `(H, W, 1)`, `(H, W, 3)` RGB or `(H, W, 4)` RGBA; see `falx.reading.source.read`.
        name: what messages call it.

    Raises:
        UnreadableImage: its shape, type or values are not those of a picture.
    """
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
