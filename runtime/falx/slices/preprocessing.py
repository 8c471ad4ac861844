"""Turns a slice into the tensor: the one preprocessing, used by training and by every engine.

Collections of MRI slices differ in field of view, padding and brightness, and a classifier
happily learns those instead of tumours. Preprocessing takes these away: the head
fills the frame, and its brightness fills the range.

Every step is made of operations that a computation graph has too (comparisons, sums, an
antialiased resize, a rank), and the head is found by comparing counts with fractions that round
alike in float32 and float64, so that the same crop can be reproduced anywhere.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from falx.slices.bit_exact import column_counts, row_counts

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

NAME: Final = "falx-head-1"
"""Identifies this preprocessing in a card; any change to a pixel of its output changes the name."""

SIZE: Final = 224
"""Height and width of the tensor, in pixels: the input size MobileNetV2 was pre-trained at."""

FOREGROUND_FRACTION: Final = 0.10
"""A pixel belongs to the head when brighter than this fraction of the slice's maximum."""

LINE_FRACTION: Final = 0.04
"""A row or column belongs to the head when at least this fraction of its pixels does."""

MINIMUM_HEAD_FRACTION: Final = 0.25
"""A head narrower than this fraction of the slice's longer side is not believed: nothing is cropped."""

DARK_QUANTILE: Final = 0.01
BRIGHT_QUANTILE: Final = 0.995
"""The brightness range of the head, as quantiles of its pixels, that is stretched to 0..255."""

LEVELS: Final = np.arange(256)


@dataclass(frozen=True, slots=True)
class Frame:
    """The part of a slice that the tensor shows: a rectangle in slice pixels, fitted and centred.

    Attributes:
        left, top: upper left corner of the rectangle, in pixels of the slice.
        width, height: its size, in pixels of the slice.
    """

    left: int
    top: int
    width: int
    height: int

    @property
    def scale(self) -> float:
        """The tensor pixels per slice pixel."""
        return SIZE / max(self.width, self.height)

    @property
    def content(self) -> tuple[int, int, int, int]:
        """The place of the rectangle in the tensor: `(left, top, width, height)` in tensor pixels."""
        width = max(1, round(self.width * self.scale))
        height = max(1, round(self.height * self.scale))
        return (SIZE - width) // 2, (SIZE - height) // 2, width, height


def find_head(pixels: Pixels) -> Frame:
    """Finds the bounding rectangle of the head in a slice, `(H, W)` uint8, 0 black to 255 white.

    It is the whole slice where no dark background surrounds the head.
    """
    height, width = pixels.shape
    # For each of the 256 maxima a graph that computes this in float32 gets the same number.
    foreground = pixels > int(int(pixels.max()) * FOREGROUND_FRACTION)
    rows = np.flatnonzero(row_counts(foreground) >= LINE_FRACTION * width)
    columns = np.flatnonzero(column_counts(foreground) >= LINE_FRACTION * height)
    whole = Frame(0, 0, width, height)
    if rows.size == 0 or columns.size == 0:
        return whole
    head = Frame(
        left=int(columns[0]),
        top=int(rows[0]),
        width=int(columns[-1] - columns[0]) + 1,
        height=int(rows[-1] - rows[0]) + 1,
    )
    if max(head.width, head.height) < MINIMUM_HEAD_FRACTION * max(width, height):
        return whole
    return head


def prepare(pixels: Pixels) -> tuple[Pixels, Frame]:
    """Turns a slice into the tensor that a model sees.

    The head is cut out, resized with antialiasing to fit 224 x 224 with its aspect kept, its
    brightness stretched to the full range, and centred on black.

    Args:
        pixels: `(H, W)` uint8, 0 black to 255 white, any size from 1 x 1.

    Returns:
        The tensor, `(224, 224)` uint8, and the frame that says which part of the slice it shows.
    """
    frame = find_head(pixels)
    left, top, width, height = frame.content
    region = (frame.left, frame.top, frame.left + frame.width, frame.top + frame.height)
    content = resized(pixels, (width, height), Image.Resampling.BILINEAR, region)
    tensor = np.zeros((SIZE, SIZE), np.uint8)
    tensor[top : top + height, left : left + width] = stretch(content)
    return tensor, frame


def resized(
    pixels: Pixels, size: tuple[int, int], resampling: Image.Resampling, region: tuple[int, int, int, int]
) -> Pixels:
    """Resizes a region (left, top, right, bottom) to a size (width, height) by Pillow with antialiasing.

    Along the rows first, then along the columns: Pillow rounds to grey levels after either pass. Up to
    version 12 it always takes them in this order, from 13 on in the one that costs less, which gives other
    pixels; so each is asked for by itself.
    """
    left, top, right, bottom = region
    height = pixels.shape[0]
    # Along the rows only those that the second pass looks at: of the region, and as far outside as the
    # filter reaches, which is one pixel of the result or of the slice, whichever is larger.
    reach = math.ceil(max(1, (bottom - top) / size[1])) + 1
    first, last = max(0, top - reach), min(height, bottom + reach)
    rows = Image.fromarray(pixels[first:last])
    columns = rows.resize((size[0], rows.height), resampling, box=(left, 0, right, rows.height))
    if rows.height < height:
        # At their own place: the second pass, in floats, must have the same region.
        whole = Image.new(columns.mode, (size[0], height))
        whole.paste(columns, (0, first))
        columns = whole
    return np.asarray(columns.resize(size, resampling, box=(0, top, size[0], bottom)))


def stretch(content: Pixels) -> Pixels:
    """Stretches brightness linearly so that its quantiles land on 0 and 255, if there is more than one."""
    ranks = list(accumulate(Image.fromarray(content).histogram()))
    dark = bisect_left(ranks, DARK_QUANTILE * content.size)
    bright = bisect_left(ranks, BRIGHT_QUANTILE * content.size)
    if bright <= dark:
        return content
    levels = (LEVELS - dark) * (255.0 / (bright - dark))
    table = np.rint(levels.clip(0, 255)).astype(np.uint8)
    # Faster than indexing the table.
    stretched = content.tobytes().translate(table.tobytes())
    return np.frombuffer(stretched, np.uint8).reshape(content.shape)
