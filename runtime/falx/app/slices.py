"""From an uploaded file to what the page shows of it."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from falx import dicom, images
from falx._quiet import quiet_readers
from falx.app.quality import Caution, look
from falx.app.settings import Settings
from falx.errors import UnreadableImage
from falx.overlay import overlay
from falx.prediction import Failure, Prediction
from falx.words import TUMOR_LABELS

__all__ = ["Shown", "answer", "refused"]

LONGEST_SIDE: Final = 768
"""Of the pictures that the page keeps and shows, in pixels."""

Value = TypeVar("Value", np.uint8, np.float32)

LEAST: Final = 0.05
"""A heatmap below this, 0..1, is called nothing; the same as on the page of examples/browser."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One uploaded file, answered.

    Attributes:
        name: of the file.
        result: the answer; its path is the name.
        size: width and height of the picture, in pixels; None where it could not be read.
        pixels: `(h, w)` uint8, the slice, no larger than `LONGEST_SIDE`; None where that is.
        heatmap: `(h, w)` float32, 0..1, on these pixels; None where the model makes none, or rejected it.
        cautions: what in the picture limits the answer.
    """

    name: str
    result: Prediction | Failure
    size: tuple[int, int] | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    heatmap: npt.NDArray[np.float32] | None = None
    cautions: tuple[Caution, ...] = ()

    @property
    def decision(self) -> str:
        """What Falx decided, or `error`."""
        return "error" if isinstance(self.result, Failure) else self.result.decision

    @property
    def trouble(self) -> str:
        """Why the file could not be read, a sentence; empty where it could."""
        if not isinstance(self.result, Failure):
            return ""
        message = str(self.result.error).removeprefix(f"{self.name}: ").rstrip(".")
        return f"{message[:1].upper()}{message[1:]}."

    @property
    def evidence(self) -> float:
        """The probability of any tumour, 0..1; 0 where there is no answer."""
        if isinstance(self.result, Failure) or self.result.probabilities is None:
            return 0.0
        return sum(self.result.probabilities[label] for label in TUMOR_LABELS)

    def picture(self, opacity: float) -> Image.Image | None:
        """The slice with its heatmap over it; None where there is none.

        Args:
            opacity: how much of the colour covers the slice where the heatmap is 1, 0..1; 0 for the
                slice alone.
        """
        if self.pixels is None:
            return None
        if self.heatmap is None or opacity == 0:
            return Image.fromarray(self.pixels)
        return overlay(self.pixels, self.heatmap, opacity)

    def highest(self) -> str:
        """Where the heatmap is highest, a sentence; empty where there is none."""
        if self.heatmap is None:
            return ""
        row, column = np.unravel_index(int(self.heatmap.argmax()), self.heatmap.shape)
        peak = float(self.heatmap[row, column])
        if peak < LEAST:
            return "Nothing in it speaks for a tumour."
        height, width = self.heatmap.shape
        vertical = ("upper", "middle", "lower")[3 * int(row) // height]
        horizontal = ("left", "centre", "right")[3 * int(column) // width]
        place = "centre" if (vertical, horizontal) == ("middle", "centre") else f"{vertical} {horizontal}"
        return f"The heatmap is highest, {peak:.2f} of 1, in the {place} of the picture."


def answer(name: str, data: bytes, settings: Settings) -> Shown:
    """Classify an uploaded file.

    Args:
        name: of the file, as the visitor calls it.
        data: what it holds.
        settings: which model, and how large a picture may be.
    """
    try:
        _check_pixels(data, settings.maximum_pixels)
        result = replace(settings.classifier.predict(data), path=name)
        # Read again for the eye, as `falx predict --heatmaps` does: the classifier keeps no pixels.
        pixels = images.read(data).pixels
    except UnreadableImage as error:
        message = str(error).removeprefix(f"{images.describe(data)}: ")
        return refused(name, type(error)(f"{name}: {message}"))
    height, width = pixels.shape
    return Shown(
        name=name,
        result=result,
        size=(width, height),
        pixels=_fitted(pixels),
        heatmap=None if result.heatmap is None else _fitted(result.heatmap),
        cautions=() if result.reason is not None else look(pixels),
    )


def refused(name: str, error: UnreadableImage) -> Shown:
    """A file that is not answered, and why."""
    return Shown(name=name, result=Failure(name, error))


def _check_pixels(data: bytes, maximum: int) -> None:
    """Refuse a picture that claims too many pixels, from its header alone."""
    width, height = _claimed(data)
    if width * height > maximum:
        raise UnreadableImage(
            f"too large, so it was not decoded: {width} × {height} pixels, and {maximum:,} are read at most"
        )


def _claimed(data: bytes) -> tuple[int, int]:
    """Width and height by the header; 0 where it cannot be read, which `falx.images` will say."""
    if dicom.is_file(data[: dicom.PREAMBLE]):
        return dicom.open_file(data, f"{len(data)} bytes").size
    with quiet_readers():
        try:
            with Image.open(io.BytesIO(data), formats=images.FORMATS) as image:
                return image.size
        except Exception:  # noqa: BLE001 - Pillow's plugins raise anything on damaged headers
            return 0, 0


def _fitted(values: npt.NDArray[Value]) -> npt.NDArray[Value]:
    """A picture no larger than `LONGEST_SIDE`."""
    height, width = values.shape
    scale = LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return values
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized, values.dtype)
