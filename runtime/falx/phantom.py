"""Drawn heads, so that Falx can be tried and proved where no scan is at hand.

They are drawings: that a model says this or that about them tells nothing about its quality. They look
enough like an axial T1 slice to pass for one, since a model that tells drawings from scans would reject them
otherwise. They are made of sums, products, square roots and whole numbers only, so they are the same pixels
on every machine.
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

FAT, SKIN, BONE, FLUID, GREY, WHITE = 205, 100, 22, 36, 112, 166
"""Brightness of the tissues, as T1 shows them."""


def clear() -> npt.NDArray[np.uint8]:
    """Draws an axial head without a lesion, `(256, 256)` uint8."""
    return _drawn(with_lesion=False).copy()


def lesion() -> npt.NDArray[np.uint8]:
    """Draws the same head with a bright rim around a dark centre, and swelling, `(256, 256)` uint8."""
    return _drawn(with_lesion=True).copy()


PHANTOMS: Final[Mapping[str, Callable[[], npt.NDArray[np.uint8]]]] = {"clear": clear, "lesion": lesion}
"""Every phantom by name: `(256, 256)` uint8, 0 black to 255 white."""


@cache
def _drawn(*, with_lesion: bool) -> npt.NDArray[np.uint8]:
    """Returns a phantom and keeps it, because drawing one takes longer than classifying it."""
    image = _head()
    if with_lesion:
        image = _paint(image, 0.9 * _inside(155, 106, 30, 35, softness=14), 60)
        image = _paint(image, _inside(155, 106, 25, 19, softness=8, rough=4 * _noise(351, 12)), 200)
        image = _paint(image, _inside(155, 106, 21, 15, softness=4, rough=_noise(342, 24)), 70)
    return _scanned(image)


def _head() -> Field:
    """Draws skin, fat, skull, folded cortex, white matter, deep grey matter, ventricles and the fissure
    between the halves; `(256, 256)`, 0..255.
    """
    columns, rows = _grid()
    # Wider behind than in front; pixels below the skin.
    across = (columns - 128) / (84 * (1 + 0.1 * (rows - 128) / 104))
    depth = 90 * (1 - np.sqrt(across**2 + ((rows - 130) / 104.25) ** 2)) + _noise(343, 48)
    image = np.zeros((SIZE, SIZE))
    for start, brightness in ((0, SKIN), (2, FAT), (6, BONE), (11, FLUID)):
        image = _paint(image, _rise(depth - start), brightness)

    inside = depth - 13.5 - _noise(344, 12)
    # A furrow runs where a noise is nothing, with cortex on both sides of it, and neither reaches far in.
    furrow = np.abs(_mirrored(_noise(345, 10))) * 2
    reach = inside / (24 + 8 * _mirrored(_noise(346, 20)))
    cortex = np.maximum(_rise((1.15 - reach).clip(0, 1) - furrow, 0.35), _rise(5 - inside, 2))
    brain = WHITE + (GREY - WHITE) * cortex + 8 * _noise(347, 30)
    image += (brain - image) * _rise(inside)
    image = _paint(image, _rise(0.22 * (1 - reach).clip(0, 1) - furrow, 0.15) * _rise(inside), FLUID)

    away = np.abs(columns - 128 - 2 * _noise(348, 40))
    between = ((rows < 92) | (rows > 168)) * _rise(inside + 3)
    image = _paint(image, 0.8 * between * _rise(5 - away, 2), GREY)
    image = _paint(image, between * _rise(1.3 - away, 1.2), FLUID)
    for side in (-1, 1):
        image = _paint(image, 0.8 * _inside(128 + 30 * side, 122, 9, 20, softness=6), GREY + 12)
        image = _paint(image, 0.8 * _inside(128 + 15 * side, 140, 9, 14, softness=6), GREY + 14)
        image = _paint(image, _inside(128 + 11 * side, 106, 4, 22, softness=3, slope=-0.18 * side), FLUID)
        image = _paint(image, _inside(128 + 22 * side, 158, 3.6, 19, softness=3, slope=0.25 * side), FLUID)
    return image.clip(0, 255)


def _scanned(image: Field) -> npt.NDArray[np.uint8]:
    """Returns the image as a scanner would show it: not so sharp, and grainy, as magnitudes of complex values
    are (Gudbjartsson & Patz 1995), on black, as most collections cut it; `(256, 256)` uint8.
    """
    real, imaginary = (12 * _softened(_grain(seed)) for seed in (349, 350))
    shown = np.sqrt((_softened(image) + real) ** 2 + imaginary**2) * (image > 5)
    seen: npt.NDArray[np.uint8] = np.rint(shown.clip(0, 255)).astype(np.uint8)
    return seen


def _softened(image: Field) -> Field:
    """Returns the image with each pixel mixed with its neighbours 1 : 2 : 1 both ways."""
    for axis in (0, 1):
        image = (np.roll(image, 1, axis) + 2 * image + np.roll(image, -1, axis)) / 4
    return image


def _grain(seed: int) -> Field:
    """Returns values without a pattern, -1..1, `(256, 256)`: coordinates hashed as xxHash's last step does.

    Constants and shifts: Collet, xxHash 32, XXH32_avalanche.
    """
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.uint32)
    hashed = x * np.uint32(2654435761) + y * np.uint32(2246822519) + np.uint32(374761393 * seed % 2**32)
    for shift, factor in ((15, 2246822519), (13, 3266489917), (16, 1)):
        hashed = (hashed ^ (hashed >> np.uint32(shift))) * np.uint32(factor)
    values: Field = hashed / 2.0**31 - 1
    return values


def _noise(seed: int, period: int) -> Field:
    """Returns a smooth noise, -1..1, `(256, 256)`: random values `period` pixels apart, with a curve between.

    The lattice is turned, so that its rows and columns do not show. The curve is 3 t^2 - 2 t^3 (Perlin 1985,
    An Image Synthesizer).
    """
    columns, rows = _grid()
    across, along = (0.8 * columns + 0.6 * rows) / period, (0.8 * rows - 0.6 * columns) / period + SIZE / 2
    x, y = across.astype(int), along.astype(int)
    right, down = (t * t * (3 - 2 * t) for t in (across - x, along - y))
    values = _grain(seed)
    above = values[y, x] + (values[y, x + 1] - values[y, x]) * right
    below = values[y + 1, x] + (values[y + 1, x + 1] - values[y + 1, x]) * right
    smooth: Field = above + (below - above) * down
    return smooth


def _mirrored(values: Field) -> Field:
    """Returns the values with the right half mirrored to the left, as the halves of a brain nearly are."""
    mirrored = values.copy()
    mirrored[:, 1 : SIZE // 2] = values[:, : SIZE // 2 : -1]
    return mirrored


def _grid() -> tuple[Field, Field]:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    return x, y


def _rise(value: Field, softness: float = 1.5) -> Field:
    """Returns 1 where a value is above 0, 0 where it is below, with an edge of `softness`."""
    return (value / softness + 0.5).clip(0, 1)


def _inside(
    x: float, y: float, width: float, height: float, softness: float, slope: float = 0, rough: Field | int = 0
) -> Field:
    """Returns 1 inside an ellipse, 0 outside, with an edge of `softness` pixels; `(256, 256)`.

    It leans by `slope` columns a row, and its outline is moved by `rough` pixels.
    """
    columns, rows = _grid()
    across = (columns - x - slope * (rows - y)) / width
    radius = np.sqrt(across**2 + ((rows - y) / height) ** 2)
    return _rise((1 - radius) * min(width, height) + rough, softness)


def _paint(image: Field, where: Field, value: float) -> Field:
    """Returns the image with a brightness laid over it."""
    return image + (value - image) * where
