"""Sums an examination up: one decision for the study, and the slices that carry it.

A slice decides nothing by itself, for a model errs on one slice in ten or so, and a head has many. A
*finding* decides: the same spot marked through neighbouring slices (`falx.finding`). `judge` decides by
the rule that docs/studies.md has line by line: the first line that holds.

A study's confidence is that of one slice or of several: for `tumor` the highest probability of a tumour
among the slices that carry it, for `no_tumor` the mean probability of none in the middle part of the whole
series that the model is least sure of. It is not a probability for the study.

As JSON (version 1; within a version keys are only added), `Study.to_dict()` gives:

| key | value |
|---|---|
| `schema` | 1, the version of this table |
| `path` | as it was given; null where the input was no file or folder |
| `study_instance_uid` | of the DICOM study; null where there is none, or more than one |
| `decision` | `tumor`, `no_tumor`, `ambiguous` or `rejected` |
| `label` | for `tumor`: the most probable one of more than half of the slices that carry it; else null |
| `confidence` | 0..1, as above; null for `ambiguous` and `rejected` |
| `band` | the confidence's name; null where that is |
| `strength_mm` | of the strongest finding in the middle part of the head |
| `reason` | why, a sentence that names the slices, counted from 1 in each series |
| `recommendation` | what to do, a sentence |
| `thresholds`, `thresholds_changed` | as in `falx.prediction`; null and empty where no slice was answered |
| `complete` | whether at least one series shows a whole head and every slice was read |
| `notes` | what else a reader must know: UIDs made afresh, what was passed over |
| `carriers` | the slices that carry the decision: indices into `slices`, from 0 |
| `counts` | how many slices of each decision, and `error` |
| `not_used` | series that decide nothing: `series_instance_uid`, `slices`, `code` and `message` of each |
| `series` | of each series a verdict with the same keys, and what stands below |
| `slices` | the results, as `falx.prediction` describes them, series after series, in spatial order |
| `model` | `name`, `version`, `sha256`; null where no slice was answered |
| `elapsed_ms` | from opening the study to its decision, in milliseconds |

and each of `series`, besides its own `decision`, `label`, `confidence`, `band`, `strength_mm`, `reason`,
`complete`, `carriers`, `counts` and `notes`:

| key | value |
|---|---|
| `series_instance_uid` | null where there is none |
| `plane`, `sequence` | as in `origin` of `falx.prediction`, where its slices agree; otherwise null |
| `slices` | its first and one past its last index into the study's `slices`; `carriers` count there too |
| `positions_mm` | of its slices along the normal of their plane, rising; null where unknown |
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby, islice, pairwise
from typing import Any, Final

import numpy as np

from falx import finding, words
from falx.finding import GREATEST_GAP_MM, LEAST_EXTENT_MM, Evidence, Zone, in_face, tumor_probability, usable
from falx.frozen import FrozenDict
from falx.prediction import SCHEMA, Failure, ModelIdentity, Prediction
from falx.reading.series import Gathering, NotUsed, Series
from falx.words import AMBIGUOUS, DECISIONS, ERROR, NO_TUMOR, REJECTED, TUMOR_LABELS, band, percent

__all__ = [
    "CLEAR_MM",
    "ENDS_MM",
    "LEAST_CLEARED",
    "LEAST_SLICES",
    "RECOMMENDATIONS",
    "STUDY_DECISIONS",
    "TUMOR",
    "TUMOR_MM",
    "AnsweredSeries",
    "Study",
    "Verdict",
    "gaps",
    "judge",
    "sum_up",
]

TUMOR: Final = "tumor"

STUDY_DECISIONS: Final = (TUMOR, NO_TUMOR, AMBIGUOUS, REJECTED)
"""The decisions on a study. The label names the tumour, and slices may disagree about it."""

TUMOR_MM: Final = 10.0
CLEAR_MM: Final = 3.0
"""A finding of the one strength decides `tumor`, one below the other leaves a study clear. Chosen on the 51
volumes of train and val with falx-1 to falx-5: no healthy one had more than 9.2 mm, and none with a tumour
less than 3 mm of which the model cleared a quarter."""

ENDS_MM: Final = 15.0
"""A finding of this strength at an end of the head is a doubt: no healthy volume there had more than 12.1 mm
with any of the five models, and 7 of the 11 with a tumour that reaches an end have it with falx-5."""

LEAST_CLEARED: Final = 0.25
"""The share of the middle slices that a model must clear, at the least, for a clear study: one that hardly
clears slices cannot clear a head. It was chosen on 23 heads with tumours. falx-5
cleared this share of four of them, and found the tumour in each."""

LEAST_SLICES: Final = 12
"""Fewer slices show no whole head, wherever they lie: it is higher than 11 gaps of the greatest kind."""

RECOMMENDATIONS: Final = {
    TUMOR: "Looks like a tumour; a radiologist should look at these slices and at the whole study.",
    NO_TUMOR: "No tumour was found; what is smaller than a slice, lies at the ends of the head, or shows in "
    "another sequence, may be missed, and clinical findings still count.",
    AMBIGUOUS: "The study is not clear; a physician should look at it.",
    REJECTED: "Not classified; give the MR series of a head, one grey slice a file or frame.",
}
"""The advice for each decision on a study, one sentence."""

Results = tuple[Prediction | Failure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision on slices; the attributes are those of the JSON."""

    decision: str
    label: str | None
    confidence: float | None
    strength_mm: float
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
        """A sentence that says what to do."""
        return RECOMMENDATIONS[self.decision]

    def to_dict(self) -> dict[str, Any]:
        """Returns the verdict as plain JSON values."""
        return {
            "decision": self.decision,
            "label": self.label,
            "confidence": self.confidence,
            "band": self.band,
            "strength_mm": round(self.strength_mm, 1),
            "reason": self.reason,
            "complete": self.complete,
            "carriers": list(self.carriers),
            "counts": dict(self.counts),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredSeries:
    """A series with its answers, in order; it has no sources left.

    The verdict is on this series by itself, and its carriers count within the series.
    """

    about: Series
    results: Results
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Study:
    """The answer for an examination. Made by `sum_up`.

    The verdict is on all series together, and its carriers count through all of them. The other attributes
    are those of the JSON: `path`, `uid` (the Study Instance UID), `notes`, `not_used` and `elapsed_ms`.
    """

    verdict: Verdict
    series: tuple[AnsweredSeries, ...]
    not_used: tuple[NotUsed, ...] = ()
    path: str | None = None
    uid: str | None = None
    notes: tuple[str, ...] = ()
    elapsed_ms: float = field(default=0.0, compare=False)

    def __repr__(self) -> str:
        sure = self.verdict.confidence
        known = "" if sure is None else f" {sure:.3f} ({self.verdict.band})"
        return f"<falx.Study {self.decision}{known} of {words.counted(len(self.results))}>"

    @property
    def decision(self) -> str:
        """One of `STUDY_DECISIONS`; why, and how sure, says `verdict`."""
        return self.verdict.decision

    @property
    def results(self) -> Results:
        """The results of all slices: series after series, each in spatial order."""
        return tuple(result for one in self.series for result in one.results)

    @property
    def model(self) -> ModelIdentity | None:
        """The model that answered; None where no slice was answered."""
        return next((result.model for result in self.results if isinstance(result, Prediction)), None)

    def to_dict(self) -> dict[str, Any]:
        """Returns the study as plain JSON values; see the table of this module."""
        # Model and thresholds are those of the call, the same for every slice.
        answered = next((result for result in self.results if isinstance(result, Prediction)), None)
        return {
            "schema": SCHEMA,
            "path": self.path,
            "study_instance_uid": self.uid,
            **self.verdict.to_dict(),
            "recommendation": self.verdict.recommendation,
            "thresholds": None if answered is None else answered.thresholds.to_dict(),
            "thresholds_changed": [] if answered is None else list(answered.thresholds_changed),
            "notes": list(self.notes),
            "not_used": [one.to_dict() for one in self.not_used],
            "series": self._series(),
            "slices": [result.to_dict() for result in self.results],
            "model": None if answered is None else answered.model.to_dict(),
            "elapsed_ms": round(self.elapsed_ms, 2),
        }

    def _series(self) -> list[dict[str, Any]]:
        ends = accumulate((len(one.results) for one in self.series), initial=0)
        return [
            {
                "series_instance_uid": one.about.uid,
                "plane": one.about.plane,
                "sequence": one.about.sequence,
                "slices": [first, last],
                "positions_mm": None if one.about.positions_mm is None else list(one.about.positions_mm),
                **one.verdict.to_dict(),
                "carriers": [first + index for index in one.verdict.carriers],
                "notes": list(one.about.notes),
            }
            for one, (first, last) in zip(self.series, pairwise(ends), strict=True)
        ]


def sum_up(found: Gathering, results: Iterable[Prediction | Failure], *, elapsed_ms: float = 0.0) -> Study:
    """Sums up a study that `gather` found, with the results of its slices in order: each series, then all."""
    answers = iter(results)
    parts = [
        _JudgedSeries.of(replace(one, sources=()), tuple(islice(answers, len(one.sources))))
        for one in found.series
    ]
    return Study(
        verdict=_judge(parts, found.not_used),
        series=tuple(
            AnsweredSeries(about=one.about, results=one.results, verdict=_judge([one])) for one in parts
        ),
        not_used=found.not_used,
        path=found.path,
        uid=found.uid,
        notes=found.notes,
        elapsed_ms=elapsed_ms,
    )


def gaps(series: Series, results: Sequence[Prediction | Failure]) -> tuple[str, ...]:
    """Returns why slices do not show a whole head, sentences; empty where they do.

    Slices of face and neck may be missing: a model that rejects them now and then takes one for a brain.
    """
    own = [i for i, result in enumerate(results) if usable(result)]
    unread = sum(isinstance(result, Failure) for result in results)
    found = [f"{words.counted(unread)} could not be read."] if unread else []
    if len(own) < LEAST_SLICES:
        found.append(f"{words.counted(len(own))} could be classified, and a whole head takes {LEAST_SLICES}.")
    if series.positions_mm is None:
        between = results[own[0] : own[-1]] if own else ()
        rejected = sum(_decision(result) == REJECTED for result in between)
        return (*found, f"{words.counted(rejected)} between others rejected.") if rejected else (*found,)
    at = np.array([series.positions_mm[i] for i in own])
    at = at[~in_face(at, series.plane)]
    if len(at) > 1:
        if at[-1] - at[0] < LEAST_EXTENT_MM:
            found.append(f"They span {at[-1] - at[0]:.0f} mm, and a whole head takes {LEAST_EXTENT_MM:g} mm.")
        widest = np.diff(at).max()
        if widest > GREATEST_GAP_MM:
            found.append(f"Between two of them {widest:.0f} mm are not shown.")
    return (*found,)


@dataclass(frozen=True, slots=True)
class _JudgedSeries:
    """A series with its answers, what they mark, and why they do not show a whole head.

    Its marks have their own strengths until series are compared; `first` is its first slice in the study.
    """

    about: Series
    results: Results
    evidence: Evidence
    gaps: tuple[str, ...]
    strength: finding.Marks
    lasting: finding.Marks
    first: int = 0

    @classmethod
    def of(cls, about: Series, results: Results) -> _JudgedSeries:
        """Finds what the slices of a series mark and leave out: once, for its own verdict and the study's."""
        evidence = finding.find(about, results)
        return cls(about, results, evidence, gaps(about, results), evidence.strength, evidence.lasting)

    def carriers(self, strengths: finding.Marks, least_mm: float) -> list[int]:
        """Returns the slices with a spot of at least this strength, by their index in the study."""
        return [self.first + index for index in self.evidence.slices(strengths, least_mm)]

    @property
    def middle(self) -> list[int]:
        """The slices of the middle part of the head."""
        zones = zip(self.evidence.members, self.evidence.zones, strict=True)
        return [index for group, zone in zones if zone == Zone.MIDDLE for index in group]

    @property
    def clears(self) -> bool:
        """True where this series shows a whole head and the model cleared enough of its slices."""
        return not self.gaps and self.evidence.cleared >= LEAST_CLEARED

    @property
    def confidence(self) -> float:
        """The mean probability of no tumour in the middle part of the head."""
        return float(np.mean([1 - tumor_probability(self.results[i]) for i in self.middle]))


def judge(
    series: Sequence[tuple[Series, Sequence[Prediction | Failure]]], not_used: Sequence[NotUsed] = ()
) -> Verdict:
    """Decides on series with their answers by the rule of this module; the carriers count through all."""
    return _judge([_JudgedSeries.of(about, tuple(results)) for about, results in series], not_used)


def _judge(series: Sequence[_JudgedSeries], not_used: Sequence[NotUsed] = ()) -> Verdict:
    marks = finding.compare([(one.about, one.evidence) for one in series])
    firsts = accumulate((len(one.results) for one in series), initial=0)
    parts = [
        replace(one, strength=strength, lasting=lasting, first=first)
        for one, (strength, lasting), first in zip(series, marks, firsts, strict=False)
    ]
    results = [result for part in parts for result in part.results]
    unread = sum(isinstance(result, Failure) for result in results)
    whole = [part for part in parts if not part.gaps]
    tumor = [i for part in parts for i in part.carriers(part.lasting, TUMOR_MM)]
    doubts = [i for part in parts for i in part.carriers(part.strength, CLEAR_MM)]
    ends = [i for part in parts for i in part.carriers(part.evidence.at_ends, ENDS_MM)]
    strongest = max((float(part.strength.max(initial=0)) for part in parts), default=0.0)
    # Rounded down: 9.97 mm are not 10.
    strength = f"a strength of {math.floor(10 * strongest) / 10:g} mm"
    label = confidence = None
    decision, carriers = AMBIGUOUS, []
    if any(_decision(results[i]) in TUMOR_LABELS for i in tumor):
        decision, carriers = TUMOR, tumor
        best = max(carriers, key=lambda i: tumor_probability(results[i]))
        confidence, label = tumor_probability(results[best]), _leading(results[i] for i in carriers)
        reason = (
            f"A region is marked through {_named(parts, carriers)} with {strength}, "
            f"most surely in {_named(parts, [best])}: a tumour, {percent(confidence)}"
            f"{f', likeliest a {label}' if label else ''}."
        )
    elif unread and not any(map(usable, results)):
        reason = "The only file could not be read."
        if unread > 1:
            reason = f"None of the {unread} files could be read."
        if unread < len(results):
            reason = f"No slice could be classified{_why(results)}."
    elif not any(map(usable, results)):
        decision, reason = REJECTED, f"No slice could be classified{_why(results, not_used)}."
    elif doubts:
        carriers = doubts
        why = f"too weak, or in too few slices, for a tumour (from {TUMOR_MM:g} mm), and"
        if tumor:
            why = "no slice of it is decided a tumour, and it is"
        reason = (
            f"A region is marked in {_named(parts, doubts)} with {strength}: {why} too strong for none "
            f"(below {CLEAR_MM:g} mm)."
        )
    elif ends:
        carriers = ends
        reason = f"A region is marked at an end of the head, where models err most: {_named(parts, ends)}."
    elif unread:
        reason = f"{words.counted(unread)} could not be read, and the others show no tumour."
    elif not whole:
        missing = " ".join(dict.fromkeys(gap for part in parts for gap in part.gaps))
        reason = f"No finding, but the slices do not show a whole head. {missing}"
    elif not any(part.clears for part in parts):
        cleared = max(part.evidence.cleared for part in whole)
        reason = (
            f"No finding, but the model cleared only {percent(cleared)} of the middle slices of a series."
        )
    else:
        decision = NO_TUMOR
        confidence = min(part.confidence for part in parts if part.clears)
        middle = (part.first + i for part in parts for i in part.middle)
        least = max(middle, key=lambda i: tumor_probability(results[i]))
        carriers = [least]
        reason = (
            f"No region is marked through neighbouring slices in {words.counted(sum(map(usable, results)))}; "
            f"the least sure is {_named(parts, carriers)}: {percent(1 - tumor_probability(results[least]))}."
        )
    found = Counter(map(_decision, results))
    return Verdict(
        decision=decision,
        label=label,
        confidence=confidence,
        strength_mm=strongest,
        carriers=tuple(carriers),
        counts=FrozenDict({name: found[name] for name in (*DECISIONS, ERROR) if found[name]}),
        reason=reason,
        complete=bool(whole) and not unread,
    )


def _leading(results: Iterable[Prediction | Failure]) -> str | None:
    """Returns the most probable tumour of more than half of the slices; None where they disagree."""
    known = [one.probabilities for one in results if isinstance(one, Prediction) and one.probabilities]
    labels = Counter(max(TUMOR_LABELS, key=own.__getitem__) for own in known)
    label, count = labels.most_common(1)[0]
    return label if 2 * count > labels.total() else None


def _decision(result: Prediction | Failure) -> str:
    return result.decision if isinstance(result, Prediction) else ERROR


def _why(results: Iterable[Prediction | Failure], not_used: Sequence[NotUsed] = ()) -> str:
    """Returns how many slices could not be used for which reason."""
    why = Counter(r.reason.code if isinstance(r, Prediction) and r.reason else "unread" for r in results)
    for one in not_used:
        why[one.reason.code] += one.slices
    return f" ({', '.join(f'{count} {code}' for code, count in why.items())})" if why else ": there is none"


def _named(parts: Sequence[_JudgedSeries], indices: Sequence[int]) -> str:
    """Returns slices by their number in their series, and which series where there are several."""
    names = []
    for number, part in enumerate(parts, start=1):
        count = len(part.results)
        inside = [i - part.first + 1 for i in indices if part.first <= i < part.first + count]
        if inside:
            which = f" of {count}"
            if len(parts) > 1:
                which += f" in series {number}"
            if part.about.name:
                which += f" ({part.about.name})"
            names.append(f"{'slice' if len(inside) == 1 else 'slices'} {_runs(inside)}{which}")
    return "; ".join(names)


def _runs(numbers: Sequence[int]) -> str:
    """Returns rising numbers for people: `3, 7 to 9`."""
    # Within a run, a number and its place in the list keep their distance.
    groups = groupby(enumerate(numbers), key=lambda item: item[1] - item[0])
    runs = [[number for _, number in run] for _, run in groups]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
