"""Heatmaps as pictures that a person can look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from falx.words import DERIVED

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["COLOURS", "OPACITY", "fitted", "overlay", "tint"]

OPACITY: Final = 0.6
"""The share of the colour that covers the slice where the heatmap is 1."""

COLOURS: Final = np.array([[0, 0, 160], [0, 160, 220], [250, 220, 40], [230, 30, 20]], np.float64)
"""The colours of a heatmap from 0 to 1: blue, cyan, yellow, red; interpolated between."""


def overlay(
    pixels: npt.NDArray[np.uint8], heatmap: npt.NDArray[np.float32], opacity: float = OPACITY
) -> Image.Image:
    """Draws a slice with its heatmap in colour over it.

    Args:
        pixels: `(H, W)` uint8.
        heatmap: `(H, W)` float32, 0..1; where it is 0 the slice shows unchanged.
        opacity: how much of the colour covers the slice where the heatmap is 1, 0..1.

    Returns:
        An RGB image of the same size, which says that it was made of a slice.
    """
    share = opacity * heatmap[..., np.newaxis]
    mixed = pixels[..., np.newaxis] * (1 - share) + _colours(heatmap) * share
    shown = Image.fromarray(np.rint(mixed).astype(np.uint8))
    shown.info["Software"] = DERIVED
    return shown


def tint(heatmap: npt.NDArray[np.float32]) -> Image.Image:
    """Returns a heatmap in colour, for viewers that lay it over a slice themselves.

    Args:
        heatmap: `(H, W)` float32, 0..1.

    Returns:
        An RGBA image of the same size, as opaque as the heatmap is high.
    """
    layers = np.concatenate([_colours(heatmap), 255 * heatmap[..., np.newaxis]], axis=-1)
    return Image.fromarray(np.rint(layers).astype(np.uint8))


def fitted(
    image: Image.Image, side: int, resampling: Image.Resampling = Image.Resampling.BILINEAR
) -> Image.Image:
    """Returns an image whose longer side has so many pixels."""
    scale = side / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), resampling)


def _colours(heatmap: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    stops = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(heatmap, stops, channel) for channel in COLOURS.T], axis=-1)
