"""Limits of an answer that lie in the quality of the picture, though it is a slice of a head.

Falx rejects a picture that is not a usable slice. One that passes may still be so small, so flat or so marked
that its answer is worth less; the page says so. Of 300 slices of the val split that were changed in each way,
the figures below are those whose decision changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from falx.app import texts
from falx.slices.preprocessing import BRIGHT_QUANTILE, DARK_QUANTILE, Frame, find_head

LEAST_SIDE: Final = 128
"""The longer side of the head, in pixels; the model looks at 224. At 128 pixels 10 % change, at 80
pixels 18 %."""

LEAST_CONTRAST: Final = 48
"""Grey levels, 0..255, between the dark and the bright parts of the head. At 48 levels 4 % change, at
32 5 %; below 24 the picture is rejected."""

MOST_MARKS: Final = 40
"""Sharp bright pixels apart from the head; a small letter has about as many. Two lines of letters, which
change 14 %, are found in 291 slices of 300, and 4 unchanged slices have as many."""

GRID: Final = 48
"""Cells of the longer side of the grid on which the head is told from what is apart from it."""

FOREGROUND: Final = 0.15
"""A cell belongs to something where its brightest pixel is above this fraction of the slice's brightest."""

SHARP: Final = 0.5
"""A pixel is sharp where a neighbour is darker by more than this fraction of the slice's brightest."""


@dataclass(frozen=True, slots=True)
class Caution:
    """A limit of the answer: a key of `texts.CAUTIONS`, and its sentence with the measured value."""

    code: str
    message: str


def look(pixels: npt.NDArray[np.uint8]) -> tuple[Caution, ...]:
    """Returns the limits that a slice, `(H, W)` uint8, sets to its answer."""
    head = find_head(pixels)
    side, levels = max(head.width, head.height), contrast(pixels, head)
    found = []
    if side < LEAST_SIDE:
        found.append(_caution("small", side, LEAST_SIDE))
    if levels < LEAST_CONTRAST:
        found.append(_caution("low_contrast", levels, LEAST_CONTRAST))
    if marks(pixels) > MOST_MARKS:
        found.append(_caution("marks"))
    return tuple(found)


def contrast(pixels: npt.NDArray[np.uint8], head: Frame) -> int:
    """Returns the grey levels, 0..255, between the quantiles of the head that preprocessing stretches."""
    content = pixels[head.top : head.top + head.height, head.left : head.left + head.width]
    dark, bright = np.quantile(content, [DARK_QUANTILE, BRIGHT_QUANTILE])
    return round(float(bright - dark))


def marks(pixels: npt.NDArray[np.uint8]) -> int:
    """Returns the number of sharp bright pixels apart from the head: letters, rulers, frames.

    The head is the part of the bright cells of a coarse grid that hangs together around their middle.
    """
    height, width = pixels.shape
    step = max(1, -(-max(height, width) // GRID))
    rows, columns = -(-height // step), -(-width // step)
    padded = np.zeros((rows * step, columns * step), np.uint8)
    padded[:height, :width] = pixels
    brightest = int(pixels.max())
    solid = np.asarray(Image.fromarray(padded).resize((columns, rows), Image.Resampling.BOX))
    head = _grown(solid > FOREGROUND * brightest)
    # The cells around the head hold its blurred edge.
    apart = ~_widened(head).repeat(step, axis=0).repeat(step, axis=1)[:height, :width]
    return int(np.count_nonzero(_sharp(pixels, SHARP * brightest) & apart))


def _sharp(pixels: npt.NDArray[np.uint8], least: float) -> npt.NDArray[np.bool_]:
    values = pixels.astype(np.int16)
    sharp = np.zeros(pixels.shape, np.bool_)
    down, right = np.diff(values, axis=0), np.diff(values, axis=1)
    sharp[1:] |= down > least
    sharp[:-1] |= -down > least
    sharp[:, 1:] |= right > least
    sharp[:, :-1] |= -right > least
    return sharp


def _grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Returns the part of a mask that hangs together around its middle."""
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return mask
    middle = np.argmin((rows - np.median(rows)) ** 2 + (columns - np.median(columns)) ** 2)
    part = np.zeros_like(mask)
    part[rows[middle], columns[middle]] = True
    while True:
        wider = _widened(part) & mask
        if np.array_equal(wider, part):
            return part
        part = wider


def _widened(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Returns a mask grown by the cells next to it, corners too."""
    cells = Image.fromarray(mask.view(np.uint8)).filter(ImageFilter.MaxFilter(3))
    return np.asarray(cells).view(np.bool_)


def _caution(code: str, found: int = 0, wanted: int = 0) -> Caution:
    return Caution(code, texts.CAUTIONS[code].format(found=found, wanted=wanted))
