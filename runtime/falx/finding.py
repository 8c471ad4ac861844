"""Regions that a model marks through neighbouring slices of a head: the evidence that decides on a study.

A model errs on single slices, here and there. It rarely marks the same spot by error in the next slice too,
but it marks a tumour there again. So evidence is measured in millimetres. The *mark* of a spot in a slice is
the heatmap there times the slice's probability of a tumour, 0..1. The *strength* of a spot in a run of
neighbouring slices is the lowest mark of the run times the length of the run, at most `LONGEST_MM`; a spot
has the strength of its strongest run. A spot that every slice marks with 0.8 through 25 mm has 20 mm.

Healthy heads are marked by error at their ends most of all: near the vertex, at the skull base, in the
face and at the sides. `Zone` says which slices decide.

The numbers of this module were chosen on the train and val parts of 68 whole heads (`benchmarks.studies`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from falx.prediction import Failure, Prediction
from falx.reading.series import Series
from falx.slices.preprocessing import SIZE
from falx.words import NO_TUMOR, REJECTED

if TYPE_CHECKING:
    import numpy.typing as npt

    from falx.prediction import Location

    Marks = npt.NDArray[np.float32]
    Indices = npt.NDArray[np.int64]

GRID: Final = 32
"""Spots along each side of a slice: 7 mm each on a field of view of 230 mm, half a cell of the heatmap."""

LONGEST_MM: Final = 40.0
"""A longer run counts as one of this length: otherwise faint marks through a whole head would add up."""

GREATEST_GAP_MM: Final = 10.0
"""Slices further apart than this are not neighbours. Clinical series have 3 to 7 mm."""

LEAST_DIFFERENCE_MM: Final = 3.0
"""Thinner slices are averaged to places of at least this thickness, as the heads are that the rule was
chosen on."""

UNKNOWN_STEP_MM: Final = 5.0
"""The distance between slices whose positions are unknown: the usual one of clinical series."""

TOP_MM: Final = 20.0
BOTTOM_MM: Final = 110.0
FACE_MM: Final = 150.0
"""Depths below the top of the head that bound the middle part of axial series, and the face and neck."""

LEAST_EXTENT_MM: Final = 100.0
"""The outermost slices of a whole head are at least this far apart: an adult's cerebrum is about 93 mm high,
140 mm wide and 167 mm long, and with its cerebellum higher. In a smaller series the ends are unknown."""

SIDE_MM: Final = 22.0
"""Depth below the surface at which the middle part of sagittal and coronal series begins, on either side."""

ROUNDING_MM: Final = 0.01
"""Positions are written with a few digits."""

CONTRADICTED: Final = 0.5
"""The share that remains of a finding where other series of the same head do not show it."""

SHOWN_MM: Final = 3.0
"""The strength from which a series shows a finding, of its own or of another one."""

CONTRAST: Final = "T1C+"
"""The sequence that shows what others may not: no series without contrast agent contradicts it."""


class Zone(IntEnum):
    """Part of a head that a slice lies in."""

    MIDDLE = 0
    """Most of the brain: here evidence decides."""
    END = 1
    """Vertex and skull base: evidence decides nothing, but strong evidence leaves the study unclear."""
    OUTSIDE = 2
    """Face and neck, the outer slices of sagittal and coronal series: evidence weighs nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The marks of the slices of a series: N places, each of one slice or of several thin ones.

    Attributes:
        members: `N` tuples of indices into the results of the series.
        zones: `(N,)` int, the `Zone` of each place.
        strength: `(N, GRID, GRID)` float32, in mm, of runs of any number of places of the middle part.
        lasting: the same of runs of two places or more.
        at_ends: the same as `lasting`, of runs through the middle part and the ends.
        cleared: the share of the usable slices of the middle part that were decided `no_tumor`, 0..1.
    """

    members: tuple[tuple[int, ...], ...]
    zones: npt.NDArray[np.int64]
    strength: Marks
    lasting: Marks
    at_ends: Marks
    cleared: float

    def slices(self, strengths: Marks, least_mm: float) -> tuple[int, ...]:
        """Indices of the slices with a spot of at least this strength, rising."""
        found = [own for own, here in zip(self.members, strengths, strict=True) if here.max() >= least_mm]
        return tuple(sorted(index for own in found for index in own))


def usable(result: Prediction | Failure) -> bool:
    """Returns whether a slice was read and not rejected."""
    return isinstance(result, Prediction) and result.decision != REJECTED


def in_face(at_mm: npt.NDArray[np.float64], plane: str | None) -> npt.NDArray[np.bool_]:
    """Tells which slices of a series lie in face and neck, by their positions; only axial ones can."""
    return (_depths_mm(at_mm) > FACE_MM) & (plane == "axial")


def find(series: Series, results: Sequence[Prediction | Failure]) -> Evidence:
    """Measures what the slices of one series mark, in order.

    Where positions are unknown, slices are taken to be `UNKNOWN_STEP_MM` apart, and all in the middle part.
    """
    known = series.positions_mm is not None
    at = series.positions_mm or [UNKNOWN_STEP_MM * i for i in range(len(results))]
    members = _places([i for i, result in enumerate(results) if usable(result)], at)
    place_mm = np.array([np.mean([at[i] for i in group]) for group in members], np.float64)
    zones = _zones(place_mm, series.plane if known else None)
    means = [np.mean([_marks(results[i]) for i in group], axis=0, dtype=np.float32) for group in members]
    marks = _spread(np.array(means, np.float32))
    first, last = ([at[group[end]] for group in members] for end in (0, -1))
    step = _step(at)
    gaps = [after - before for after, before in zip(first[1:], last[:-1], strict=True)]
    middle = np.where((zones == Zone.MIDDLE)[:, None, None], marks, 0)
    inside = np.where((zones != Zone.OUTSIDE)[:, None, None], marks, 0)
    strength, lasting = _strengths(middle, place_mm, gaps, step)
    inner = [results[i] for own, zone in zip(members, zones, strict=True) if zone == Zone.MIDDLE for i in own]
    cleared = sum(isinstance(one, Prediction) and one.decision == NO_TUMOR for one in inner)
    share = cleared / max(1, len(inner))
    return Evidence(members, zones, strength, lasting, _strengths(inside, place_mm, gaps, step)[1], share)


def tumor_probability(result: Prediction | Failure) -> float:
    """Returns the probability of a tumour of any kind; 0 where a slice was not classified."""
    probabilities = result.probabilities if isinstance(result, Prediction) else None
    return 0.0 if probabilities is None else 1 - probabilities[NO_TUMOR]


def compare(found: Sequence[tuple[Series, Evidence]]) -> list[tuple[Marks, Marks]]:
    """Lets the series of one head confirm and contradict each other.

    Strengths of one spot of the head add up where several series show it. Where other series see the spot
    and none shows it, half of the strength remains; a finding on `T1C+` only another `T1C+` halves.

    Returns:
        `strength` and `lasting` of each series, after the others were asked.
    """
    return [_compared(*one, [*found[:i], *found[i + 1 :]]) for i, one in enumerate(found)]


def _compared(
    series: Series, one: Evidence, others: Sequence[tuple[Series, Evidence]]
) -> tuple[Marks, Marks]:
    places, rows, columns = np.nonzero(one.strength >= SHOWN_MM)
    if not series.layout or not len(places):
        return one.strength, one.lasting
    points = _points(one, series, places, rows, columns)
    added = np.zeros(len(points))
    seen, shows = np.zeros((2, len(points)), bool)
    for other, evidence in others:
        alike = (series.plane, series.sequence) == (other.plane, other.sequence)
        if alike or not other.layout or series.frame_of_reference != other.frame_of_reference:
            continue
        shown = _sampled(evidence, evidence.strength, other, points)
        lasting = _sampled(evidence, evidence.lasting, other, points)
        added += np.where(lasting >= SHOWN_MM, lasting, 0)
        shows |= shown >= SHOWN_MM
        if series.sequence != CONTRAST or other.sequence == CONTRAST:
            seen |= ~np.isnan(shown)
    factor = np.where(seen & ~shows, CONTRADICTED, 1)
    out = []
    for strengths in (one.strength, one.lasting):
        changed = strengths.copy()
        changed[places, rows, columns] = strengths[places, rows, columns] * factor + added
        out.append(changed)
    return out[0], out[1]


def _points(
    one: Evidence, series: Series, places: Indices, rows: Indices, columns: Indices
) -> npt.NDArray[np.float64]:
    """Returns the centres of spots in the patient, `(K, 3)`, in mm."""
    middle = [series.layout[group[len(group) // 2]] for group in one.members]
    corners, rights, downs = (
        np.array([getattr(g, name) for g in middle]) for name in ("corner", "right", "down")
    )
    across, below = ((index + 0.5)[:, None] / GRID for index in (columns, rows))
    points: npt.NDArray[np.float64] = corners[places] + rights[places] * across + downs[places] * below
    return points


def _sampled(
    evidence: Evidence, strengths: Marks, series: Series, points: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Returns the strengths of a series at points or next to them; NaN outside its middle part."""
    out = np.full(len(points), np.nan)
    if not evidence.members:
        return out
    middle = [series.layout[group[len(group) // 2]] for group in evidence.members]
    corners = np.array([one.corner for one in middle])
    padded = np.pad(_spread(strengths), ((1, 1), (0, 0), (0, 0)))
    near = np.max([padded[o : o + len(strengths)] for o in range(3)], axis=0)
    normal = np.array(middle[0].normal)
    off = np.abs((points @ normal)[:, None] - (corners @ normal)[None])
    place = off.argmin(axis=1)
    right, down = np.array(middle[0].right), np.array(middle[0].down)
    offset = points - corners[place]
    column, row = (np.floor(GRID * (offset @ side) / (side @ side)).astype(int) for side in (right, down))
    inside = (off.min(axis=1) <= GREATEST_GAP_MM) & (evidence.zones[place] == Zone.MIDDLE)
    inside &= (column >= 0) & (column < GRID) & (row >= 0) & (row < GRID)
    out[inside] = near[place[inside], row[inside], column[inside]]
    return out


def _places(own: Sequence[int], at: Sequence[float]) -> tuple[tuple[int, ...], ...]:
    """Returns usable slices by place, which those share that are less than `LEAST_DIFFERENCE_MM` apart."""
    groups: list[list[int]] = []
    for index in own:
        if groups and at[index] - at[groups[-1][0]] < LEAST_DIFFERENCE_MM - ROUNDING_MM:
            groups[-1].append(index)
        else:
            groups.append([index])
    return tuple(map(tuple, groups))


def _depths_mm(at_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns how far rising positions lie below the last one; none where there are none."""
    return at_mm[-1:] - at_mm


def _zones(place_mm: npt.NDArray[np.float64], plane: str | None) -> npt.NDArray[np.int64]:
    depth = _depths_mm(place_mm)
    if plane is None or depth.max(initial=0) < LEAST_EXTENT_MM:
        return np.full(len(place_mm), Zone.MIDDLE)
    if plane == "axial":
        ends = np.where(in_face(place_mm, plane), Zone.OUTSIDE, Zone.END)
        return np.where((depth >= TOP_MM) & (depth <= BOTTOM_MM), Zone.MIDDLE, ends)
    deep = np.minimum(depth, depth.max(initial=0) - depth) >= SIDE_MM
    return np.where(deep, Zone.MIDDLE, Zone.OUTSIDE)


def _marks(result: Prediction | Failure) -> Marks:
    """Returns the mark of each spot of a slice, `(GRID, GRID)`; even where the model makes no heatmap."""
    tumor = np.float32(tumor_probability(result))
    location = result.location if isinstance(result, Prediction) else None
    return np.full((GRID, GRID), tumor) if location is None else tumor * _cells(location)


def _cells(location: Location) -> Marks:
    """Returns the heatmap at the centres of spots; 0 outside what the model saw."""
    frame, (height, width) = location.frame, location.shape
    left, top, across, below = frame.content
    scale = location.cells.shape[0] / SIZE
    columns = (np.arange(GRID) + 0.5) * width / GRID - frame.left
    rows = (np.arange(GRID) + 0.5) * height / GRID - frame.top
    inside = np.outer((rows >= 0) & (rows < frame.height), (columns >= 0) & (columns < frame.width))
    x = (columns / frame.width * across + left) * scale
    y = (rows / frame.height * below + top) * scale
    last = location.cells.shape[0] - 1
    found = location.cells[np.ix_(y.clip(0, last).astype(int), x.clip(0, last).astype(int))]
    return np.where(inside, found, np.float32(0))


def _spread(spots: Marks) -> Marks:
    """Returns the highest value of each spot and its eight neighbours: tumours do not stand upright."""
    if not len(spots):
        return np.zeros((0, GRID, GRID), np.float32)
    wide = np.pad(spots, ((0, 0), (1, 1), (1, 1)))
    tall = np.max([wide[:, o : o + GRID] for o in range(3)], axis=0)
    spread: Marks = np.max([tall[:, :, o : o + GRID] for o in range(3)], axis=0)
    return spread


def _step(at: Sequence[float]) -> float:
    """Returns the length that one place stands for, in mm; rejected slices lie between places too."""
    every = [np.mean([at[i] for i in group]) for group in _places(range(len(at)), at)]
    return min(float(np.diff(every).min()), GREATEST_GAP_MM) if len(every) > 1 else UNKNOWN_STEP_MM


def _strengths(
    marks: Marks, place_mm: npt.NDArray[np.float64], gaps: Sequence[float], step: float
) -> tuple[Marks, Marks]:
    """Returns the strength of each spot: of runs of any number of places, and of two or more."""
    strength, lasting = marks * np.float32(step), np.zeros_like(marks)
    for first in range(len(marks)):
        lowest = marks[first]
        for last in range(first + 1, len(marks)):
            lowest = np.minimum(lowest, marks[last])
            if gaps[last - 1] > GREATEST_GAP_MM + ROUNDING_MM or not lowest.any():
                break
            length = min(float(place_mm[last] - place_mm[first]) + step, LONGEST_MM)
            run = slice(first, last + 1)
            np.maximum(lasting[run], lowest * np.float32(length), out=lasting[run])
            if length >= LONGEST_MM:
                break
    return np.maximum(strength, lasting), lasting
