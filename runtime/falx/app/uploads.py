"""Uploaded files, and their slices as the page shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from falx.app import texts
from falx.app.page_service import PageService
from falx.app.quality import Caution, look
from falx.errors import UnreadableImage
from falx.prediction import Failure, Prediction
from falx.reading import dicom
from falx.reading.files import is_image, kind_by_name, opened
from falx.reading.input_file import InputFile
from falx.reading.quiet import quiet_readers
from falx.reading.sniffing import START, Kind, kind_of
from falx.reading.source import read
from falx.reading.window import Greys
from falx.slices.overlay import fitted, overlay
from falx.slices.slice import Holder, Origin, Part, Slice, Unreadable
from falx.words import ERROR, MEBIBYTE, TUMOR_LABELS

LONGEST_SIDE: Final = 768
"""The longer side of the pictures that the page keeps and shows, in pixels."""

LEAST: Final = 0.05
"""A heatmap below this everywhere, 0..1, is called empty; the page of examples/browser does the same."""

Value = TypeVar("Value", np.uint8, np.float32, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class ShownSlice:
    """One slice with its answer.

    Attributes:
        file: The name of its file, which is the path of the result too.
        frame: The number of the slice in its file, from 1; None where the file has one.
        size: Width and height of the picture, in pixels; None without a picture, because it could not be
            read, or its tags say that it is not a slice.
        pixels: The slice, `(h, w)` uint8, no larger than `LONGEST_SIDE`; None without a picture.
        source: The DICOM object that the slice is in; None for other pictures.
        not_used: Why the study does not use the slice, a sentence; None where it does, and without a study.
    """

    file: str
    result: Prediction | Failure
    frame: int | None = None
    size: tuple[int, int] | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    cautions: tuple[Caution, ...] = ()
    source: dicom.DicomImage | None = field(default=None, repr=False)
    not_used: str | None = None

    @property
    def name(self) -> str:
        """The name of the file, and the frame in it."""
        if self.frame is None:
            return self.file
        return texts.FRAME.format(file=self.file, number=self.frame)

    @property
    def about(self) -> str:
        """Name, size, plane and sequence, as far as they are known."""
        size = "" if self.size is None else f"{self.size[0]} × {self.size[1]}"
        origin = self.result.origin
        kind = () if origin is None else (origin.plane, origin.sequence)
        return ", ".join(filter(None, [self.name, size, " ".join(filter(None, kind))]))

    @property
    def answer(self) -> Prediction | None:
        """The answer of Falx; None for a file that cannot be read, and for a slice that is not used."""
        return self.result if isinstance(self.result, Prediction) and self.not_used is None else None

    @property
    def heatmap(self) -> npt.NDArray[np.float32] | None:
        """The heatmap on the pixels, `(h, w)` float32, 0..1; None where the answer has none."""
        # Made anew at each access: to keep it would take four times the memory of the slice.
        found = None if self.answer is None else self.answer.heatmap
        return None if found is None else _fitted(found)

    @property
    def decision(self) -> str:
        """The decision of Falx, or `error`, or `not_used`."""
        if self.not_used is not None:
            return texts.NOT_USED
        return ERROR if self.answer is None else self.answer.decision

    @property
    def trouble(self) -> str:
        """The reason why a file cannot be read, or a slice is rejected or not used; empty for others."""
        if self.not_used is not None:
            return self.not_used
        if isinstance(self.result, Prediction):
            return "" if self.result.reason is None else self.result.reason.message
        message = str(self.result.error).removeprefix(f"{self.file}: ").rstrip(".")
        return f"{message[:1].upper()}{message[1:]}."

    @property
    def evidence(self) -> float | None:
        """The probability of any tumour, 0..1; None where the slice was not classified."""
        if self.answer is None or self.answer.probabilities is None:
            return None
        return sum(self.answer.probabilities[label] for label in TUMOR_LABELS)

    @property
    def series_uid(self) -> str | None:
        """The Series Instance UID; None where there is none."""
        return None if self.result.origin is None else self.result.origin.series_instance_uid

    def pictures(self) -> list[Image.Image]:
        """Returns the slice alone, and with its heatmap over it, as far as there are."""
        if self.pixels is None:
            return []
        heatmap = self.heatmap
        alone = Image.fromarray(self.pixels)
        return [alone] if heatmap is None else [alone, overlay(self.pixels, heatmap)]

    def strongest(self) -> str:
        """Returns a sentence on where the heatmap is strongest; empty without a heatmap."""
        heatmap = self.heatmap
        if heatmap is None:
            return ""
        row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
        peak = float(heatmap[row, column])
        height, width = heatmap.shape
        if peak < LEAST:
            return texts.HEATMAP_EMPTY
        return texts.STRONGEST.format(
            peak=texts.percent(peak),
            row=texts.ROWS[3 * int(row) // height],
            column=texts.COLUMNS[3 * int(column) // width],
        )

    def greys(self) -> Greys:
        """Returns the values behind the picture, of the same shape, and the window it is shown with.

        DICOM is decoded again, so that a session need not keep the values.
        """
        assert self.pixels is not None  # noqa: S101 - our own invariant: only shown slices are asked
        plain = Greys(self.pixels.astype(np.float64), 0.0, 255.0)
        found = None if self.source is None else self.source.greys(self.frame or 1)
        if found is None:
            return plain
        height, width = self.pixels.shape
        values = Image.fromarray(found.values.astype(np.float32))
        if values.size != (width, height):
            values = values.resize((width, height), Image.Resampling.BILINEAR)
        return replace(found, values=np.asarray(values, np.float64))


@dataclass(slots=True, eq=False)
class Upload:
    """Holds slices that a visitor gave; the classifier takes it as their holder."""

    given: Holder | InputFile
    shown: list[ShownSlice] = field(default_factory=list)
    _read: Slice | None = None

    @property
    def name(self) -> str:
        """The name of the file, as the visitor calls it."""
        return self.given.name

    @property
    def path(self) -> str | None:
        """The same, for results."""
        return self.given.path

    @property
    def frames(self) -> int:
        """The number of its slices."""
        return 1 if isinstance(self.given, InputFile) else self.given.frames

    @property
    def done(self) -> bool:
        """True once all of its slices are answered."""
        return len(self.shown) == self.frames

    @property
    def dicom(self) -> dicom.DicomImage | None:
        """The DICOM object; None for others."""
        return self.given if isinstance(self.given, dicom.DicomImage) else None

    @property
    def alone(self) -> bool:
        """True for a picture, which is answered by itself unless the visitor says whose it is."""
        return self.untold and self.frames == 1

    @property
    def untold(self) -> bool:
        """True for pictures and volumes, which do not say whose they are."""
        return self.dicom is None and not isinstance(self.given, Unreadable)

    @property
    def lacks_reader(self) -> bool:
        """True where the package that reads the file is not installed."""
        return isinstance(self.given, Unreadable) and isinstance(self.given.error, ImportError)

    def read(self, number: int) -> Slice:
        """Returns the slice of this number, from 1."""
        given = self.given
        self._read = read(given) if isinstance(given, InputFile) else given.read(number)
        return self._read

    def origin(self, number: int) -> Origin | None:
        """Returns where the slice of this number stands in a DICOM object or volume; None for pictures."""
        return None if isinstance(self.given, InputFile) else self.given.origin(number)

    def answer(self, service: PageService) -> None:
        """Classifies the next slice."""
        number = len(self.shown) + 1
        (result,) = service.classifier.predict_many([Part(self, number)], thresholds=service.thresholds)
        read, self._read = self._read, None
        shown = ShownSlice(self.name, result, number if self.frames > 1 else None)
        if read is not None:
            height, width = read.pixels.shape
            usable = isinstance(result, Prediction) and result.reason is None
            shown = replace(
                shown,
                size=(width, height),
                pixels=_fitted(read.pixels),
                cautions=look(read.pixels) if usable else (),
                source=self.dicom,
            )
        self.shown.append(shown)


@dataclass(frozen=True, slots=True)
class Taken:
    """An uploaded file: what it holds, which is several things where it is an archive.

    Files that are no images are passed over and counted by kind: those in an archive, or the file itself,
    which is then `stray` and counts only where nothing else is given.
    """

    uploads: list[Upload]
    passed_over: Counter[str] = field(default_factory=Counter)
    stray: bool = False


def taken(name: str, data: bytes, service: PageService, *, room: int) -> Taken:
    """Finds out what an upload holds, and decodes nothing; one with more slices than `room` is refused."""
    file = replace(
        InputFile.of(name, data, name),
        most_bytes=service.maximum_megabytes * MEBIBYTE,
        most_pixels=service.maximum_pixels,
    )
    kind = kind_of(data[:START])
    if kind is not Kind.ZIP and not is_image(name, kind):
        return Taken([Upload(given) for given in opened([file])], Counter([kind_by_name(name)]), stray=True)
    found = Taken([])
    with quiet_readers():
        for given in opened([file], passed_over=found.passed_over):
            found.uploads.append(Upload(given))
            room -= found.uploads[-1].frames
            if room < 0:
                return refused(name, texts.TOO_MANY_SLICES.format(most=service.maximum_slices))
    return found


def refused(name: str, why: str) -> Taken:
    """Returns a file that is not read, with the reason."""
    return Taken([Upload(Unreadable(name, name, UnreadableImage(f"{name}: {why}")))])


def _fitted(values: npt.NDArray[Value]) -> npt.NDArray[Value]:
    """Returns a picture no larger than `LONGEST_SIDE`."""
    if max(values.shape) <= LONGEST_SIDE:
        return values
    return np.asarray(fitted(Image.fromarray(values), LONGEST_SIDE), values.dtype)
