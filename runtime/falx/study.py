"""What the slices of an examination come to: one decision for the study, and the slices that carry it.

The slices are never averaged: one slice with a tumour among a hundred clean ones is one slice with a
tumour. `judge` decides, the first line that holds:

| what is there | decision | carried by |
|---|---|---|
| a slice decided a tumour with `high` confidence, or two neighbours decided a tumour | `tumor` | these |
| a slice decided a tumour without either, or an `ambiguous` one | `ambiguous` | these |
| no slice that could be classified | `rejected` | none |
| a slice that could not be read | `ambiguous` | none |
| a series that shows a whole head, each usable slice `no_tumor` | `no_tumor` | the least sure one |
| too little of a head | `ambiguous` | none |

A series shows a whole head (`gaps`) where at least `LEAST_SLICES` of its slices were classified, they
span `LEAST_EXTENT_MM`, and no two neighbours are more than `GREATEST_GAP_MM` apart; where no positions
are known, where nothing was rejected between two slices that were not. So rejected slices never make a
study clean; those above and below the head do it no harm.

Why a single unsure tumour slice is a doubt and no decision: the errors of slices multiply over a study.
Where one healthy slice in ten is called a tumour, and slices err independently, 20 of them raise an alarm
in 1 - 0.9^20 = 88 % of the studies. A tumour shows in several neighbouring slices; where it shows in one
alone, and unsurely, the study is `ambiguous` and names the slice: it is never `no_tumor`. For the same
reason `no_tumor` is rare for a whole study: each slice must be cleared. `docs/studies.md` has what the rule
says of labelled patients.

A study's confidence is that of one slice, the surest of those that carry `tumor`, the least sure of
those that carry `no_tumor`. It is no probability about the study.

As JSON (version 1; within a version keys are only added), `Study.to_dict()` gives:

| key | value |
|---|---|
| `schema` | 1, the version of this table |
| `path` | as it was given; null where the input was no file or folder |
| `study_instance_uid` | of the DICOM study; null where there is none, or more than one |
| `decision` | `tumor`, `no_tumor`, `ambiguous` or `rejected` |
| `label` | for `tumor`: the label of more than half of the slices that carry it; otherwise null |
| `confidence` | 0..1, of a slice as above; null for `ambiguous` and `rejected` |
| `band` | the confidence's name; null where that is |
| `reason` | why, a sentence that names the slices, counted from 1 in each series |
| `recommendation` | what to do, a sentence |
| `complete` | whether at least one series shows a whole head and every slice was read |
| `notes` | what else a reader must know: duplicates, gaps, parts left out |
| `carriers` | the slices that carry the decision: indices into `slices`, from 0 |
| `counts` | how many slices of each decision, and `error` |
| `series` | of each series a verdict with the same keys, and what stands below |
| `slices` | the results, as `falx.prediction` describes them, series after series, in spatial order |
| `model` | `name`, `version`, `sha256`; null where no slice was answered |
| `elapsed_ms` | from opening the study to its decision, in milliseconds |

and each of `series`, besides its own `decision`, `label`, `confidence`, `band`, `reason`, `complete`,
`carriers`, `counts` and `notes`:

| key | value |
|---|---|
| `series_instance_uid` | null where there is none |
| `plane`, `sequence` | as in `origin` of `falx.prediction`, where its slices agree; otherwise null |
| `slices` | its first and one past its last index into the study's `slices`; `carriers` count there too |
| `positions_mm` | of its slices along the normal of their plane, rising; null where unknown |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, Final

from falx import words
from falx.frozen import FrozenDict
from falx.prediction import SCHEMA, Failure, ModelIdentity, Prediction
from falx.words import AMBIGUOUS, DECISIONS, NO_TUMOR, REJECTED, TUMOR_LABELS, band, percent

__all__ = [
    "GREATEST_GAP_MM",
    "LEAST_EXTENT_MM",
    "LEAST_SLICES",
    "RECOMMENDATIONS",
    "STUDY_DECISIONS",
    "TUMOR",
    "Series",
    "Study",
    "Verdict",
    "judge",
    "sum_up",
]

TUMOR: Final = "tumor"

STUDY_DECISIONS: Final = (TUMOR, NO_TUMOR, AMBIGUOUS, REJECTED)
"""What Falx can say about a study. Which tumour is the label's part: slices may disagree about it."""

ERROR: Final = "error"

LEAST_SLICES: Final = 12
"""Fewer slices show no whole head, wherever they lie: it is higher than 11 gaps of the greatest kind."""

LEAST_EXTENT_MM: Final = 100.0
"""What the outermost classified slices span of a whole head, at the least. The cerebrum of an adult is
about 93 mm high, 140 mm wide and 167 mm long; with its cerebellum it is higher."""

GREATEST_GAP_MM: Final = 10.0
"""Between neighbouring slices; more could hold a tumour that no slice shows. Clinical series have 3 to 7."""

RECOMMENDATIONS: Final = {
    TUMOR: "Looks like a tumour; a radiologist should look at these slices and at the whole study.",
    NO_TUMOR: "No tumour was found in any slice; what is smaller than a slice, or shows in another "
    "sequence, may be missed, and clinical findings still count.",
    AMBIGUOUS: "The study is not clear; a physician should look at it.",
    REJECTED: "Not classified; give the MR series of a head, one grey slice a file or frame.",
}
"""What to do about each decision on a study, one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Slices that belong together.

    Attributes:
        results: of its slices, in spatial order, or in the order given where positions are unknown.
        positions_mm: of each slice along the normal of their common plane, rising, in millimetres; None
            where they are unknown.
        uid: the Series Instance UID; None where there is none.
        plane: `axial`, `coronal` or `sagittal`; None where it is unknown or oblique.
        sequence: `T1`, `T1C+`, `T2`, `FLAIR`, `PD` or `DWI`; None where it is unknown.
        notes: what else a reader must know, such as duplicates that were left out; sentences.

    Raises:
        ValueError: not as many positions as results, or they fall.
    """

    results: tuple[Prediction | Failure, ...]
    positions_mm: tuple[float, ...] | None = None
    uid: str | None = None
    plane: str | None = None
    sequence: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at = self.positions_mm
        if at is not None and len(at) != len(self.results):
            raise ValueError(f"expected a position for each of {len(self.results)} results, got {len(at)}")
        if at is not None and any(b < a for a, b in pairwise(at)):
            raise ValueError("expected positions that rise; sort the results by position")

    @property
    def name(self) -> str:
        """Plane and sequence for people, such as `axial T1C+`; empty where neither is known."""
        return " ".join(part for part in (self.plane, self.sequence) if part)

    @property
    def gaps(self) -> tuple[str, ...]:
        """Why these slices do not show a whole head, sentences; empty where they do."""
        usable = [i for i, result in enumerate(self.results) if _usable(result)]
        unread = sum(isinstance(result, Failure) for result in self.results)
        found = [f"{words.counted(unread)} could not be read."] if unread else []
        if len(usable) < LEAST_SLICES:
            found.append(
                f"{words.counted(len(usable))} could be classified, a whole head takes {LEAST_SLICES}."
            )
        if self.positions_mm is None:
            between = self.results[usable[0] : usable[-1]] if usable else ()
            rejected = sum(_decision(result) == REJECTED for result in between)
            return (*found, f"{words.counted(rejected)} between others rejected.") if rejected else (*found,)
        at = [self.positions_mm[i] for i in usable]
        if len(at) > 1:
            if at[-1] - at[0] < LEAST_EXTENT_MM:
                found.append(f"They span {at[-1] - at[0]:.0f} mm, a whole head takes {LEAST_EXTENT_MM:g} mm.")
            widest = max(b - a for a, b in pairwise(at))
            if widest > GREATEST_GAP_MM:
                found.append(f"Between two of them {widest:.0f} mm are not shown.")
        return (*found,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What slices come to; the attributes are those of the JSON."""

    decision: str
    label: str | None
    confidence: float | None
    carriers: tuple[int, ...]
    counts: Mapping[str, int]
    reason: str
    complete: bool

    @property
    def band(self) -> str | None:
        """The name of the confidence; None where that is."""
        return None if self.confidence is None else band(self.confidence)

    @property
    def recommendation(self) -> str:
        """What to do, a sentence."""
        return RECOMMENDATIONS[self.decision]

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain JSON values."""
        return {
            "decision": self.decision,
            "label": self.label,
            "confidence": self.confidence,
            "band": self.band,
            "reason": self.reason,
            "complete": self.complete,
            "carriers": list(self.carriers),
            "counts": dict(self.counts),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Study:
    """The answer for an examination. Made by `sum_up`.

    Attributes:
        verdict: on all series together.
        series: each with its slices.
        verdicts: on each series by itself; their carriers count within the series.
        path: of the input; None where it was no file or folder.
        uid: the Study Instance UID; None where there is none, or more than one.
        notes: what else a reader must know about the whole, sentences.
        elapsed_ms: from opening the study to its decision, in milliseconds.
    """

    verdict: Verdict
    series: tuple[Series, ...]
    verdicts: tuple[Verdict, ...]
    path: str | None = None
    uid: str | None = None
    notes: tuple[str, ...] = ()
    elapsed_ms: float = 0.0
    results: tuple[Prediction | Failure, ...] = field(init=False, repr=False)
    """Of all slices: series after series, each in spatial order."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "results", tuple(r for one in self.series for r in one.results))

    def __repr__(self) -> str:
        sure = "" if self.confidence is None else f" {self.confidence:.3f} ({self.band})"
        return f"<falx.Study {self.decision}{sure} of {words.counted(len(self.results))}>"

    @property
    def decision(self) -> str:
        """One of `STUDY_DECISIONS`."""
        return self.verdict.decision

    @property
    def label(self) -> str | None:
        """For `tumor`: the label of more than half of the slices that carry it; otherwise None."""
        return self.verdict.label

    @property
    def confidence(self) -> float | None:
        """Of one slice, 0..1: the surest with a tumour, the least sure without; otherwise None."""
        return self.verdict.confidence

    @property
    def band(self) -> str | None:
        """The name of the confidence; None where that is."""
        return self.verdict.band

    @property
    def reason(self) -> str:
        """Why, a sentence that names the slices, counted from 1 in each series."""
        return self.verdict.reason

    @property
    def recommendation(self) -> str:
        """What to do, a sentence."""
        return self.verdict.recommendation

    @property
    def carriers(self) -> tuple[int, ...]:
        """The slices that carry the decision: indices into `results`, from 0."""
        return self.verdict.carriers

    @property
    def counts(self) -> Mapping[str, int]:
        """How many slices of each decision that occurs, and `error`."""
        return self.verdict.counts

    @property
    def complete(self) -> bool:
        """Whether at least one series shows a whole head and every slice was read."""
        return self.verdict.complete

    @property
    def model(self) -> ModelIdentity | None:
        """Which model answered; None where no slice was answered."""
        return next((result.model for result in self.results if isinstance(result, Prediction)), None)

    def to_dict(self) -> dict[str, Any]:
        """The study as plain JSON values; see the table of this module."""
        return {
            "schema": SCHEMA,
            "path": self.path,
            "study_instance_uid": self.uid,
            **self.verdict.to_dict(),
            "recommendation": self.recommendation,
            "notes": list(self.notes),
            "series": self._series(),
            "slices": [result.to_dict() for result in self.results],
            "model": None if self.model is None else self.model.to_dict(),
            "elapsed_ms": round(self.elapsed_ms, 2),
        }

    def _series(self) -> list[dict[str, Any]]:
        first, out = 0, []
        for series, verdict in zip(self.series, self.verdicts, strict=True):
            last = first + len(series.results)
            about = {
                "series_instance_uid": series.uid,
                "plane": series.plane,
                "sequence": series.sequence,
                "slices": [first, last],
                "positions_mm": None if series.positions_mm is None else list(series.positions_mm),
            }
            out.append(
                {
                    **about,
                    **verdict.to_dict(),
                    "carriers": [first + index for index in verdict.carriers],
                    "notes": list(series.notes),
                }
            )
            first = last
        return out


def sum_up(
    series: Iterable[Series],
    *,
    path: str | None = None,
    uid: str | None = None,
    notes: Sequence[str] = (),
    elapsed_ms: float = 0.0,
) -> Study:
    """Sum up the series of a study: each apart, then all of them; see `Study` for the arguments.

    For pictures without series, `sum_up([Series(results=tuple(results))])`.
    """
    parts = tuple(series)
    return Study(
        verdict=judge(parts),
        series=parts,
        verdicts=tuple(judge([part]) for part in parts),
        path=path,
        uid=uid,
        notes=tuple(notes),
        elapsed_ms=elapsed_ms,
    )


def judge(series: Sequence[Series]) -> Verdict:
    """Decide on the slices of series by the rule of this module; its carriers count through all of them."""
    results = [result for part in series for result in part.results]
    counts = _counts(results)
    sure = _sure(series)
    doubts = [i for i, result in enumerate(results) if _decision(result) in (*TUMOR_LABELS, AMBIGUOUS)]
    unread = counts.get(ERROR, 0)
    whole = [part for part in series if not part.gaps]
    label = confidence = None
    carriers: Sequence[int] = ()
    if sure:
        decision, carriers = TUMOR, sorted(sure)
        best = max(carriers, key=lambda i: _confidence(results[i]))
        confidence, label = _confidence(results[best]), _leading(results[i] for i in carriers)
        surest = f", most surely in {_named(series, [best])}" if len(carriers) > 1 else ""
        found = f"{_decision(results[best])}, {percent(confidence)}"
        reason = f"A tumour was found in {_named(series, carriers)}{surest}: {found}."
    elif doubts:
        decision, carriers = AMBIGUOUS, doubts
        reason = f"Not clear in {_named(series, doubts)}."
        if lone := [i for i in doubts if _decision(results[i]) in TUMOR_LABELS]:
            reason += f" A tumour, but not surely and in no neighbour, in {_named(series, lone)}."
    elif not any(map(_usable, results)):
        decision, reason = REJECTED, f"No slice could be classified{_why(results)}."
    elif unread:
        decision, reason = AMBIGUOUS, f"{words.counted(unread)} could not be read, the others show no tumour."
    elif whole:
        decision = NO_TUMOR
        least = min((i for i, r in enumerate(results) if _usable(r)), key=lambda i: _confidence(results[i]))
        carriers, confidence = [least], _confidence(results[least])
        reason = (
            f"No tumour in {words.counted(counts[NO_TUMOR])}, least surely in {_named(series, carriers)}: "
            f"{percent(confidence)}."
        )
    else:
        decision = AMBIGUOUS
        gaps = " ".join(dict.fromkeys(gap for part in series for gap in part.gaps))
        reason = f"No tumour in {words.counted(counts[NO_TUMOR])}, but they do not show a whole head. {gaps}"
    return Verdict(
        decision=decision,
        label=label,
        confidence=confidence,
        carriers=tuple(carriers),
        counts=FrozenDict(counts),
        reason=reason,
        complete=bool(whole) and not unread,
    )


def _sure(series: Sequence[Series]) -> set[int]:
    """Slices with a tumour that decide: sure by themselves, or with a tumour in the next one too.

    Next to each other are usable slices with only rejected ones between them; where the order says
    nothing, any two of a series.
    """
    sure: set[int] = set()
    first = 0
    for part in series:
        usable = [
            (i, r) for i, r in enumerate(part.results, first) if isinstance(r, Prediction) and _usable(r)
        ]
        tumors = [i for i, r in usable if r.decision in TUMOR_LABELS]
        sure.update(i for i, r in usable if r.decision in TUMOR_LABELS and r.band == "high")
        if part.positions_mm is None:
            sure.update(tumors if len(tumors) > 1 else [])
        else:
            order = [i for i, _ in usable]
            for one, other in pairwise(order):
                near = part.positions_mm[other - first] - part.positions_mm[one - first] <= GREATEST_GAP_MM
                if near and one in tumors and other in tumors:
                    sure.update((one, other))
        first += len(part.results)
    return sure


def _leading(results: Iterable[Prediction | Failure]) -> str | None:
    """The label of more than half; None where the slices disagree."""
    labels = Counter(map(_decision, results))
    label, count = labels.most_common(1)[0]
    return label if 2 * count > labels.total() else None


def _counts(results: Iterable[Prediction | Failure]) -> dict[str, int]:
    found = Counter(map(_decision, results))
    return {name: found[name] for name in (*DECISIONS, ERROR) if found[name]}


def _decision(result: Prediction | Failure) -> str:
    return result.decision if isinstance(result, Prediction) else ERROR


def _confidence(result: Prediction | Failure) -> float:
    return (result.confidence if isinstance(result, Prediction) else None) or 0.0


def _usable(result: Prediction | Failure) -> bool:
    return _decision(result) not in (REJECTED, ERROR)


def _why(results: Iterable[Prediction | Failure]) -> str:
    """Of slices none of which could be used: how many for which reason."""
    why = Counter(r.reason.code if isinstance(r, Prediction) and r.reason else "unread" for r in results)
    return f" ({', '.join(f'{count} {code}' for code, count in why.items())})" if why else ": there is none"


def _named(series: Sequence[Series], indices: Sequence[int]) -> str:
    """Slices by their number in their series, and which series where there are several."""
    parts, first = [], 0
    for number, part in enumerate(series, start=1):
        inside = [i - first + 1 for i in indices if first <= i < first + len(part.results)]
        first += len(part.results)
        if inside:
            which = f" of {len(part.results)}"
            if len(series) > 1:
                which += f" in series {number}"
            if part.name:
                which += f" ({part.name})"
            parts.append(f"{'slice' if len(inside) == 1 else 'slices'} {_runs(inside)}{which}")
    return "; ".join(parts)


def _runs(numbers: Sequence[int]) -> str:
    """Rising numbers for people: `3, 7 to 9`."""
    # Within a run, a number and its place in the list keep their distance.
    groups = groupby(enumerate(numbers), key=lambda item: item[1] - item[0])
    runs = [[number for _, number in run] for _, run in groups]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
