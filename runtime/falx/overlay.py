"""Heatmaps as pictures a person can look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from falx.errors import FalxError
from falx.images import DERIVED
from falx.words import counted

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["COLOURS", "OPACITY", "Folder", "overlay", "tint"]

OPACITY: Final = 0.6
"""How much of the colour covers the slice where the heatmap is 1."""

COLOURS: Final = np.array([[0, 0, 160], [0, 160, 220], [250, 220, 40], [230, 30, 20]], np.float64)
"""From a heatmap of 0 to 1: blue, cyan, yellow, red; interpolated between."""


def overlay(
    pixels: npt.NDArray[np.uint8], heatmap: npt.NDArray[np.float32], opacity: float = OPACITY
) -> Image.Image:
    """A slice with its heatmap in colour over it.

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


def _colours(heatmap: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    stops = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(heatmap, stops, channel) for channel in COLOURS.T], axis=-1)


class Folder:
    """A new or empty folder for pictures, in which none replaces another."""

    def __init__(self, path: str) -> None:
        """Make the folder.

        Raises:
            FalxError: it exists and is not an empty folder, or cannot be made.
        """
        self._path = Path(path)
        self._used: set[str] = set()
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            taken = any(self._path.iterdir())
        except OSError as error:
            raise FalxError(f"{path}: cannot make this folder: {error.strerror}") from error
        if taken:
            raise FalxError(f"{path}: expected a new or empty folder, this one holds files; give another")

    def told(self, what: str) -> str:
        """How many pictures of a kind were written, and where: a sentence.

        Args:
            what: the kind, in the singular.
        """
        return f"{counted(len(self._used), what)} written to {self._path}."

    def save(self, image: Image.Image, name: str) -> Path:
        """Write a picture as PNG, with the `Software` that its `info` names.

        Args:
            image: to write.
            name: without suffix; where it is taken, `-2`, `-3`, ... is appended.

        Returns:
            The path of the file.

        Raises:
            FalxError: the file cannot be written.
        """
        number, free = 1, name
        while free.casefold() in self._used:
            number += 1
            free = f"{name}-{number}"
        # Without case: file systems that ignore it would take one file for the other.
        self._used.add(free.casefold())
        path = self._path / f"{free}.png"
        said = PngInfo()
        if "Software" in image.info:
            said.add_text("Software", image.info["Software"])
        try:
            with path.open("xb") as stream:
                image.save(stream, "PNG", pnginfo=said)
        except OSError as error:
            raise FalxError(f"{path}: cannot be written: {error.strerror or error}") from error
        return path
