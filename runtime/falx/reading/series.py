"""Finds the studies in folders, files or what a caller has: their series, with the slices in order.

docs/studies.md says which slices make a study and a series, in which order, and what becomes of places shown
again and of UIDs that an anonymiser made afresh; what is no diagnostic image of a head is not used
(`falx.reading.set_aside`), and said so. Pictures without tags are refused unless the caller says that all is
of one patient. Nothing is left out without a word.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from falx import words
from falx.errors import ImageNotFound, UnreadableImage
from falx.progress import Progress, watched
from falx.reading import dicom, files, set_aside, tags
from falx.reading.input_file import InputFile
from falx.reading.quiet import quiet_readers
from falx.reading.sniffing import is_dataset
from falx.reading.source import Source, describe
from falx.reading.tags import Geometry, SeriesKind
from falx.reading.volume import Volume
from falx.slices.reasons import Reason, reason_of
from falx.slices.slice import Holder, Part, Unreadable

if TYPE_CHECKING:
    from falx.slices.slice import Origin

PARALLEL: Final = math.cos(math.radians(5))
"""Planes whose normals are within 5 degrees are one plane: scanners round what they write."""

SAME_MM: Final = 0.01
"""Positions nearer than this are the same."""

ALIGNED_MM: Final = 1.0
"""The first pixels of the slices of one series lie on a line across their plane, as exactly as this."""

FRESH: Final = 3
"""This many files of UIDs of their own, in a row, are one series whose UIDs were made afresh."""

DICOM_SUFFIX: Final = ".dcm"

ONE_PATIENT: Final = "one_patient=True"
"""The words of a caller in Python; the command line puts its own option in their place."""

HOLE: Final = 1.6
"""A distance this much longer than the middle one of a series says that a slice between is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Slices that belong together, in order.

    Attributes:
        sources: what `Classifier.predict_many` takes for each slice; empty in a study that was answered.
        positions_mm: of each slice along the normal of their plane, rising towards the head, the back or the
            left; None where they are unknown: the slices are then in the order of their numbers or names.
        uid: the Series Instance UID; None where there is none, or one for each slice.
        plane: `axial`, `coronal` or `sagittal`; None where it is unknown or oblique.
        sequence: `T1`, `T1C+`, `T2`, `FLAIR`, `PD` or `DWI`; None where it is unknown.
        layout: where each slice lies in the patient; empty where this is unknown.
        frame_of_reference: the UID within which layouts can be compared; None where there is none.
        notes: what else a reader must know, such as duplicates that were left out; sentences.

    Raises:
        ValueError: the positions fall, or sources, positions and layout differ in number.
    """

    sources: tuple[Source, ...] = ()
    positions_mm: tuple[float, ...] | None = None
    uid: str | None = None
    plane: str | None = None
    sequence: str | None = None
    layout: tuple[Geometry, ...] = ()
    frame_of_reference: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at = self.positions_mm
        counts = {len(items) for items in (self.sources, at or (), self.layout) if items}
        if len(counts) > 1:
            raise ValueError(f"expected as many sources as positions and places, got {sorted(counts)}")
        if at is not None and any(b < a for a, b in pairwise(at)):
            raise ValueError("expected positions that rise; sort the slices by position")

    @property
    def name(self) -> str:
        """Plane and sequence for people, such as `axial T1C+`; empty where neither is known."""
        return " ".join(part for part in (self.plane, self.sequence) if part)


@dataclass(frozen=True, slots=True)
class NotUsed:
    """Slices that decide nothing; the UID of their series is None where there is none, or several."""

    uid: str | None
    slices: int
    reason: Reason

    def to_dict(self) -> dict[str, str | int | None]:
        """Returns the series as plain JSON values."""
        about = {"code": self.reason.code, "message": self.reason.message}
        return {"series_instance_uid": self.uid, "slices": self.slices, **about}


@dataclass(frozen=True, slots=True)
class Gathering:
    """A study before it is classified.

    Attributes:
        uid: the Study Instance UID; None where there is none, or one for each file.
        path: as it was given; None where it was none.
        notes: what else a reader must know about the whole; sentences.
        files: the DICOM files that hold its slices, those that are not used too.
    """

    series: tuple[Series, ...]
    not_used: tuple[NotUsed, ...] = ()
    uid: str | None = None
    path: str | None = None
    notes: tuple[str, ...] = ()
    files: tuple[InputFile, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """The slices of all series, one after the other."""
        return tuple(source for one in self.series for source in one.sources)


@dataclass(slots=True)
class _FoundSlice:
    """One slice, and what decides where it belongs.

    `study` and `series` tell studies and series apart: their UIDs, or what stands for them; `joined` says
    that its UIDs were its own, and those of its neighbours count instead.
    """

    holder: dicom.DicomImage
    source: Part
    origin: Origin
    place: Geometry | None
    number: float
    kind: SeriesKind
    frame_of_reference: str | None
    patient: tuple[str, ...] = field(repr=False)
    visit: tuple[str, ...] = field(repr=False)
    series_number: float | None
    refused: Reason | None
    study: object
    series: object
    joined: bool = False


@dataclass(slots=True)
class _SliceGroup:
    """Slices that can stand in one series."""

    key: object
    found: list[_FoundSlice] = field(default_factory=list)
    seen: set[tuple[object, ...]] = field(default_factory=set)
    copies: int = 0

    @property
    def first(self) -> _FoundSlice:
        return self.found[0]

    @property
    def shown(self) -> Counter[int]:
        """Returns how often each place is shown; empty where the positions are unknown."""
        at = Counter(round(one.place.position_mm / SAME_MM) for one in self.found if one.place is not None)
        return at if len(at) > 1 or len(self.found) == 1 else Counter()

    def takes(self, one: _FoundSlice, *, aligned: bool) -> bool:
        """Returns whether a slice belongs here by kind and plane; `aligned`: by its corner too."""
        place, other = self.first.place, one.place
        if not self.first.kind.alike(one.kind):
            return False
        if place is None or other is None:
            return place is other
        if sum(a * b for a, b in zip(place.normal, other.normal, strict=True)) < PARALLEL:
            return False
        if not aligned:
            return True
        apart = [a - b for a, b in zip(place.corner, other.corner, strict=True)]
        along = sum(a * n for a, n in zip(apart, place.normal, strict=True))
        aside = (a - along * n for a, n in zip(apart, place.normal, strict=True))
        return math.hypot(*aside) <= ALIGNED_MM

    def add(self, one: _FoundSlice) -> None:
        """Adds a slice, if it is not there yet."""
        uid = one.origin.sop_instance_uid
        # The UID alone is not enough: who removes names from files sometimes gives all of them one.
        at = None if one.place is None else round(one.place.position_mm / SAME_MM)
        identity = uid, one.source.number, at, one.number
        if uid is not None and identity in self.seen:
            self.copies += 1
            return
        self.seen.add(identity)
        self.found.append(one)


@dataclass(slots=True)
class _Things:
    """The things that were found, by what they are.

    Failures are also the paths of what is named as DICOM and is none: whoever reads them says what is wrong.
    """

    slices: list[_FoundSlice] = field(default_factory=list)
    volumes: list[Holder] = field(default_factory=list)
    pictures: list[Source] = field(default_factory=list)
    failures: list[Source] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


def gather(
    source: str | os.PathLike[str] | InputFile | Iterable[Source | Holder],
    *,
    study: str | None = None,
    one_patient: bool = False,
    volume: int = 1,
    progress: Progress | None = None,
) -> Gathering:
    """Finds the slices of one study, reads their tags, and puts them in order; see `gather_all`.

    Raises UnreadableImage where there is not exactly one study.
    """
    studies = gather_all(source, study=study, one_patient=one_patient, volume=volume, progress=progress)
    return only(studies, source)


def only(studies: Iterable[Gathering], source: object) -> Gathering:
    """Returns the one study that `gather_all` found in a source; raises UnreadableImage for several."""
    found = list(studies)
    if len(found) == 1:
        return found[0]
    each = ", ".join(one.uid or one.path or "one without UID" for one in found)
    raise UnreadableImage(
        f"{_called(source)}: expected one study, got {len(found)}: {each}; name one, or give each by itself"
    )


def gather_all(
    source: str | os.PathLike[str] | InputFile | Iterable[Source | Holder],
    *,
    study: str | None = None,
    one_patient: bool = False,
    volume: int = 1,
    progress: Progress | None = None,
) -> Iterator[Gathering]:
    """Finds the studies in what a caller gives, one after the other.

    Args:
        source: a folder, a file, or several files, folders, pydicom Datasets and volumes.
        study: the Study Instance UID of the study that is meant, where there are several.
        one_patient: whether what has no tags is of one patient: pictures in order, and volumes.
        volume: which volume to take of a file that holds several, from 1.
        progress: is called with how many files were opened, and None.

    Yields:
        At least one study: those of DICOM in the order in which they were found, then each volume, then what
        could not be read where it may belong to any of several.

    Raises:
        ImageNotFound: the path leads to nothing, or there is no image in it.
        DicomUnavailable, VolumeUnavailable: the package that reads these files is not installed.
        UnreadableImage: there is no study of that UID, or there are pictures that nothing says to be of one
            patient.
    """
    path = source.path if isinstance(source, InputFile) else None
    path = describe(source) if isinstance(source, str | os.PathLike) else path
    given: Iterable[Source | Holder] = (
        [source] if isinstance(source, str | os.PathLike | InputFile) else source
    )
    things = _things(given, volume, progress)
    _refuse_nothing(things, describe(source) if isinstance(source, str | os.PathLike) else None)
    if study is not None:
        own = [one for one in things.slices if one.origin.study_instance_uid == study]
        if not own:
            raise UnreadableImage(f"{_called(source)}: there is no study {study} in it")
        things = replace(things, slices=own, volumes=[], pictures=[])
    if not (one_patient or things.slices or things.volumes) and len(things.pictures) > 1:
        raise UnreadableImage(
            f"{_called(source)}: nothing says that {len(things.pictures)} pictures without tags are of one "
            f"patient; if they are, and in order, say so with {ONE_PATIENT}"
        )
    for part in _split(things, one_patient=one_patient):
        alone = part.volumes[0].path if len(part.volumes) == 1 and not part.slices else None
        yield _study(part, alone or path, one_patient=one_patient)


def _called(source: object) -> str:
    return describe(source) if isinstance(source, str | os.PathLike | InputFile) else "these files"


def _refuse_nothing(things: _Things, path: str | None) -> None:
    """Raises where a path leads to no image at all, and where what reads the files is not installed.

    Neither a slip of the pen nor a missing package makes an examination unclear.
    """
    if path is not None:
        try:
            Path(path).stat()
        except FileNotFoundError as error:
            raise ImageNotFound(f"{path}: no such file") from error
        except (OSError, ValueError):
            return
    if things.slices or things.volumes:
        return
    alone = path is not None and len(things.failures) == 1 and not things.pictures
    for failure in things.failures:
        if isinstance(failure, Part) and isinstance(failure.holder, Unreadable):
            why = failure.holder.error
            if isinstance(why, ImportError) or (alone and isinstance(why, ImageNotFound)):
                raise why


def _things(given: Iterable[Source | Holder], volume: int, progress: Progress | None) -> _Things:
    things = _Things()
    # Quiet for all files at once: for each, it would take a third of the time.
    with quiet_readers():
        for holder in watched(_holders(given, volume, things.passed_over), progress):
            if isinstance(holder, Unreadable):
                things.failures.append(Part(holder, 1))
            elif isinstance(holder, dicom.DicomImage):
                things.slices += _slices(holder)
            elif isinstance(holder, InputFile):
                named = things.failures if holder.name.lower().endswith(DICOM_SUFFIX) else things.pictures
                named.append(holder.path if holder.on_disk and holder.path else holder)
            elif isinstance(holder, Holder) and holder.frames > 1:
                things.volumes.append(holder)
            else:
                things.pictures.append(Part(holder, 1) if isinstance(holder, Holder) else holder)
    return things


def _holders(
    given: Iterable[Source | Holder], volume: int, passed_over: Counter[str]
) -> Iterator[Source | Holder]:
    """Yields what holds slices, and plain pictures."""
    for item in given:
        if is_dataset(item):
            yield dicom.open_dataset(item)
        elif isinstance(item, InputFile | str | os.PathLike):
            named = item if isinstance(item, InputFile) else describe(item)
            yield from files.opened([named], volume=volume, passed_over=passed_over)
        else:
            yield item


def _slices(holder: dicom.DicomImage) -> Iterator[_FoundSlice]:
    dataset = holder.dataset
    for number in range(1, holder.frames + 1):
        origin = holder.origin(number)
        series_number = tags.number(dataset, "SeriesNumber")
        yield _FoundSlice(
            holder=holder,
            source=Part(holder, number),
            origin=origin,
            place=tags.geometry(dataset, number),
            number=tags.instance_number(dataset),
            kind=tags.kind(dataset, number),
            frame_of_reference=tags.uid(dataset, "FrameOfReferenceUID"),
            patient=tags.patient(dataset),
            visit=tags.visit(dataset),
            series_number=series_number,
            refused=tags.refusal(dataset, number),
            study=origin.study_instance_uid,
            series=origin.series_instance_uid or series_number,
        )


def _split(things: _Things, *, one_patient: bool) -> list[_Things]:
    """Returns one part for each study, and one for what could not be read where there are several."""
    _join(things.slices)
    known = {(one.patient, one.study) for one in things.slices if one.study is not None and any(one.patient)}
    by_study: dict[object, list[_FoundSlice]] = {}
    for one in things.slices:
        own = [(patient, uid) for patient, uid in known if one.study in (uid, None)]
        if len(own) == 1 and (one.study is None or not any(one.patient)):
            # Without a UID, a slice is of the only study that there is; without a patient, of its study's.
            one.patient, one.study = own[0]
        by_study.setdefault((one.patient, one.study), []).append(one)
    parts = [_Things(slices=own) for own in by_study.values()]
    if not one_patient:
        parts += [_Things(volumes=[volume]) for volume in things.volumes]
    elif things.volumes and len(parts) != 1:
        parts.append(_Things(volumes=things.volumes))
    elif things.volumes:
        parts[0].volumes = things.volumes
    if not parts or (one_patient and len(parts) > 1 and things.pictures):
        parts.append(_Things())
    for part in parts[-1:] if one_patient else parts:
        part.pictures = things.pictures
    parts[0].passed_over = things.passed_over
    if len(parts) == 1:
        parts[0].failures = things.failures
    elif things.failures:
        parts.append(_Things(failures=things.failures))
    return parts


def _join(slices: Sequence[_FoundSlice]) -> None:
    """Puts files together that have UIDs of their own and agree in all else: an anonymiser made these."""
    for level in ("study", "series"):
        counts = Counter((one.study, getattr(one, level)) for one in slices)
        groups: list[_SliceGroup] = []
        for one in slices:
            if one.place is not None and counts[one.study, getattr(one, level)] == 1:
                _put(groups, one, (one.patient, one.visit, one.series_number), aligned=True)
        for group in groups:
            if len(group.shown) >= FRESH:
                for one in group.found:
                    setattr(one, level, ("joined", one.series_number if level == "series" else None))
                    one.joined = True


def _put(groups: list[_SliceGroup], one: _FoundSlice, key: object, *, aligned: bool = False) -> None:
    """Adds a slice to the group that it belongs to, or to a new one."""
    for group in groups:
        if group.key == key and group.takes(one, aligned=aligned):
            group.add(one)
            return
    groups.append(_SliceGroup(key))
    groups[-1].add(one)


def _study(things: _Things, path: str | None, *, one_patient: bool) -> Gathering:
    groups: list[_SliceGroup] = []
    for one in things.slices:
        _put(groups, one, (one.study, one.series, one.refused))
    with quiet_readers():
        not_used, used = _set_aside(groups)
    series = [_ordered(group) for group in used] + [_volume(volume) for volume in things.volumes]
    if things.pictures and (one_patient or (not series and not not_used)):
        series.append(Series(sources=tuple(things.pictures)))
    elif things.pictures:
        not_used.append(NotUsed(None, len(things.pictures), reason_of("pictures")))
    if things.failures:
        unknown = "What could not be read belongs to no known series."
        series.append(Series(sources=tuple(things.failures), notes=(unknown,)))
    notes = []
    if any(one.joined for one in things.slices):
        notes.append("Files with UIDs of their own were put together by patient, day and geometry.")
    if things.passed_over:
        kinds = (f"{count} {kind}" for kind, count in things.passed_over.most_common())
        notes.append(f"Passed over in the folder: {', '.join(kinds)}.")
    uids = {one.origin.study_instance_uid for one in things.slices}
    uid = next(iter(uids)) if len(uids) == 1 else None
    own = dict.fromkeys(one.holder.file for one in things.slices if one.holder.file)
    return Gathering(tuple(series), tuple(not_used), uid, path, tuple(notes), tuple(own))


def _set_aside(groups: Sequence[_SliceGroup]) -> tuple[list[NotUsed], list[_SliceGroup]]:
    """Returns which groups of slices are not used, and which are."""
    scanned: dict[object, list[_SliceGroup]] = {}
    for group in groups:
        first = group.first
        scanned.setdefault((first.study, first.series, first.series_number), []).append(group)
    whole = any(len(group.shown) >= set_aside.LEAST_PLACES for group in groups)
    not_used: dict[tuple[str | None, Reason], int] = {}
    used = []
    for members in scanned.values():
        b_values = {b for group in members if (b := group.first.kind.b_value) is not None}
        times = {group.first.kind.time_point for group in members} - {None}
        planes: Counter[str] = Counter()
        for group in members:
            if group.first.place is not None:
                planes[group.first.origin.plane or "oblique"] += len(group.shown)
        for group in members:
            reason = (
                group.first.refused
                or set_aside.by_tags(group.first.holder.dataset, group.first.source.number, b_values)
                or set_aside.by_planes(planes, numbered=members[0].first.series_number is not None)
                or set_aside.by_places(group.shown, len(times), whole=whole)
            )
            if reason is None:
                used.append(group)
            else:
                key = _agreed([one.origin.series_instance_uid for one in group.found]), reason
                not_used[key] = not_used.get(key, 0) + len(group.found)
    return [NotUsed(uid, count, reason) for (uid, reason), count in not_used.items()], used


def _ordered(group: _SliceGroup) -> Series:
    """Returns the slices of a group, each place once, in order."""
    found = sorted(group.found, key=lambda one: (one.number, one.source.number))
    known = [one for one in found if one.place is not None] if group.shown else []
    copies = group.copies
    notes = []
    if known:
        known.sort(key=_at)
        first = known[:1]
        for one in known:
            if _at(one) - _at(first[-1]) > SAME_MM:
                first.append(one)
        copies += len(known) - len(first)
        found = first
    if copies:
        which = "its place is" if copies == 1 else "their places are"
        notes.append(f"{words.counted(copies)} left out: {which} shown already.")
    if known:
        steps = [_at(after) - _at(before) for before, after in pairwise(found)]
        usual = median(steps) if steps else 0.0
        if missing := sum(step > HOLE * usual for step in steps):
            notes.append(f"Between its slices {words.counted(missing)} or more seem to be missing.")
    elif len(found) > 1:
        notes.append("The positions of the slices are unknown; they are in the order of their numbers.")
    layout = tuple(one.place for one in found if one.place is not None and any(one.place.right))
    return Series(
        sources=tuple(one.source for one in found),
        positions_mm=tuple(map(_at, found)) if known else None,
        uid=_agreed([one.origin.series_instance_uid for one in found]),
        plane=_agreed([one.origin.plane for one in found]),
        sequence=_agreed([one.origin.sequence for one in found]),
        layout=layout if known and len(layout) == len(found) else (),
        frame_of_reference=_agreed([one.frame_of_reference for one in found]),
        notes=tuple(notes),
    )


def _at(one: _FoundSlice) -> float:
    assert one.place is not None  # noqa: S101 - our own invariant: asked only where positions are known
    return one.place.position_mm


def _volume(found: Holder) -> Series:
    series = Series(sources=tuple(Part(found, number) for number in range(1, found.frames + 1)))
    if not isinstance(found, Volume):
        return series
    return replace(
        series, positions_mm=found.positions_mm, plane=found.plane, layout=found.layout, notes=found.notes
    )


def _agreed(values: Sequence[str | None]) -> str | None:
    return values[0] if len(set(values)) == 1 else None
