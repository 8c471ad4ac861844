"""Turns arrays and PIL images into one grey slice; `falx.reading.source` says what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from falx.errors import NotASlice, UnreadableImage
from falx.reading.quiet import quiet_reading
from falx.slices.slice import Slice
from falx.words import DERIVED

if TYPE_CHECKING:
    import numpy.typing as npt

    Values = npt.NDArray[Any]

MAXIMUM_PIXELS: Final = 4096 * 4096
"""16 times the largest matrix of a scanner. A file that claims more is not decoded; what is decoded keeps to
500 MB, in colour and in floats too."""

COLOUR_SAMPLES: Final = 128
"""Colour is judged on a grid of about this many rows and columns: enough, and a sixteenth of the time."""

MULTIPLE_PICTURES_ALLOWED: Final = "MPO"
"""A JPEG of a phone, which holds a second picture of the same view."""

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
"""The operation that undoes each EXIF orientation (EXIF 2.32, table 4, tag 0x0112)."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelArray:
    """An array, with what a caller knows of it.

    Attributes:
        values: The values of the pixels, of a shape and type that `falx.reading.source.read` names.
        window: Centre and width of the values that are shown: those from `centre - width / 2` to
            `centre + width / 2` become black to white (DICOM PS3.3, C.11.2.1.3.2). None shows all values.
        spacing_mm: The distance of the centres of neighbouring rows, and columns; None where it is unknown.
        axis: The axis of the colour channels of an array of three dimensions; None for the last one.

    Raises:
        ValueError: The window shows nothing, the spacing is not two lengths, or there is no such axis.
    """

    values: Values
    window: tuple[float, float] | None = None
    spacing_mm: tuple[float, float] | None = None
    axis: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None and (
            np.shape(self.window) != (2,) or not np.isfinite(self.window).all() or self.window[1] <= 0
        ):
            raise ValueError(f"window must be a centre and a width above 0, got {self.window!r}")
        if self.spacing_mm is not None and (
            np.shape(self.spacing_mm) != (2,) or not all(0 < mm < np.inf for mm in self.spacing_mm)
        ):
            raise ValueError(
                f"spacing must be two lengths in mm, of rows and columns, got {self.spacing_mm!r}"
            )
        if self.axis is not None and not -self.values.ndim <= self.axis < self.values.ndim:
            raise ValueError(f"axis must be one of {self.values.ndim}, got {self.axis!r}")


def from_image(image: Image.Image, name: str, most_pixels: int = MAXIMUM_PIXELS) -> Slice:
    """Turns a PIL image into one grey slice, upright by its EXIF orientation."""
    _check_size(image.size, name, most_pixels)
    if image.info.get("Software") == DERIVED:
        raise UnreadableImage(
            f"{name}: expected a slice, got a heatmap or a sheet that Falx made of slices; give the slices"
        )
    with quiet_reading(f"{name}: the image is damaged or cut short"):
        _check_frames(image, name)
        image.load()
        return _grey(_upright(image), name)


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


def from_array(pixels: PixelArray, name: str) -> Slice:
    """Turns an array into one grey slice, which does not share its memory."""
    array = pixels.values
    if array.ndim == 3 and pixels.axis is not None:
        array = np.moveaxis(array, pixels.axis, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise UnreadableImage(
            f"{name}: expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); name another axis of the colours "
            "with axis=, and give a volume to predict_study"
        )
    found = _of_values(array, name) if pixels.window is None else _windowed(array, pixels.window, name)
    return found if pixels.spacing_mm is None else _measured(found, pixels.spacing_mm, name)


def _windowed(array: Values, window: tuple[float, float], name: str) -> Slice:
    """Returns the slice that a window shows of grey values."""
    from falx.reading.window import Window

    if array.ndim != 2 or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise UnreadableImage(f"{name}: expected grey integers or floats up to 64 bits, for a window")
    _check_size((array.shape[1], array.shape[0]), name)
    found = Window.of(*window, "LINEAR_EXACT")
    assert found is not None  # noqa: S101 - our own invariant: PixelArray refuses such a window
    _check_finite(array, name)
    return Slice(np.floor(255 * found.apply(array.astype(np.float64)) + 0.5).astype(np.uint8))


def _measured(found: Slice, spacing_mm: tuple[float, float], name: str) -> Slice:
    """Returns a slice with square pixels, if it is large enough for a human head."""
    from falx.reading.tags import small_field
    from falx.reading.window import squared

    height, width = found.pixels.shape
    reason = small_field(height * spacing_mm[0], width * spacing_mm[1])
    if reason is not None:
        raise NotASlice(f"{name}: {reason.message}", reason)
    return Slice(squared(found.pixels, *spacing_mm), found.colour)


def _of_values(array: Values, name: str) -> Slice:
    """Returns the slice of all values, from the least to the greatest."""
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


def _alpha(alpha: Values, name: str) -> npt.NDArray[np.float64]:
    """Returns the opacity in 0..1 of an array's fourth channel."""
    opacity = np.asarray(alpha, np.float64)
    if alpha.dtype.kind in "ui":
        opacity /= np.iinfo(alpha.dtype).max
    if not (opacity.min() >= 0 and opacity.max() <= 1):  # NaN too
        raise UnreadableImage(
            f"{name}: expected alpha in the full range of an integer type or in 0..1, "
            f"got {alpha.min()}..{alpha.max()}"
        )
    return opacity


def _scaled(values: Values, name: str) -> npt.NDArray[np.uint8]:
    """Returns grey values of any range, stretched to 0..255."""
    if values.dtype.kind in "ui" and values.dtype.itemsize <= 4:
        return _scaled_integers(values)
    if values.dtype.kind != "f" or values.dtype.itemsize > 8:
        raise UnreadableImage(
            f"{name}: expected bool, integers up to 32 bits or floats up to 64, got {values.dtype}"
        )
    _check_finite(values, name)
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


def _check_finite(values: Values, name: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        raise UnreadableImage(
            f"{name}: {np.count_nonzero(~finite)} values are NaN or infinite; replace them, "
            "for example with numpy.nan_to_num"
        )


def _scaled_integers(values: Values) -> npt.NDArray[np.uint8]:
    low, high = int(values.min()), int(values.max())
    if high == low:
        return np.zeros(values.shape, np.uint8)
    # int64 first: 510 times the range would overflow in the array's own type.
    scaled: npt.NDArray[np.int64] = ((values.astype(np.int64) - low) * 510 + (high - low)) // (
        2 * (high - low)
    )
    return scaled.astype(np.uint8)


def _colour(rgb: npt.NDArray[np.uint8]) -> float:
    """Returns the mean distance between the strongest and the weakest channel, 0..1, of `(H, W, 3)` uint8."""
    step = max(1, min(rgb.shape[:2]) // COLOUR_SAMPLES)
    samples = rgb[::step, ::step]
    return float(np.mean(samples.max(axis=2) - samples.min(axis=2))) / 255


def _check_size(size: tuple[int, int], name: str, most_pixels: int = MAXIMUM_PIXELS) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise UnreadableImage(f"{name}: expected at least one pixel, got {width} x {height}")
    if width * height > most_pixels:
        raise UnreadableImage(
            f"{name}: too large to be a slice, so it was not decoded: {width} x {height} pixels, "
            f"at most {most_pixels} are read"
        )
