"""Measures a model's answers, with 95 % intervals over what is independent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from falx.words import AMBIGUOUS, DECISIONS, LABELS, NO_TUMOR, REJECTED, TUMOR_LABELS
from falx_runs.manifest import UNTYPED, Outlier, Record
from falx_trainer.evaluation.answers import ModelAnswer
from falx_trainer.evaluation.bootstrap import Groups, Interval, Mask

Pairs = Sequence[tuple[Record, ModelAnswer]]

Document = dict[str, Any]
"""A part of `metrics.json`: its fields by their names, which the functions that make it tell."""

Area = tuple[float, npt.NDArray[np.floating]]
"""An area under a curve, and that of each resample."""

ECE_BINS: Final = 15
COVERAGES: Final = tuple(step / 20 for step in range(1, 21))

AVERAGES: Final = ("macro", "weighted")
"""The averages of precision, recall and F1 over the labels: each alike, or by its number of slices."""


@dataclass(frozen=True)
class AnswerArrays:
    """Labelled slices and what a model says of each, as arrays.

    Attributes:
        labels: `(N,)`, one of the four or `tumor_untyped`.
        decisions: `(N,)`.
        probabilities: `(N, 4)`; NaN for rejected slices.
        groups: theirs.
    """

    labels: npt.NDArray[np.str_]
    decisions: npt.NDArray[np.str_]
    probabilities: npt.NDArray[np.float64]
    groups: Groups

    @classmethod
    def of(cls, pairs: Pairs) -> AnswerArrays:
        """Returns the arrays of records and answers."""
        unknown = (np.nan,) * len(LABELS)
        return cls(
            np.array([record.label for record, _ in pairs], str),
            np.array([answer.decision for _, answer in pairs], str),
            np.array([answer.probabilities or unknown for _, answer in pairs], float).reshape(
                -1, len(LABELS)
            ),
            Groups([group(record) for record, _ in pairs]),
        )

    @property
    def typed(self) -> Mask:
        """True where the label is one of the four, `(N,)`."""
        return np.asarray(self.labels != UNTYPED)

    @property
    def tumor(self) -> Mask:
        """True where there is a tumour, typed or not, `(N,)`."""
        return np.asarray(self.labels != NO_TUMOR)

    @property
    def answered(self) -> Mask:
        """True where there are probabilities, `(N,)`."""
        return ~np.isnan(self.probabilities[:, 0])

    @property
    def likeliest(self) -> npt.NDArray[np.str_]:
        """The most probable label, `(N,)`; `rejected` where there are no probabilities."""
        likeliest = np.array(LABELS)[np.nan_to_num(self.probabilities).argmax(axis=1)]
        return np.where(self.answered, likeliest, REJECTED)

    def kinds(self) -> dict[str, tuple[Mask, Mask]]:
        """Returns the slices that count and the positives, two `(N,)`, for each probability.

        Each label stands against the rest, over the typed slices. Last comes `tumor`, any against none, where
        untyped tumours count too; its score is 1 - P(no_tumor).
        """
        counted = self.typed & self.answered
        return {
            **{label: (counted, self.labels == label) for label in LABELS},
            "tumor": (self.answered, self.tumor),
        }

    def score(self, kind: str) -> npt.NDArray[np.float64]:
        """Returns the probability that goes with a kind of `kinds`, `(N,)`."""
        if kind == "tumor":
            return np.asarray(1 - self.probabilities[:, 0])
        return np.asarray(self.probabilities[:, LABELS.index(kind)])


def shares(pairs: Pairs) -> dict[str, Interval | None]:
    """Shares of some slices, each `[value, low, high, slices]`, or None where no slice counts.

    `accuracy` is that of the most probable label over the typed slices, a rejected one being
    wrong; `decided` the share of typed slices decided, `right_of_decided` the share right among
    those; `missed` the tumours decided `no_tumor`; `cleared` the healthy decided so; `false_alarm` the
    healthy decided a tumour; `right_of_cleared` the share of healthy among all decided `no_tumor`;
    `ambiguous` and `rejected` the shares of all slices decided so; `peak_in_box` the tumours decided as such,
    with a known box, whose heatmap is highest inside one.
    """
    sample = AnswerArrays.of(pairs)
    labels, decided_as = sample.labels, sample.decisions
    typed, tumor, likeliest = sample.typed, sample.tumor, sample.likeliest
    decided = typed & np.isin(decided_as, LABELS)
    cleared, everything = decided_as == NO_TUMOR, np.ones(len(pairs), bool)
    located = np.array(
        [
            bool(record.boxes) and answer.peak is not None and answer.decision in TUMOR_LABELS
            for record, answer in pairs
        ],
        bool,
    )
    found = np.array([inside(record, answer) for record, answer in pairs], bool)
    asked = {
        "accuracy": (typed, likeliest == labels),
        "decided": (typed, decided),
        "right_of_decided": (decided, decided_as == labels),
        "missed": (tumor, cleared),
        "cleared": (~tumor, cleared),
        "false_alarm": (~tumor, np.isin(decided_as, TUMOR_LABELS)),
        "right_of_cleared": (cleared, ~tumor),
        "ambiguous": (everything, decided_as == AMBIGUOUS),
        "rejected": (everything, decided_as == REJECTED),
        "peak_in_box": (located, found),
    }
    return dict(zip(asked, sample.groups.shares([*asked.values()]), strict=True))


def measure(pairs: Pairs) -> Document:
    """Returns all measures of some slices, JSON-ready; they come as `[value, low, high, slices]` or None.

    The `shares`, and: `calibration_error`, the expected calibration error of the most probable label over
    the typed slices in 15 bins (Naeini et al. 2015, doi 10.1609/aaai.v29i1.9602).

    `classes` has precision, recall, F1 of the most probable label, and the area under the ROC curve and the
    average precision of its probability against the rest, of each label; a rejected slice is none of the four
    for the former, and has no probability for the latter. `averages` are over the labels that occur. `tumor`
    is any tumour against none. `confusion` counts most probable labels, `decisions` decisions.
    """
    sample = AnswerArrays.of(pairs)
    rows, counts = decisions(pairs)
    return {
        "slices": len(pairs),
        "groups": sample.groups.count,
        **shares(pairs),
        "calibration_error": _calibration_error(pairs),
        **_by_class(sample),
        "decisions": {
            row: dict(zip(DECISIONS, numbers, strict=True)) for row, numbers in zip(rows, counts, strict=True)
        },
    }


def _by_class(sample: AnswerArrays) -> Document:
    """Returns `classes`, `averages`, `tumor` and `confusion` of `measure`."""
    occurring = [label for label in LABELS if label in sample.labels]
    reported, averages = _report(sample, occurring) if occurring else ({}, {})
    ranked, areas = {}, {}
    for kind, (counted, positive) in sample.kinds().items():
        ranked[kind], areas[kind] = _ranked(sample, kind, counted, positive)
    if averages:
        averages["macro"]["auc_roc"] = _macro(sample, [areas[label] for label in occurring])
    nothing = dict.fromkeys(("precision", "recall", "f1"))
    columns = [*LABELS, REJECTED]
    table = confusion_matrix(sample.labels, sample.likeliest, labels=[*columns, UNTYPED]) if occurring else []
    return {
        "classes": {
            label: {
                "slices": int((sample.labels == label).sum()),
                **reported.get(label, nothing),
                **ranked[label],
            }
            for label in LABELS
        },
        "averages": averages,
        "tumor": ranked["tumor"],
        "confusion": {
            label: dict(zip(columns, row[: len(columns)].tolist(), strict=True))
            for label, row in zip(LABELS, table, strict=False)
            if label in occurring
        },
    }


def _report(sample: AnswerArrays, occurring: Sequence[str]) -> tuple[Document, Document]:
    """Returns precision, recall and F1 of each label that occurs, and their averages."""
    typed = sample.typed
    is_label = np.stack([typed & (sample.labels == label) for label in occurring], axis=1)
    said = np.stack([typed & (sample.likeliest == label) for label in occurring], axis=1)
    right, there, told = (sample.groups.sums(values) for values in (is_label & said, is_label, said))
    with np.errstate(divide="ignore", invalid="ignore"):
        # In the order in which scikit-learn returns them.
        samples = np.stack([right / told, right / there, 2 * right / (there + told)])
        weights = there / there.sum(axis=1, keepdims=True)
    true, predicted = sample.labels[typed], sample.likeliest[typed]

    def scored(average: str | None) -> list[npt.NDArray[np.float64]]:
        found = precision_recall_fscore_support(
            true, predicted, labels=occurring, average=average, zero_division=0.0
        )
        return [np.asarray(values) for values in found[:3]]

    names = ("precision", "recall", "f1")
    values = scored(None)
    classes = {}
    for index, label in enumerate(occurring):
        # Of what was never said, no share is right.
        over = (said[:, index], is_label[:, index], is_label[:, index] | said[:, index])
        classes[label] = {
            name: sample.groups.interval(float(values[which][index]), samples[which][:, index], of)
            if of.any()
            else None
            for which, (name, of) in enumerate(zip(names, over, strict=True))
        }
    # scikit-learn counts a label that was never said as precision 0, and so do the averages.
    filled = np.nan_to_num(samples)
    averaged = {"macro": filled.mean(axis=2), "weighted": (filled * weights).sum(axis=2)}
    averages = {
        average: {
            name: sample.groups.interval(float(value), row, typed)
            for name, value, row in zip(names, scored(average), averaged[average], strict=True)
        }
        for average in AVERAGES
    }
    return classes, averages


def _ranked(sample: AnswerArrays, kind: str, counted: Mask, positive: Mask) -> tuple[Document, Area | None]:
    """Returns area under the ROC curve and average precision, with intervals; and the area's resamples."""
    true, scores = positive[counted], sample.score(kind)
    if not true.any() or true.all():
        return {"auc_roc": None, "average_precision": None}, None
    resampled = sample.groups.ranking(scores, positive, counted)
    area = float(roc_auc_score(true, scores[counted]))
    precision = float(average_precision_score(true, scores[counted]))
    groups = sample.groups
    return {
        "auc_roc": groups.interval(area, resampled.area, counted),
        "average_precision": groups.interval(precision, resampled.precision, counted),
    }, (area, resampled.area)


def _macro(sample: AnswerArrays, areas: Sequence[Area | None]) -> Interval | None:
    """Returns the mean area of the labels that occur; None where one of them has none."""
    known = [area for area in areas if area is not None]
    if len(known) < len(areas):
        return None
    value = sum(area for area, _ in known) / len(known)
    resampled = np.mean([samples for _, samples in known], axis=0)
    return sample.groups.interval(value, resampled, sample.typed & sample.answered)


def curves(pairs: Pairs) -> dict[str, dict[str, dict[str, list[float | None]]]]:
    """Returns ROC and precision–recall curve of each kind of `AnswerArrays.kinds`."""
    sample = AnswerArrays.of(pairs)
    found: dict[str, dict[str, dict[str, list[float | None]]]] = {}
    for kind, (counted, positive) in sample.kinds().items():
        true, scores = positive[counted], sample.score(kind)[counted]
        if not true.any() or true.all():
            continue
        false_rate, true_rate, cuts = roc_curve(true, scores)
        precision, recall, limits = precision_recall_curve(true, scores, drop_intermediate=True)
        found[kind] = {
            "roc": {
                "false_positive_rate": false_rate.tolist(),
                "true_positive_rate": true_rate.tolist(),
                # Nothing is at or above the first, which is infinite: no JSON.
                "threshold": [None, *cuts[1:].tolist()],
            },
            "precision_recall": {
                "recall": recall.tolist(),
                "precision": precision.tolist(),
                "threshold": [*limits.tolist(), None],
            },
        }
    return found


def decisions(pairs: Pairs) -> tuple[list[str], list[list[int]]]:
    """Returns the labels that occur, and of each the count of every decision."""
    rows = [label for label in (*LABELS, UNTYPED) if any(record.label == label for record, _ in pairs)]
    return rows, [
        [
            sum(record.label == row and answer.decision == column for record, answer in pairs)
            for column in DECISIONS
        ]
        for row in rows
    ]


def inside(record: Record, answer: ModelAnswer) -> bool:
    """Tells whether the heatmap is highest inside a box of the tumour."""
    if answer.peak is None:
        return False
    x, y = answer.peak
    return any(abs(x - box.x) <= box.width / 2 and abs(y - box.y) <= box.height / 2 for box in record.boxes)


def _confidences(pairs: Pairs) -> tuple[npt.NDArray[np.float64], Mask, AnswerArrays, Mask]:
    """Returns the greatest probability of typed slices, whether it is right, and the slices."""
    sample = AnswerArrays.of(pairs)
    known = sample.typed & sample.answered
    right = sample.likeliest == sample.labels
    return sample.probabilities[known].max(axis=1), right[known], sample, known


def _bins(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    return np.minimum((confidence * ECE_BINS).astype(np.intp), ECE_BINS - 1)


def _calibration_error(pairs: Pairs) -> Interval | None:
    """Returns the calibration error; its interval leans upwards, as the error itself does."""
    confidence, right, sample, known = _confidences(pairs)
    if not known.any():
        return None
    slices = len(pairs)
    gaps = np.zeros((slices, ECE_BINS + 1))
    gaps[np.flatnonzero(known), _bins(confidence)] = right - confidence
    gaps[known, ECE_BINS] = 1
    resampled = sample.groups.sums(gaps)
    error = np.abs(gaps[:, :ECE_BINS].sum(axis=0)).sum() / known.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.abs(resampled[:, :ECE_BINS]).sum(axis=1) / resampled[:, ECE_BINS]
    return sample.groups.interval(error, errors, known)


def calibration(pairs: Pairs) -> list[dict[str, float]]:
    """Returns slices, mean confidence and the share that is right, of each bin that has any."""
    confidence, right, _, _ = _confidences(pairs)
    bins = _bins(confidence)
    return [
        {
            "slices": int((bins == index).sum()),
            "confidence": float(confidence[bins == index].mean()),
            "right": float(right[bins == index].mean()),
        }
        for index in np.unique(bins)
    ]


def risk_coverage(pairs: Pairs) -> list[dict[str, float]]:
    """Returns the share wrong among the surest slices, by the share of the slices that those are.

    Geifman & El-Yaniv 2017, Selective Classification for Deep Neural Networks, arXiv:1705.08500. Of the
    typed slices that were not rejected, by the greatest probability.
    """
    confidence, right, _, _ = _confidences(pairs)
    wrong = np.cumsum(~right[np.argsort(-confidence, kind="stable")])
    counts = [max(1, round(coverage * len(wrong))) for coverage in COVERAGES] if len(wrong) else []
    return [
        {"coverage": coverage, "risk": float(wrong[count - 1] / count)}
        for coverage, count in zip(COVERAGES, counts, strict=False)
    ]


def rejections(outliers: Sequence[Outlier], told: Sequence[ModelAnswer | None]) -> Document:
    """Counts the pictures that are rejected, and why, and the decisions on the others, JSON-ready.

    `rejected` and `rejected_or_no_tumor` are shares as of `shares`: where a head ends, `no_tumor` is no harm.
    An answer is None where a picture cannot be read.
    """
    known = [(outlier, answer) for outlier, answer in zip(outliers, told, strict=True) if answer is not None]
    made = np.array([answer.decision for _, answer in known], str)
    groups = Groups([group(outlier) for outlier, _ in known])
    counts = Counter(answer.decision for _, answer in known)
    everything = np.ones(len(known), bool)
    asked = {"rejected": [REJECTED], "rejected_or_no_tumor": [REJECTED, NO_TUMOR]}
    found = groups.shares([(everything, np.isin(made, wanted)) for wanted in asked.values()])
    return {
        "pictures": len(outliers),
        "unreadable": len(outliers) - len(known),
        **dict(zip(asked, found, strict=True)),
        "decisions": {decision: counts[decision] for decision in DECISIONS},
        "reasons": dict(sorted(Counter(answer.reason for _, answer in known if answer.reason).items())),
    }


def group(item: Record | Outlier) -> str:
    """Returns the name of a picture's group; where that is unknown, a name for the picture alone."""
    return item.group or str(item.path)
