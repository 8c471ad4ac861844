"""Makes images that did not happen: a lesion in another head, and healthy tissue with the same seam.

In these collections a slice's origin gives its label away. Where a lesion is moved into a
healthy slice, only the lesion has changed; and where healthy tissue is moved in the same way,
the seam is there and the label is not: so the seam is no cue either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from falx.slices.preprocessing import SIZE
from falx_runs.arrays import Pixels
from falx_trainer.data.tensors import Boxes

HEAD_LEVEL = 25
"""Grey level above which a pixel of a prepared slice is tissue: a tenth of the range, as in preprocessing."""

RIM = 0.35
"""Width of the blended rim of a pasted ellipse, as a fraction of its half-axes."""


def paste(
    pixels: Pixels,
    donor: Pixels,
    box: npt.NDArray[np.float32],
    rng: np.random.Generator,
    *,
    inverted: bool = False,
) -> tuple[Pixels, Boxes] | None:
    """Moves an ellipse of one slice into another.

    The piece is turned over by chance, rescaled, brought to the brightness of the tissue it
    lands in by the tissue around it, and blended over a soft rim.

    Args:
        pixels: `(S, S)`, the slice that receives.
        donor: `(S, S)`, the slice that gives.
        box: the piece's rectangle in the donor: left, top, right, bottom, pixels.
        rng: the only source of chance.
        inverted: whether what was darker than the tissue around becomes brighter: the same lesion in
            another sequence.

    Returns:
        The new slice and the one box of the piece in it; None where the piece does not fit.
    """
    piece, around = _cut(donor, box, rng)
    if piece is None or around is None:
        return None
    height, width = piece.shape
    place = _find_place(pixels, width, height, rng)
    if place is None:
        return None
    left, top = place
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    alpha = np.clip((1.0 - np.hypot(x, y)) / RIM, 0.0, 1.0)
    alpha = alpha * alpha * (3 - 2 * alpha)
    target = pixels[top : top + height, left : left + width].astype(np.float32)
    here = target[target > HEAD_LEVEL]
    if here.size < 0.7 * target.size:
        return None
    gain = float(np.median(here)) / around * rng.uniform(0.9, 1.1)
    given = piece.astype(np.float32) * gain
    if inverted:
        given = (2 * around * gain - given).clip(0, 255)
    blended = target + alpha * (given - target)
    result = pixels.copy()
    result[top : top + height, left : left + width] = np.rint(blended.clip(0, 255)).astype(np.uint8)
    # Half of the rim counts as the lesion.
    trim = np.array([width, height, -width, -height]) * RIM / 4
    return result, (np.array([left, top, left + width, top + height]) + trim).astype(np.float32)[None]


def _cut(
    donor: Pixels, box: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[Pixels | None, float | None]:
    """Returns the piece, turned and scaled, and the median brightness of the tissue around it."""
    centre = (box[:2] + box[2:]) / 2
    half = (box[2:] - box[:2]) / 2 * (1 + RIM)
    left, top = np.maximum(np.rint(centre - half), 0).astype(int)
    right, bottom = np.minimum(np.rint(centre + half), len(donor)).astype(int)
    scale = rng.uniform(0.45, 1.3)
    width, height = round((right - left) * scale), round((bottom - top) * scale)
    unit = len(donor) / SIZE
    if (
        min(right - left, bottom - top) < 8 * unit
        or min(width, height) < 10 * unit
        or max(width, height) > 110 * unit
    ):
        return None, None
    margin = round(12 * unit)
    wide = donor[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin]
    tissue = wide[wide > HEAD_LEVEL]
    if tissue.size < 0.6 * wide.size:
        return None, None
    piece = np.asarray(
        Image.fromarray(donor[top:bottom, left:right]).resize((width, height), Image.Resampling.BILINEAR)
    )
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    if rng.random() < 0.5:
        piece = piece[::-1]
    return piece, float(np.median(tissue))


def _find_place(pixels: Pixels, width: int, height: int, rng: np.random.Generator) -> tuple[int, int] | None:
    """Returns a place within the head for a piece of that size, by chance: its left and top."""
    rows, columns = np.nonzero(pixels[::8, ::8] > HEAD_LEVEL)
    for _ in range(8):
        if not rows.size:
            return None
        pick = int(rng.integers(rows.size))
        left, top = int(columns[pick]) * 8 - width // 2, int(rows[pick]) * 8 - height // 2
        if left < 0 or top < 0 or left + width > len(pixels) or top + height > len(pixels):
            continue
        if (pixels[top : top + height : 4, left : left + width : 4] > HEAD_LEVEL).mean() > 0.85:
            return left, top
    return None


def tissue_box(
    donor: Pixels, avoid: Boxes, like: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32] | None:
    """Returns a rectangle of healthy tissue, of the size of a lesion's box, that touches no tumour."""
    width, height = (like[2:] - like[:2]).astype(int)
    for _ in range(6):
        place = _find_place(donor, int(width), int(height), rng)
        if place is None:
            return None
        left, top = place
        box = np.array([left, top, left + width, top + height], np.float32)
        # `paste` takes the soft rim from around the box.
        across, down = (max(8 * len(donor) / SIZE, RIM * side / 2 + 1) for side in (width, height))
        wide = box + np.array([-across, -down, across, down], np.float32)
        lefts, tops, rights, bottoms = avoid.T
        clear = (rights < wide[0]) | (lefts > wide[2]) | (bottoms < wide[1]) | (tops > wide[3])
        if clear.all():
            return box
    return None


Lesion: TypeAlias = tuple[int, npt.NDArray[np.float32]]
"""A slice by its index, and a tumour's box in it."""


@dataclass(frozen=True)
class Donors:
    """The slices that pieces are taken from, by index.

    Attributes:
        lesions: every tumour that shows: at least 8 pixels wide and high, and other than
            the tissue around it. Those too large to move are refused by `paste`.
        tissue: slices that can give healthy tissue: without tumour, or with a box that says where it is.
        by_sequence: the lesions of each sequence that is known.
    """

    lesions: list[Lesion]
    tissue: npt.NDArray[np.intp]
    by_sequence: dict[str, list[Lesion]]
