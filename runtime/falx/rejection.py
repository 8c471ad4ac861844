"""Pictures that are no usable MRI slice of a head.

Plain checks of the pixels come before the model, which would answer for anything: to a classifier of
four labels a photograph of a cat has one of them. What passes them may still look like nothing that the
model learned from; a model that has learned to tell says so itself, and is asked last. The tags of a DICOM
object are asked before all (`falx.tags`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from falx.limits import Limits
from falx.preprocessing import resized

if TYPE_CHECKING:
    import numpy.typing as npt

    from falx.slices import Slice

__all__ = ["REASONS", "TAG_REASONS", "Reason", "check", "check_doubt", "check_familiarity", "tag_reason"]

REASONS: Final = {
    "too_small": "The picture has too few pixels to show a slice.",
    "blank": "The picture is of one brightness, or nearly.",
    "not_grey": "The picture has colours; an MRI slice is grey.",
    "no_head": "The picture does not show a head on a dark background.",
    "unfamiliar": "The picture does not look like the brain MRI slices that the model learned from.",
}
"""Why a picture is rejected: every code, with its sentence, in the order of the checks."""

TAG_REASONS: Final = {
    "not_mr": "The DICOM object is no MR image.",
    "localizer": "The DICOM image is a localizer, not a slice of a series.",
    "projection": "The DICOM image is a projection or a screen, not a slice.",
    "annotated": "The DICOM image has text burned in, which may name the patient.",
    "other_body_part": "The DICOM image is of another part of the body.",
}
"""Why a DICOM object is rejected by its tags: every code, with its sentence."""

FAMILIARITY_AGAINST_TAGS: Final = 0.98
"""The familiarity a model must give a picture whose tags name another part of the body: they are often
wrong, but the picture must then look like a head. Of every second slice of the validation split of Falx-2
(391) none has less than 0.97."""

GRID: Final = 64
"""The longer side of the coarse grid, in cells: there the shape of a head remains, its noise does not."""

LEAST_CELLS: Final = 4
"""Cells of each side of that grid, at the least: a thin strip has corners, margins and neighbours too."""

FOREGROUND: Final = 0.15
LIT: Final = 0.10
"""A cell, or a pixel, is bright above this fraction of the slice's bright parts."""

BRIGHT_PERCENTILE: Final = 99
"""The brightness of the bright parts, as a percentile of the grid: a hot pixel does not move it."""

CORNER: Final = 0.125
CORNER_PERCENTILE: Final = 20
"""Corners are squares of this fraction of the shorter side, as bright as this percentile of their cells:
a white frame or a letter in a corner does not brighten it."""

MARGIN: Final = 2
"""Cells at the edges where nothing counts as head: frames and captions stand there."""

SAMPLES: Final = 192
"""About how many rows and columns of the slice's own pixels are looked at."""

ONES: Final = np.uint64(0x0001000100010001)

EXACT_FACTORS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""So many pixels in a row, or column, Pillow's `reduce` averages to the same grey level as its resize with a
box does, and faster: both are exact there. For other numbers `reduce` rounds a few sums otherwise."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a picture is rejected.

    Attributes:
        code: a key of `REASONS` or `TAG_REASONS`.
        message: its sentence, with what was found.
    """

    code: str
    message: str


def check(image: Slice, limits: Limits) -> Reason | None:
    """The first reason in its pixels to reject a picture; None where it may be a slice of a head."""
    pixels = image.pixels
    height, width = pixels.shape
    if min(height, width) < limits.minimum_side:
        found = f"It has {width} x {height} pixels, {limits.minimum_side:g} a side are needed."
        return _reason("too_small", found)
    contrast = int(pixels.max()) - int(pixels.min())
    if contrast < limits.minimum_contrast:
        return _reason("blank", f"It spans {contrast} of 255 grey levels.")
    if image.colour > limits.maximum_colour:
        return _reason("not_grey", f"Its mean saturation is {image.colour:.2f}.")
    found = _no_head(pixels, limits)
    return _reason("no_head", found) if found else None


def check_familiarity(familiarity: float | None, limits: Limits) -> Reason | None:
    """The model's own reason to reject a picture; None where it has none.

    Args:
        familiarity: the probability, 0..1, that the picture is a slice of a brain; None where the model
            does not say.
        limits: of the card.
    """
    if familiarity is None or familiarity >= limits.least_familiarity:
        return None
    found = f"Its familiarity is {familiarity:.3f}, {limits.least_familiarity:g} is needed."
    return _reason("unfamiliar", found)


def check_doubt(doubt: Reason | None, familiarity: float | None) -> Reason | None:
    """What the tags say against a picture, where the model is not sure of it either.

    Args:
        doubt: of the slice.
        familiarity: as for `check_familiarity`; a model that does not say does not doubt.
    """
    sure = familiarity is None or familiarity >= FAMILIARITY_AGAINST_TAGS
    return None if sure else doubt


def tag_reason(code: str, found: str) -> Reason:
    """A reason in the tags of a DICOM object: a key of `TAG_REASONS`, and what was found, a sentence."""
    return Reason(code, f"{TAG_REASONS[code]} {found}")


def _no_head(pixels: npt.NDArray[np.uint8], limits: Limits) -> str:
    """What speaks against a head on a dark background, a sentence; empty where nothing does."""
    cells = _coarse(pixels)
    bright = max(1.0, float(_percentile(cells.ravel(), BRIGHT_PERCENTILE)))
    corners = _corners(cells) / bright
    if corners[1] > limits.maximum_background or corners[2] > limits.maximum_third_corner:
        return "Its corners are bright."
    # Whole levels are above a fraction exactly where they are above its whole part; bytes compare faster.
    foreground = cells > int(FOREGROUND * bright)
    foreground[:MARGIN] = foreground[-MARGIN:] = False
    foreground[:, :MARGIN] = foreground[:, -MARGIN:] = False
    enclosed = _between(foreground) & _between(foreground.T).T
    head = int(np.count_nonzero(enclosed))
    if head / enclosed.size < limits.minimum_head or head == 0:
        return "Nearly all of it is dark."
    if np.count_nonzero(foreground) < limits.minimum_solidity * head:
        return "Its bright parts are scattered."
    if _lit(pixels, enclosed, LIT * bright) < limits.minimum_lit:
        return "It shows lines on black."
    detail = _detail(cells, enclosed) / bright
    if detail < limits.minimum_detail:
        return "It is as smooth as a drawing."
    if detail > limits.maximum_detail:
        return "It is as rough as noise."
    return ""


def _coarse(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A slice as mean brightness on the coarse grid, `(h, w)` with the longer side `GRID`."""
    height, width = pixels.shape
    scale = GRID / max(height, width)
    size = (max(LEAST_CELLS, round(width * scale)), max(LEAST_CELLS, round(height * scale)))
    across, down = width / size[0], height / size[1]
    if across == down == 8 and pixels.flags.c_contiguous:
        return _means_of_eight(pixels)
    if across in EXACT_FACTORS and down in EXACT_FACTORS:
        return np.asarray(Image.fromarray(pixels).reduce((int(across), 1)).reduce((1, int(down))))
    return resized(pixels, size, Image.Resampling.BOX, (0, 0, width, height))


def _means_of_eight(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What Pillow's `reduce` by 8 in each direction gives, to the bit, in less than half the time.

    Most slices have 512 pixels a side, eight for each cell.

    Args:
        pixels: `(8 h, 8 w)` uint8, contiguous.

    Returns:
        `(h, w)` uint8.
    """
    pairs = pixels.view(np.uint16)
    sums = pairs >> np.uint16(8)
    sums += pairs & np.uint16(255)
    # Four sums of two in a word: the product adds them up in its highest 16 bits.
    words = sums.view(np.uint64)
    words *= ONES
    words >>= np.uint64(48)
    # Rounded half up after either direction, as Pillow does.
    words += np.uint64(4)
    words >>= np.uint64(3)
    rows = words.astype(np.uint16).reshape(-1, 8, words.shape[1])
    cells = rows.sum(axis=1, dtype=np.uint16)
    means: npt.NDArray[np.uint8] = ((cells + np.uint16(4)) >> np.uint16(3)).astype(np.uint8)
    return means


def _corners(cells: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The brightness of the four corners, darkest first."""
    side = max(2, round(min(cells.shape) * CORNER))
    squares = [
        cells[:side, :side],
        cells[:side, -side:],
        cells[-side:, :side],
        cells[-side:, -side:],
    ]
    values = np.array(squares).reshape(len(squares), -1)
    return np.sort(_percentile(values, CORNER_PERCENTILE))


def _percentile(values: npt.NDArray[np.uint8], percent: float) -> npt.NDArray[np.float64]:
    """`numpy.percentile` along the last axis, to the bit, without what it costs on few numbers.

    Args:
        values: `(..., N)` uint8, at least two.
        percent: from 0, below 100.
    """
    place = (values.shape[-1] - 1) * (percent / 100)
    index = int(place)
    share = place - index
    ranked = np.partition(values, (index, index + 1), axis=-1)
    low, high = np.float64(ranked[..., index]), np.float64(ranked[..., index + 1])
    # Between two values as NumPy interpolates: from the nearer one.
    found: npt.NDArray[np.float64]
    found = low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
    return found


def _between(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """In each row, everything from the first true cell to the last."""
    cells = mask.shape[1]
    first = mask.argmax(axis=1)[:, np.newaxis]
    end = (cells - mask[:, ::-1].argmax(axis=1))[:, np.newaxis]
    columns = np.arange(cells)
    # Where no cell is true, `argmax` answers the first one.
    between: npt.NDArray[np.bool_] = (columns >= first) & (columns < end) & mask.any(axis=1, keepdims=True)
    return between


def _lit(pixels: npt.NDArray[np.uint8], enclosed: npt.NDArray[np.bool_], level: float) -> float:
    """Which fraction, 0..1, of the samples in the enclosed cells is brighter than a level."""
    step = max(1, max(pixels.shape) // SAMPLES)
    lit = pixels[::step, ::step] > int(level)
    inside = _nearest(enclosed, lit.shape)
    lit &= inside
    samples = int(np.count_nonzero(inside))
    # On a strip so thin that no sample falls on these cells, nothing speaks against a head.
    return int(np.count_nonzero(lit)) / samples if samples else 1.0


def _nearest(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """A mask in another size, `shape`: each pixel as the cell that it lies in."""
    (down, rest), (across, left) = divmod(shape[0], mask.shape[0]), divmod(shape[1], mask.shape[1])
    if rest == left == 0:
        # Along the rows first: so the long second copy is of whole rows.
        return mask.repeat(across, axis=1).repeat(down, axis=0)
    cells = Image.fromarray(mask.view(np.uint8))
    return np.asarray(cells.resize((shape[1], shape[0]), Image.Resampling.NEAREST)).view(np.bool_)


def _detail(cells: npt.NDArray[np.uint8], enclosed: npt.NDArray[np.bool_]) -> float:
    """How much a cell within the head differs from its four neighbours: median of the Laplacian."""
    levels = cells.astype(np.int16)
    middle = levels[1:-1, 1:-1]
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    return _median(np.abs(4 * middle - around)[enclosed[1:-1, 1:-1]])


def _median(values: npt.NDArray[np.int16]) -> float:
    """`numpy.median`, without what it costs on few numbers."""
    half = (values.size - 1) // 2
    ranked = np.partition(values, (half, values.size // 2))
    return (int(ranked[half]) + int(ranked[values.size // 2])) / 2


def _reason(code: str, found: str) -> Reason:
    return Reason(code, f"{REASONS[code]} {found}")
