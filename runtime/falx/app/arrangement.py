"""From the files of a visitor to the series of a study, by `falx.reading.series` and `falx.study`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from falx.app.uploads import ShownSlice, Upload
from falx.errors import UnreadableImage
from falx.reading.series import Row, gather
from falx.slices.slice import Part
from falx.study import TUMOR, Series, Study, sum_up

__all__ = ["Arrangement", "arrange", "numbers"]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The slices that are answered, in order.

    Attributes:
        shown: those of a series stand together, by their positions where these are known; what is there
            twice is left out.
        study: what they come to; None for a single slice, and where they belong to more than one study.
        trouble: why they come to nothing together, a sentence; empty where they do.
    """

    shown: tuple[ShownSlice, ...] = ()
    study: Study | None = None
    trouble: str = ""

    @property
    def first(self) -> int:
        """Which slice to look at first, from 0: of those that carry the answer the surest, or the strongest
        evidence of a tumour.
        """
        study = self.study
        if study is None or not study.carriers:
            return max(range(len(self.shown)), key=lambda index: self.shown[index].evidence)
        if study.decision == TUMOR:
            return max(study.carriers, key=lambda index: self.shown[index].confidence)
        return max(study.carriers, key=lambda index: self.shown[index].evidence)


def arrange(uploads: Iterable[Upload]) -> Arrangement:
    """Put slices in order, and sum them up."""
    named = sorted(uploads, key=lambda upload: _natural(upload.name))
    try:
        found = gather(upload.source or upload for upload in named)
    except UnreadableImage as error:
        message = str(error).removeprefix("these files: ")
        every = tuple(shown for upload in named for shown in upload.shown)
        return Arrangement(every, None, f"{message[:1].upper()}{message[1:]}.")
    holders = {id(upload.source or upload): upload for upload in named}
    series, shown = [], []
    for row in found.rows:
        there = [(index, one) for index, source in enumerate(row.sources) if (one := _shown(holders, source))]
        if there:
            series.append(_series(row, there))
            shown += [one for _, one in there]
    left_out = sum(len(upload.shown) for upload in named) - len(shown)
    if len(shown) < 2 and not left_out:
        return Arrangement(tuple(shown))
    return Arrangement(tuple(shown), sum_up(series, uid=found.uid))


def numbers(study: Study | None, count: int) -> list[str]:
    """What slices are called: from 1, and where there are several series `2.1`, the first of the second."""
    if study is None or len(study.series) == 1:
        return [str(number + 1) for number in range(count)]
    return [
        f"{part}.{number + 1}"
        for part, series in enumerate(study.series, start=1)
        for number in range(len(series.results))
    ]


def _shown(holders: dict[int, Upload], source: object) -> ShownSlice | None:
    """The answer for what `gather` made of an upload; None where it is not answered yet."""
    holder, number = (source.holder, source.number) if isinstance(source, Part) else (source, 1)
    answered = holders[id(holder)].shown
    return answered[number - 1] if number <= len(answered) else None


def _series(row: Row, there: Sequence[tuple[int, ShownSlice]]) -> Series:
    at = row.positions_mm
    return Series(
        results=tuple(one.result for _, one in there),
        positions_mm=None if at is None else tuple(at[index] for index, _ in there),
        uid=row.uid,
        plane=row.plane,
        sequence=row.sequence,
        notes=row.notes,
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which `slice 10` comes after `slice 9`."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
