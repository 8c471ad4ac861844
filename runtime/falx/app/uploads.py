"""From an uploaded file to what the page shows of its slices."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from falx.app.quality import Caution, look
from falx.app.service import Service
from falx.classifier import Classifier
from falx.errors import UnreadableImage
from falx.pictures.overlay import overlay
from falx.prediction import Failure, Prediction
from falx.reading import dicom
from falx.reading.quiet import quiet_readers
from falx.reading.sniffing import DICOM_START, is_dicom
from falx.reading.source import FORMATS, describe, read
from falx.slices.slice import Origin, Part, Slice
from falx.words import TUMOR_LABELS

__all__ = ["ShownSlice", "Upload", "given", "refused"]

LONGEST_SIDE: Final = 768
"""Of the pictures that the page keeps and shows, in pixels."""

Value = TypeVar("Value", np.uint8, np.float32)

LEAST: Final = 0.05
"""A heatmap below this, 0..1, is called nothing; the same as on the page of examples/browser."""


@dataclass(frozen=True, slots=True, eq=False)
class ShownSlice:
    """One slice, answered.

    Attributes:
        file: the name of its file.
        result: the answer; its path is that name.
        frame: which of the file's frames it is, from 1; None where the file has but one.
        size: width and height of the picture, in pixels; None where it could not be read, or was not,
            because its tags say that it is no slice.
        pixels: `(h, w)` uint8, the slice, no larger than `LONGEST_SIDE`; None where that is.
        cautions: what in the picture limits the answer.
    """

    file: str
    result: Prediction | Failure
    frame: int | None = None
    size: tuple[int, int] | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    cautions: tuple[Caution, ...] = ()

    @property
    def name(self) -> str:
        """Of the file, and which of its frames."""
        return self.file if self.frame is None else f"{self.file}, frame {self.frame}"

    @property
    def about(self) -> str:
        """Name, size, plane and sequence, as far as they are known."""
        size = "" if self.size is None else f"{self.size[0]} × {self.size[1]}"
        origin = self.result.origin
        kind = () if origin is None else (origin.plane, origin.sequence)
        return ", ".join(filter(None, [self.name, size, " ".join(filter(None, kind))]))

    @property
    def heatmap(self) -> npt.NDArray[np.float32] | None:
        """`(h, w)` float32, 0..1, on the pixels; None where the model makes none, and for rejected slices.

        Made anew at each access: a session would hold four times as much as the slices are.
        """
        found = None if isinstance(self.result, Failure) else self.result.heatmap
        return None if found is None else _fitted(found)

    @property
    def located(self) -> bool:
        """Whether there is a heatmap."""
        return isinstance(self.result, Prediction) and self.result.location is not None

    @property
    def decision(self) -> str:
        """What Falx decided, or `error`."""
        return "error" if isinstance(self.result, Failure) else self.result.decision

    @property
    def trouble(self) -> str:
        """Why the file could not be read, a sentence; empty where it could."""
        if not isinstance(self.result, Failure):
            return ""
        message = str(self.result.error).removeprefix(f"{self.file}: ").rstrip(".")
        return f"{message[:1].upper()}{message[1:]}."

    @property
    def confidence(self) -> float:
        """Of the decision, 0..1; 0 where it has none."""
        return (0.0 if isinstance(self.result, Failure) else self.result.confidence) or 0.0

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
        heatmap = self.heatmap if opacity else None
        return Image.fromarray(self.pixels) if heatmap is None else overlay(self.pixels, heatmap, opacity)

    def highest(self) -> str:
        """Where the heatmap is highest, a sentence; empty where there is none."""
        heatmap = self.heatmap
        if heatmap is None:
            return ""
        row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
        peak = float(heatmap[row, column])
        if peak < LEAST:
            return "Nothing in it speaks for a tumour."
        height, width = heatmap.shape
        vertical = ("upper", "middle", "lower")[3 * int(row) // height]
        horizontal = ("left", "centre", "right")[3 * int(column) // width]
        place = "centre" if (vertical, horizontal) == ("middle", "centre") else f"{vertical} {horizontal}"
        return f"The heatmap is highest, {peak:.2f} of 1, in the {place} of the picture."


@dataclass(slots=True, eq=False)
class Upload:
    """An uploaded file; to the classifier the holder of its slices (`Holder`). Made by `given`.

    Attributes:
        name: of the file, as the visitor calls it.
        path: the same, for results.
        data: what the file holds.
        maximum_pixels: of a picture; one that claims more is not decoded.
        source: the DICOM object, or why the file cannot be read; None for another picture.
        frames: how many slices it has.
        shown: those that are answered, in the order of the file.
    """

    name: str
    path: str
    data: bytes = b""
    maximum_pixels: int = 0
    source: dicom.Object | Failure | None = None
    frames: int = 1
    shown: list[ShownSlice] = field(default_factory=list)
    _read: Slice | None = None

    @property
    def done(self) -> bool:
        """Whether all of its slices are answered."""
        return len(self.shown) == self.frames

    def read(self, number: int) -> Slice:
        """The slice of this number, from 1; it is kept until it is answered, for the eye.

        Raises:
            UnreadableImage: it cannot be read.
        """
        if isinstance(self.source, dicom.Object):
            self._read = self.source.read(number, self.maximum_pixels)
            return self._read
        try:
            _check_pixels(self.data, self.maximum_pixels)
            self._read = read(self.data)
        except UnreadableImage as error:
            message = str(error).removeprefix(f"{describe(self.data)}: ")
            raise type(error)(f"{self.name}: {message}") from error
        return self._read

    def origin(self, number: int) -> Origin | None:
        """Where in a DICOM object the slice of this number stands; None for other pictures."""
        return self.source.origin(number) if isinstance(self.source, dicom.Object) else None

    def answer(self, classifier: Classifier) -> None:
        """Classify the next slice."""
        number = len(self.shown) + 1
        (result,) = classifier.predict_many([Part(self, number)])
        read, self._read = self._read, None
        height, width = (0, 0) if read is None else read.pixels.shape
        usable = isinstance(result, Prediction) and result.reason is None
        self.shown.append(
            ShownSlice(
                file=self.name,
                result=result,
                frame=number if self.frames > 1 else None,
                size=None if read is None else (width, height),
                pixels=None if read is None else _fitted(read.pixels),
                cautions=look(read.pixels) if read is not None and usable else (),
            )
        )


def given(name: str, data: bytes, service: Service, *, room: int) -> Upload:
    """Take an uploaded file, and find out how many slices it has; none is decoded yet.

    Args:
        name: of the file, as the visitor calls it.
        data: what it holds.
        service: how large a picture may be.
        room: how many slices the visitor may still give; a file with more is not read.
    """
    source, frames = None, 1
    try:
        if is_dicom(data[:DICOM_START]):
            source = dicom.open_file(data, name, name)
            frames = source.frames
    except UnreadableImage as error:
        return refused(name, error)
    if frames > room:
        has = f", and this file has {frames}" if frames > 1 else ""
        most = service.maximum_slices
        return refused(
            name, UnreadableImage(f"{name}: not read: at most {most} slices are read at a time{has}")
        )
    return Upload(name, name, data, service.maximum_pixels, source, frames)


def refused(name: str, error: UnreadableImage) -> Upload:
    """A file that is not read, and why."""
    failure = Failure(name, error)
    return Upload(name, name, source=failure, shown=[ShownSlice(name, failure)])


def _check_pixels(data: bytes, maximum: int) -> None:
    """Refuse a picture that claims too many pixels, from its header alone."""
    with quiet_readers():
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
        except Exception:  # noqa: BLE001 - Pillow's plugins raise anything on damaged headers
            return  # `falx.reading.source` will say what is wrong.
    if width * height > maximum:
        raise UnreadableImage(
            f"too large to be a slice, so it was not decoded: {width} x {height} pixels, at most {maximum} "
            "are read"
        )


def _fitted(values: npt.NDArray[Value]) -> npt.NDArray[Value]:
    """A picture no larger than `LONGEST_SIDE`."""
    height, width = values.shape
    scale = LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return values
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized, values.dtype)
