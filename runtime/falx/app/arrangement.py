"""The slices that a visitor gave, put in order, and summed up where they are one examination."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, islice, product
from string import ascii_uppercase

from falx.app import texts
from falx.app.uploads import ShownSlice, Upload
from falx.reading.input_file import InputFile
from falx.reading.series import Series, gather_all
from falx.slices.slice import Part
from falx.study import Study, sum_up


@dataclass(frozen=True, slots=True)
class Group:
    """Slices that stand together on the page, those of a study series by series, each by position.

    Their numbers count from 1, or are `2.1` for the first of the second series. One of several studies has a
    letter.
    """

    slices: tuple[ShownSlice, ...]
    study: Study | None = None
    numbers: tuple[str, ...] = ()
    letter: str = ""


@dataclass(frozen=True)
class Arrangement:
    """The slices that are answered: studies, then what no study uses, then pictures that stand by themselves.

    `unsure` says that there are pictures or volumes, which do not say whose they are, among others.
    """

    groups: tuple[Group, ...] = ()
    unsure: bool = False

    @cached_property
    def shown(self) -> tuple[ShownSlice, ...]:
        """All slices."""
        return tuple(shown for group in self.groups for shown in group.slices)

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The number of each slice."""
        return tuple(number for group in self.groups for number in group.numbers)

    @property
    def studies(self) -> list[Study]:
        """The decisions on studies."""
        return [group.study for group in self.groups if group.study is not None]

    @cached_property
    def key_slices(self) -> tuple[int, ...]:
        """The indices of the slices that the decisions on studies rest on."""
        found: list[int] = []
        first = 0
        for group in self.groups:
            if group.study is not None:
                found += [first + index for index in group.study.verdict.carriers]
            first += len(group.slices)
        return tuple(found)

    @property
    def first(self) -> int:
        """The index of the slice to look at first: of the key slices, or all, the likeliest tumour."""
        return max(self.key_slices or range(len(self.shown)), key=lambda i: self.shown[i].evidence or 0.0)


def arrange(uploads: Iterable[Upload], *, one_patient: bool = False) -> Arrangement:
    """Puts the slices that are answered in order, and sums up those of each study.

    With `one_patient`, all that has no tags is one examination of one patient.
    """
    named = sorted(uploads, key=lambda upload: _natural(upload.name))
    # A file that cannot be read counts in the study of the others, if they are one.
    examined = any(upload.dicom or upload.frames > 1 for upload in named)
    # Where a reader is not installed, nothing is said of the examination.
    joined = one_patient and (examined or not any(upload.lacks_reader for upload in named))
    together = [one for one in named if joined or (examined and not one.alone)]
    alone = tuple(shown for upload in named if upload not in together for shown in upload.shown)
    groups = _studies(together, one_patient=one_patient)
    if alone:
        each = range(1, len(alone) + 1)
        groups.append(
            Group(alone, None, tuple(texts.PICTURE.format(number=n) if groups else str(n) for n in each))
        )
    readable = [upload for upload in named if upload.dicom or upload.untold]
    return Arrangement(tuple(groups), len(readable) > 1 and any(upload.untold for upload in readable))


def _studies(uploads: Sequence[Upload], *, one_patient: bool) -> list[Group]:
    """Returns the studies of uploads, and the slices that none of them uses."""
    every = [shown for upload in uploads for shown in upload.shown]
    if len(every) < 2:
        return [Group(tuple(every), None, ("1",))] if every else []
    given = [Part(one, 1) if isinstance(one.given, InputFile) else one.given for one in uploads]
    holders = {
        id(one.holder if isinstance(one, Part) else one): up for one, up in zip(given, uploads, strict=True)
    }
    groups = []
    for found in gather_all(given, one_patient=one_patient):
        series, slices = [], []
        for one in found.series:
            there = [(i, own) for i, source in enumerate(one.sources) if (own := _shown(holders, source))]
            series += [_reduced(one, [i for i, _ in there])] if there else []
            slices += [own for _, own in there]
        if slices or found.not_used:
            study = sum_up(replace(found, series=tuple(series)), [own.result for own in slices])
            groups.append(Group(tuple(slices), study))
    letters = islice(_letters(), len(groups)) if len(groups) > 1 else [""] * len(groups)
    groups = [_numbered(group, letter) for group, letter in zip(groups, letters, strict=True)]
    used = {id(own) for group in groups for own in group.slices}
    why = {one.uid: one.reason.message for group in groups if group.study for one in group.study.not_used}
    left = tuple(
        replace(own, not_used=why.get(own.series_uid, texts.NOT_USED_HINT), cautions=())
        for own in every
        if id(own) not in used
    )
    return [*groups, Group(left, None, (texts.NONE,) * len(left))] if left else groups


def _shown(holders: dict[int, Upload], source: object) -> ShownSlice | None:
    """Returns the answer for a source of a series; None where it is not answered yet."""
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


def _letters() -> Iterator[str]:
    """Gives `A` to `Z`, then `AA`, `AB` and so on."""
    for length in count(1):
        yield from map("".join, product(ascii_uppercase, repeat=length))


def _numbered(group: Group, letter: str) -> Group:
    """Returns a study with a number for each slice, and its letter where there are several."""
    series = () if group.study is None else group.study.series
    numbers = [
        str(number) if len(series) == 1 else f"{part}.{number}"
        for part, one in enumerate(series, start=1)
        for number in range(1, len(one.results) + 1)
    ]
    return replace(group, numbers=tuple(f"{letter} {number}".strip() for number in numbers), letter=letter)


def _natural(name: str) -> list[tuple[int, str]]:
    """Returns a key by which `slice 10` comes after `slice 9`."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
