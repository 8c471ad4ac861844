"""From a folder, or what a caller has, to the series of a study with their slices in order.

Slices of one series stand in one row where Series Instance UID, plane, echo time and size agree: a
series of two echoes or of three planes becomes several. They are sorted by position along the normal
of their plane (Image Position Patient; file names and Instance Number are often in another order), and
where there is no position, or the same for all, by Instance Number and then as they came. The same
object twice is taken once. Nothing is left out without a note.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final

import numpy as np

from falx import words
from falx.errors import UnreadableImage
from falx.reading import dicom, files, tags
from falx.reading.input_file import InputFile
from falx.reading.quiet import quiet_readers
from falx.reading.sniffing import is_dataset
from falx.reading.source import Source, describe
from falx.reading.tags import Geometry
from falx.reading.volume import Volume
from falx.slices.slice import Holder, Origin, Part, Unreadable

__all__ = ["Gathering", "Row", "gather"]

PARALLEL: Final = float(np.cos(np.radians(5)))
"""Planes whose normals are within 5 degrees are one plane: scanners round what they write."""

SAME_MM: Final = 0.01
"""Positions nearer than this are the same."""

HOLE: Final = 1.6
"""A distance this much longer than the middle one of a series says that a slice between is missing."""


@dataclass(frozen=True, slots=True)
class Row:
    """The slices of a series, in order; the attributes are those of `falx.study.Series`.

    Attributes:
        sources: what `Classifier.predict_many` takes: paths, parts, data sets.
    """

    sources: tuple[Source, ...]
    positions_mm: tuple[float, ...] | None = None
    uid: str | None = None
    plane: str | None = None
    sequence: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gathering:
    """A study before it is classified.

    Attributes:
        rows: its series.
        uid: the Study Instance UID; None where there is none.
        path: as it was given; None where it was none.
    """

    rows: tuple[Row, ...]
    uid: str | None
    path: str | None

    @property
    def sources(self) -> tuple[Source, ...]:
        """The slices of all series, one after the other."""
        return tuple(source for row in self.rows for source in row.sources)


@dataclass(slots=True)
class _Found:
    """One slice, and what decides where it belongs."""

    source: Part
    origin: Origin
    place: Geometry | None
    number: float
    kind: tuple[object, ...]

    def identity(self) -> tuple[object, ...] | None:
        """The same for the same slice; None where nothing tells. The UID alone is not enough: who
        removes names from files sometimes gives all of them one.
        """
        if self.origin.sop_instance_uid is None:
            return None
        at = None if self.place is None else round(self.place.position_mm / SAME_MM)
        return self.origin.sop_instance_uid, self.source.number, at, self.number


@dataclass(slots=True)
class _Group:
    key: tuple[object, ...]
    normal: tuple[float, float, float] | None
    found: list[_Found] = field(default_factory=list)
    seen: set[tuple[object, ...]] = field(default_factory=set)
    duplicates: int = 0

    def add(self, one: _Found) -> None:
        identity = one.identity()
        if identity is not None and identity in self.seen:
            self.duplicates += 1
            return
        if identity is not None:
            self.seen.add(identity)
        self.found.append(one)


def gather(source: str | os.PathLike[str] | Iterable[Source | Holder], *, volume: int = 1) -> Gathering:
    """Find the slices of a study, read their tags, and put them in order.

    Args:
        source: a folder, a file, or several files, folders, pydicom Datasets and volumes.
        volume: which volume to take of a file that holds several, from 1.

    Raises:
        UnreadableImage: there are slices of more than one study; each is answered by itself.
    """
    path = describe(source) if isinstance(source, str | os.PathLike) else None
    given: Iterable[Source | Holder] = [source] if isinstance(source, str | os.PathLike) else source
    groups: list[_Group] = []
    volumes: list[Row] = []
    pictures: list[Source] = []
    failures: list[Part] = []
    for holder in _holders(given, volume):
        if isinstance(holder, Unreadable):
            failures.append(Part(holder, 1))
        elif isinstance(holder, Volume):
            volumes.append(_volume_row(holder))
        elif isinstance(holder, dicom.DicomImage):
            for one in _slices(holder):
                _group_of(groups, one).add(one)
        elif isinstance(holder, InputFile):
            pictures.append(holder.path if holder.on_disk and holder.path else holder)
        elif isinstance(holder, Holder):
            pictures += [Part(holder, number) for number in range(1, holder.frames + 1)]
        else:
            pictures.append(holder)
    studies = {one.origin.study_instance_uid for group in groups for one in group.found} - {None}
    if len(studies) > 1:
        raise UnreadableImage(
            f"{path or 'these files'}: expected one study, got {len(studies)}; give each study by itself"
        )
    rows = [_row(group) for group in groups] + volumes
    if pictures:
        rows.append(Row(tuple(pictures)))
    if failures:
        rows.append(Row(tuple(failures), notes=("What could not be read belongs to no known series.",)))
    return Gathering(tuple(rows), next(iter(studies), None), path)


def _holders(given: Iterable[Source | Holder], volume: int) -> Iterator[Source | Holder]:
    """Returns what holds slices, and plain pictures."""
    for item in given:
        if is_dataset(item):
            yield dicom.open_dataset(item)
        elif isinstance(item, InputFile):
            yield from files.opened([item], volume=volume)
        elif isinstance(item, str | os.PathLike):
            yield from files.opened([describe(item)], volume=volume)
        else:
            yield item


def _slices(holder: dicom.DicomImage) -> Iterator[_Found]:
    dataset = holder.dataset
    for number in range(1, holder.frames + 1):
        with quiet_readers():
            yield _Found(
                source=Part(holder, number),
                origin=holder.origin(number),
                place=tags.geometry(dataset, number),
                number=tags.instance_number(dataset),
                kind=tags.kind(dataset, number),
            )


def _group_of(groups: list[_Group], one: _Found) -> _Group:
    key = (one.origin.study_instance_uid, one.origin.series_instance_uid, *one.kind)
    normal = None if one.place is None else one.place.normal
    for group in groups:
        if group.key == key and _parallel(group.normal, normal):
            return group
    groups.append(_Group(key, normal))
    return groups[-1]


def _parallel(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return float(np.dot(one, other)) >= PARALLEL


def _row(group: _Group) -> Row:
    found = sorted(group.found, key=lambda one: (one.number, one.source.number))
    positions = [one.place.position_mm for one in found if one.place is not None]
    notes = [f"{words.counted(group.duplicates)} left out: it is there twice."] if group.duplicates else []
    known = bool(positions) and (len(found) == 1 or max(positions) - min(positions) > SAME_MM)
    if known:
        order = sorted(range(len(found)), key=positions.__getitem__)
        found, positions = [found[i] for i in order], [positions[i] for i in order]
        notes += _holes(positions)
    elif len(found) > 1:
        notes.append("The positions of the slices are unknown; they are in the order of their numbers.")
    return Row(
        sources=tuple(one.source for one in found),
        positions_mm=tuple(positions) if known else None,
        uid=found[0].origin.series_instance_uid,
        plane=_agreed([one.origin.plane for one in found]),
        sequence=_agreed([one.origin.sequence for one in found]),
        notes=tuple(notes),
    )


def _holes(positions: list[float]) -> list[str]:
    """Notes on slices that seem to be missing, and on places with several."""
    steps = [after - before for before, after in pairwise(positions)]
    apart = [step for step in steps if step > SAME_MM]
    usual = median(apart) if apart else 0.0
    missing = sum(step > HOLE * usual for step in apart)
    notes = [f"Between its slices {words.counted(missing)} or more seem to be missing."] if missing else []
    if len(apart) < len(steps):
        notes.append("At some positions there are several slices.")
    return notes


def _volume_row(found: Volume) -> Row:
    numbers = range(1, found.frames + 1)
    return Row(
        sources=tuple(Part(found, number) for number in numbers),
        positions_mm=found.positions_mm,
        plane=found.plane,
        notes=found.notes,
    )


def _agreed(values: list[str | None]) -> str | None:
    return values[0] if len(set(values)) == 1 else None
