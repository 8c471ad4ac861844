"""The checks that reject pictures which are not usable MRI slices of a head.

Plain checks of the pixels come before the model, which would answer for anything: to a classifier of
four labels a photograph of a cat has one of them. A picture that passes them may still look like nothing
that the model learned from. A model that has learned to tell says so itself, and is asked last. The tags of
a DICOM object are asked before all (`falx.reading.tags`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from falx.slices.bit_exact import means_of_eight, median, nearest, percentile
from falx.slices.limits import Limits
from falx.slices.preprocessing import resized
from falx.slices.reasons import Reason, reason_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from falx.slices.slice import Slice

FAMILIARITY_AGAINST_TAGS: Final = 0.98
"""The familiarity a model must give a picture whose tags name another part of the body: they are often
wrong, but the picture must then look like a head. No slice of every second of the validation
split of falx-2 (391) has less than 0.97."""

GRID: Final = 64
"""The longer side of the coarse grid, in cells: there the shape of a head remains, its noise does not."""

LEAST_CELLS: Final = 4
"""The least cells of each side of that grid: a thin strip has corners, margins and neighbours too."""

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

EXACT_FACTORS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""The numbers of pixels that Pillow's `reduce` averages to the same grey level as its resize with a box does,
and faster: both are exact there. For other numbers `reduce` rounds a few sums otherwise."""


def check(image: Slice, limits: Limits) -> Reason | None:
    """Returns the first reason in its pixels to reject a picture; None where it may be a slice of a head."""
    pixels = image.pixels
    height, width = pixels.shape
    if min(height, width) < limits.minimum_side:
        found = f"It has {width} x {height} pixels, {limits.minimum_side:g} a side are needed."
        return reason_of("too_small", found)
    contrast = int(pixels.max()) - int(pixels.min())
    if contrast < limits.minimum_contrast:
        return reason_of("blank", f"It spans {contrast} of 255 grey levels.")
    if image.colour > limits.maximum_colour:
        return reason_of("not_grey", f"Its mean saturation is {image.colour:.2f}.")
    found = _no_head(pixels, limits)
    return reason_of("no_head", found) if found else None


def check_familiarity(
    familiarity: float | None, limits: Limits, *, no_brain: float | None = None
) -> Reason | None:
    """Returns the model's own reason to reject a picture; None where the model has none.

    It knows the probabilities, 0..1, that the picture is a slice of a brain, and a head without brain; None
    where it does not say.
    """
    if familiarity is None or familiarity >= limits.least_familiarity:
        return None
    found = f"Its familiarity is {familiarity:.3f}, {limits.least_familiarity:g} is needed."
    head = no_brain is not None and no_brain > 1 - familiarity - no_brain
    return reason_of("no_brain" if head else "unfamiliar", found)


def check_doubt(doubt: Reason | None, familiarity: float | None) -> Reason | None:
    """Returns the doubt of the tags, where the model is not sure either; one that is silent is sure."""
    sure = familiarity is None or familiarity >= FAMILIARITY_AGAINST_TAGS
    return None if sure else doubt


def _no_head(pixels: npt.NDArray[np.uint8], limits: Limits) -> str:
    """Returns a sentence on what speaks against a head on a dark background; empty where nothing does."""
    cells = _coarse(pixels)
    bright = max(1.0, float(percentile(cells.ravel(), BRIGHT_PERCENTILE)))
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
    """Returns the mean brightness of a slice on the coarse grid, `(h, w)` with the longer side `GRID`."""
    height, width = pixels.shape
    scale = GRID / max(height, width)
    size = (max(LEAST_CELLS, round(width * scale)), max(LEAST_CELLS, round(height * scale)))
    across, down = width / size[0], height / size[1]
    if across == down == 8 and pixels.flags.c_contiguous:
        return means_of_eight(pixels)
    if across in EXACT_FACTORS and down in EXACT_FACTORS:
        return np.asarray(Image.fromarray(pixels).reduce((int(across), 1)).reduce((1, int(down))))
    return resized(pixels, size, Image.Resampling.BOX, (0, 0, width, height))


def _corners(cells: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Returns the brightness of the four corners, darkest first."""
    side = max(2, round(min(cells.shape) * CORNER))
    squares = [cells[:side, :side], cells[:side, -side:], cells[-side:, :side], cells[-side:, -side:]]
    values = np.array(squares).reshape(len(squares), -1)
    return np.sort(percentile(values, CORNER_PERCENTILE))


def _between(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Returns a mask that is true from the first true cell of each row to the last."""
    cells = mask.shape[1]
    first = mask.argmax(axis=1)[:, np.newaxis]
    end = (cells - mask[:, ::-1].argmax(axis=1))[:, np.newaxis]
    columns = np.arange(cells)
    # Where no cell is true, `argmax` answers the first one.
    between: npt.NDArray[np.bool_] = (columns >= first) & (columns < end) & mask.any(axis=1, keepdims=True)
    return between


def _lit(pixels: npt.NDArray[np.uint8], enclosed: npt.NDArray[np.bool_], level: float) -> float:
    """Returns the fraction, 0..1, of the samples in the enclosed cells that is brighter than a level."""
    step = max(1, max(pixels.shape) // SAMPLES)
    lit = pixels[::step, ::step] > int(level)
    inside = nearest(enclosed, lit.shape)
    lit &= inside
    samples = int(np.count_nonzero(inside))
    # On a strip so thin that no sample falls on these cells, nothing speaks against a head.
    return int(np.count_nonzero(lit)) / samples if samples else 1.0


def _detail(cells: npt.NDArray[np.uint8], enclosed: npt.NDArray[np.bool_]) -> float:
    """Returns how much a cell in the head differs from its four neighbours: the median of the Laplacian."""
    levels = cells.astype(np.int16)
    middle = levels[1:-1, 1:-1]
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    return median(np.abs(4 * middle - around)[enclosed[1:-1, 1:-1]])
