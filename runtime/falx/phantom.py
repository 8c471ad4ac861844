"""Drawn heads, so that Falx can be tried and proved where no scan is at hand.

They are drawings: that a model says this or that about them tells nothing about its quality. They
are made of sums, products, square roots and whole numbers only, so they are the same pixels on every
machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["PHANTOMS", "SIZE", "clear", "lesion"]

SIZE: Final = 256
"""Height and width of a phantom, in pixels."""

Field = npt.NDArray[np.float64]


def clear() -> npt.NDArray[np.uint8]:
    """An axial head without a lesion, `(256, 256)` uint8."""
    return _drawn(with_lesion=False).copy()


def lesion() -> npt.NDArray[np.uint8]:
    """The same head with a bright rim around a dark centre, and swelling, `(256, 256)` uint8."""
    return _drawn(with_lesion=True).copy()


PHANTOMS: Final[Mapping[str, Callable[[], npt.NDArray[np.uint8]]]] = {"clear": clear, "lesion": lesion}
"""Every phantom by name: `(256, 256)` uint8, 0 black to 255 white."""


@cache
def _drawn(*, with_lesion: bool) -> npt.NDArray[np.uint8]:
    """A phantom; kept, for drawing one takes longer than classifying it."""
    image = _head()
    if with_lesion:
        image = _paint(image, _inside(160, 104, 34, 30, softness=14), 82)
        image = _paint(image, _inside(160, 104, 20, 18), 232)
        image = _paint(image, _inside(160, 104, 11, 9), 66)
    return _scanned(image)


def _head() -> Field:
    """Scalp, skull, folded cortex, white matter, ventricles and the falx; `(256, 256)`, 0..255."""
    image = np.zeros((SIZE, SIZE))
    image = _paint(image, _inside(128, 130, 84, 104), 150)
    image = _paint(image, _inside(128, 130, 78, 98), 34)
    image = _paint(image, _inside(128, 130, 72, 91), 120)
    folds = _wave(22, 0.35) * _wave(17, -0.8) * _inside(128, 130, 70, 89)
    image += 30 * folds
    image = _paint(image, _inside(128, 130, 52, 70, softness=30), 146)
    image += 6 * _wave(13, 0.9) * _inside(128, 130, 50, 68)
    for side in (-1, 1):
        image = _paint(image, _inside(128 + 13 * side, 112, 6, 20), 48)
        image = _paint(image, _inside(128 + 20 * side, 150, 5, 16), 52)
        image = _paint(image, _inside(128 + 27 * side, 128, 8, 12), 118)
    image = _paint(image, _inside(128, 68, 2, 26), 58)
    image = _paint(image, _inside(128, 192, 2, 26), 58)
    return image.clip(0, 255)


def _scanned(image: Field) -> npt.NDArray[np.uint8]:
    """The image as a scanner would show it, neither so sharp nor so even; `(256, 256)` uint8.

    A model that tells drawings from scans would reject it as it is drawn.
    """
    head = image > 5
    soft = image + 32 * _grain() * head
    for _ in range(2):
        for axis in (0, 1):
            soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    seen: npt.NDArray[np.uint8] = np.rint(np.where(head, soft, image).clip(0, 255)).astype(np.uint8)
    return seen


def _grain() -> Field:
    """Values without a pattern, -1..1, `(256, 256)`: the coordinates hashed, as xxHash's last step does.

    Constants and shifts: Collet, xxHash 32, XXH32_avalanche.
    """
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.uint32)
    hashed = x * np.uint32(2654435761) + y * np.uint32(2246822519)
    for shift, factor in ((15, 2246822519), (13, 3266489917), (16, 1)):
        hashed = (hashed ^ (hashed >> np.uint32(shift))) * np.uint32(factor)
    values: Field = hashed / 2.0**31 - 1
    return values


def _grid() -> tuple[Field, Field]:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    return x, y


def _inside(x: float, y: float, width: float, height: float, softness: float = 1.5) -> Field:
    """1 inside an ellipse, 0 outside, with an edge of `softness` pixels; `(256, 256)`."""
    columns, rows = _grid()
    radius = np.sqrt(((columns - x) / width) ** 2 + ((rows - y) / height) ** 2)
    return ((1 - radius) * min(width, height) / softness + 0.5).clip(0, 1)


def _paint(image: Field, where: Field, value: float) -> Field:
    """The image with a brightness laid over it."""
    return image + (value - image) * where


def _wave(period: float, slope: float) -> Field:
    """Stripes as a triangle wave, -1..1, that bend with the distance from the middle."""
    columns, rows = _grid()
    bend = np.sqrt((columns - 128) ** 2 + (rows - 130) ** 2)
    phase = (bend + slope * columns + slope * slope * rows) / period
    return 4 * np.abs(phase - np.floor(phase) - 0.5) - 1
