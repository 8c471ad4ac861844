"""The slices that a visitor gave, put in order, and summed up where they are one examination."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from falx.app import texts
from falx.app.uploads import ShownSlice, Upload
from falx.errors import UnreadableImage
from falx.reading import dicom
from falx.reading.series import Series, gather
from falx.slices.slice import Part
from falx.study import Study, sum_up

__all__ = ["Arrangement", "arrange"]


@dataclass(frozen=True)
class Arrangement:
    """The slices that are answered, in order.

    Attributes:
        shown: The slices of the study, series by series, each by position where positions are known; what
            is there twice is left out. Then the pictures that belong to no study.
        study: The decision on the study; None without one, and where slices belong to several studies.
        trouble: Why the slices are not decided on together, a sentence; empty where they are.
        loose: How many pictures, given in any order, carry no tags that say whose they are.
    """

    shown: tuple[ShownSlice, ...] = ()
    study: Study | None = None
    trouble: str = ""
    loose: int = 0

    @property
    def first(self) -> int:
        """The index of the slice to look at first: the surest key slice of a tumour, or the one with the
        strongest evidence of a tumour.
        """
        study = self.study
        carriers = () if study is None else study.verdict.carriers
        indices = carriers or range(len(self.shown))
        return max(indices, key=lambda index: self.shown[index].evidence or 0.0)

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The number of each slice: from 1, or `2.1` for the first of the second series; then the pictures
        that belong to no study.
        """
        series = () if self.study is None else self.study.series
        called = [
            str(number) if len(series) == 1 else f"{part}.{number}"
            for part, one in enumerate(series, start=1)
            for number in range(1, len(one.results) + 1)
        ]
        alone = range(1, len(self.shown) - len(called) + 1)
        return (*called, *(texts.numbered_picture(n) if called else str(n) for n in alone))


def arrange(uploads: Iterable[Upload], *, one_patient: bool = False) -> Arrangement:
    """Puts slices in order, and sums them up.

    Args:
        uploads: The files, some of whose slices may not be answered yet.
        one_patient: Whether pictures without tags are one examination of one patient.
    """
    named = sorted(uploads, key=lambda upload: _natural(upload.name))
    # A file that cannot be read counts in the study of the others, if they are one.
    loose = [upload for upload in named if not isinstance(upload.source, dicom.DicomImage)]
    examined = one_patient or len(loose) < len(named)
    alone = [] if one_patient else [one for one in loose if one.source is None or not examined]
    together = [upload for upload in named if upload not in alone]
    try:
        found = gather((upload.source or upload for upload in together), one_patient=True)
    except UnreadableImage as error:
        message = str(error).removeprefix("these files: ")
        every = tuple(shown for upload in named for shown in upload.shown)
        return Arrangement(every, None, f"{message[:1].upper()}{message[1:]}.", len(loose))
    holders = {id(upload.source or upload): upload for upload in named}
    series, shown = [], []
    for one in found.series:
        there = [(index, own) for index, source in enumerate(one.sources) if (own := _shown(holders, source))]
        if there:
            series.append(_reduced(one, [index for index, _ in there]))
            shown += [own for _, own in there]
    left_out = sum(len(upload.shown) for upload in together) - len(shown)
    study = None
    if shown and (len(shown) > 1 or left_out):
        study = sum_up(replace(found, series=tuple(series)), [own.result for own in shown])
    # Where nothing is used, each slice is shown with its own answer.
    shown += [own for upload in (alone if shown else named) for own in upload.shown]
    return Arrangement(tuple(shown), study, "", sum(upload.source is None for upload in loose))


def _shown(holders: dict[int, Upload], source: object) -> ShownSlice | None:
    """Returns the answer for a source of `gather`; None where it is not answered yet."""
    holder, number = (source.holder, source.number) if isinstance(source, Part) else (source, 1)
    answered = holders[id(holder)].shown
    return answered[number - 1] if number <= len(answered) else None


def _reduced(series: Series, indices: Sequence[int]) -> Series:
    """Returns a series of the slices of these indices alone."""
    at, layout = series.positions_mm, series.layout
    return replace(
        series,
        sources=tuple(series.sources[i] for i in indices),
        positions_mm=None if at is None else tuple(at[i] for i in indices),
        layout=tuple(layout[i] for i in indices) if layout else (),
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Returns a key by which `slice 10` comes after `slice 9`."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
