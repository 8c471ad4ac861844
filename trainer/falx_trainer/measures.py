"""What is measured of a model's answers, with 95 % intervals over what is independent."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from falx.words import DECISIONS, LABELS, NO_TUMOR, REJECTED, TUMOR_LABELS
from falx_trainer.answers import Answer
from falx_trainer.records import UNTYPED, Record

__all__ = ["Pairs", "calibration", "decisions", "inside", "measure", "rejections", "risk_coverage"]

Pairs = Sequence[tuple[Record, Answer]]

RESAMPLES: Final = 2000
SEED: Final = 7
"""Of the bootstrap: the 95 % intervals are percentiles over resampled groups (Efron 1979)."""

ECE_BINS: Final = 15
COVERAGES: Final = tuple(step / 20 for step in range(1, 21))

VARIANT: Final = "--"
"""Pictures of the same name before this are variants of one, so one observation."""


def measure(pairs: Pairs) -> dict[str, Any]:
    """The measures of some slices, JSON-ready; they come as `[value, low, high, slices]` or None.

    `accuracy` is that of the most probable label over the typed slices, a rejected one being
    wrong; `decided` the share of typed slices decided, `right_of_decided` the share right among
    those; `missed` the tumours decided `no_tumor`; `cleared` the healthy decided so; `peak_in_box`
    the tumours decided as such, with a known box, whose heatmap is highest inside one.
    `calibration_error` is the expected calibration error of the most probable label over the typed
    slices in 15 bins (Naeini et al. 2015, doi 10.1609/aaai.v29i1.9602).
    """
    labels = np.array([record.label for record, _ in pairs])
    decided_as = np.array([answer.decision for _, answer in pairs])
    likeliest = np.array(
        [
            "" if answer.probabilities is None else LABELS[int(np.argmax(answer.probabilities))]
            for _, answer in pairs
        ]
    )
    groups = np.array([_group(record) for record, _ in pairs])
    typed = labels != UNTYPED
    decided = typed & np.isin(decided_as, LABELS)
    tumor, healthy = labels != NO_TUMOR, labels == NO_TUMOR

    def share(of: npt.NDArray[np.bool_], hit: npt.NDArray[np.bool_]) -> list[float] | None:
        return _share(hit[of], groups[of]) if of.any() else None

    located = np.array(
        [
            bool(record.boxes) and answer.peak is not None and answer.decision in TUMOR_LABELS
            for record, answer in pairs
        ]
    )
    found = np.array([inside(record, answer) for record, answer in pairs])
    rows, counts = decisions(pairs)
    return {
        "slices": len(pairs),
        "accuracy": share(typed, likeliest == labels),
        "decided": share(typed, decided),
        "right_of_decided": share(decided, decided_as == labels),
        "missed": share(tumor, decided_as == NO_TUMOR),
        "cleared": share(healthy, decided_as == NO_TUMOR),
        "rejected": share(np.ones(len(pairs), bool), decided_as == REJECTED),
        "peak_in_box": share(located, found),
        "calibration_error": _calibration_error(pairs),
        "decisions": {
            row: dict(zip(DECISIONS, numbers, strict=True)) for row, numbers in zip(rows, counts, strict=True)
        },
    }


def decisions(pairs: Pairs) -> tuple[list[str], list[list[int]]]:
    """The labels that occur, and of each how often every decision was made, in the order of `DECISIONS`."""
    rows = [label for label in (*LABELS, UNTYPED) if any(record.label == label for record, _ in pairs)]
    return rows, [
        [
            sum(record.label == row and answer.decision == column for record, answer in pairs)
            for column in DECISIONS
        ]
        for row in rows
    ]


def inside(record: Record, answer: Answer) -> bool:
    """Whether the heatmap is highest inside a box of the tumour."""
    if answer.peak is None:
        return False
    x, y = answer.peak
    return any(abs(x - box.x) <= box.width / 2 and abs(y - box.y) <= box.height / 2 for box in record.boxes)


def _confidences(
    pairs: Pairs,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.str_]]:
    """Of the typed slices that were not rejected: the greatest probability, whether right, the group."""
    known = [
        (
            max(answer.probabilities),
            LABELS[int(np.argmax(answer.probabilities))] == record.label,
            _group(record),
        )
        for record, answer in pairs
        if answer.probabilities is not None and record.label != UNTYPED
    ]
    confidence, right, groups = zip(*known, strict=True) if known else ((), (), ())
    return np.array(confidence, np.float64), np.array(right, bool), np.array(groups, str)


def _bins(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    return np.minimum((confidence * ECE_BINS).astype(np.intp), ECE_BINS - 1)


def _calibration_error(pairs: Pairs) -> list[float] | None:
    """The interval is that of the same resampled groups; it leans upwards, as the error itself does."""
    confidence, right, groups = _confidences(pairs)
    if not len(confidence):
        return None
    names, member = np.unique(groups, return_inverse=True)
    gaps, sizes = np.zeros((len(names), ECE_BINS)), np.bincount(member)
    np.add.at(gaps, (member, _bins(confidence)), right - confidence)
    drawn = _resampled(len(names))
    resampled = np.abs(drawn @ gaps).sum(axis=1) / (drawn @ sizes)
    error = np.abs(gaps.sum(axis=0)).sum() / len(confidence)
    low, high = np.quantile(resampled, [0.025, 0.975]) if len(names) > 1 else (0.0, 1.0)
    return [round(float(error), 4), round(float(low), 4), round(float(high), 4), len(confidence)]


def calibration(pairs: Pairs) -> list[dict[str, float]]:
    """Of each bin with slices: how many, their mean confidence, and the share of them that is right."""
    confidence, right, _ = _confidences(pairs)
    bins = _bins(confidence)
    return [
        {
            "slices": int((bins == index).sum()),
            "confidence": round(float(confidence[bins == index].mean()), 4),
            "right": round(float(right[bins == index].mean()), 4),
        }
        for index in np.unique(bins)
    ]


def risk_coverage(pairs: Pairs) -> list[dict[str, float]]:
    """The share wrong among the surest slices, by the share of the slices that those are.

    Geifman & El-Yaniv 2017, Selective Classification for Deep Neural Networks, arXiv:1705.08500. Of the
    typed slices that were not rejected, by the greatest probability.
    """
    confidence, right, _ = _confidences(pairs)
    wrong = np.cumsum(~right[np.argsort(-confidence, kind="stable")])
    counts = [max(1, round(coverage * len(wrong))) for coverage in COVERAGES] if len(wrong) else []
    return [
        {"coverage": coverage, "risk": round(float(wrong[count - 1] / count), 4)}
        for coverage, count in zip(COVERAGES, counts, strict=False)
    ]


def rejections(paths: Sequence[Path], told: Sequence[Answer | None]) -> dict[str, Any]:
    """How many pictures are rejected and why, and as what the others are decided, JSON-ready.

    Args:
        paths: of the pictures; those named alike before `--` are variants of one.
        told: what a model says of each; None where it cannot be read.
    """
    known = [(path, answer) for path, answer in zip(paths, told, strict=True) if answer is not None]
    made = np.array([answer.decision for _, answer in known])
    originals = np.array([path.stem.partition(VARIANT)[0] for path, _ in known])
    counts = Counter(answer.decision for _, answer in known)
    return {
        "pictures": len(paths),
        "unreadable": len(paths) - len(known),
        "rejected": _share(made == REJECTED, originals) if known else None,
        "decisions": {decision: counts[decision] for decision in DECISIONS},
        "reasons": dict(sorted(Counter(answer.reason for _, answer in known if answer.reason).items())),
    }


def _group(record: Record) -> str:
    return record.group or str(record.path)


def _share(hit: npt.NDArray[np.bool_], groups: npt.NDArray[np.str_]) -> list[float]:
    """A share with its 95 % interval, bootstrapped over groups: slices of a patient are not independent.

    Where none is hit, or all are, resampling cannot tell how far that carries; the interval is then
    the rule of three over the groups (Hanley & Lippman-Hand 1983, doi 10.1001/jama.1983.03330370053031).
    One group alone tells nothing of others: 0 to 1.
    """
    _, member = np.unique(groups, return_inverse=True)
    hits, sizes = np.bincount(member, hit), np.bincount(member)
    low, high = 0.0, 1.0
    if len(sizes) > 1 and (hit.all() or not hit.any()):
        reach = min(1.0, 3 / len(sizes))
        low, high = (1 - reach, 1.0) if hit.all() else (0.0, reach)
    elif len(sizes) > 1:
        drawn = _resampled(len(sizes))
        low, high = np.quantile((drawn @ hits) / (drawn @ sizes), [0.025, 0.975])
    return [round(float(hit.mean()), 4), round(float(low), 4), round(float(high), 4), len(hit)]


@functools.cache
def _resampled(groups: int) -> npt.NDArray[np.float64]:
    """How often each group is in each resample, `(RESAMPLES, groups)`."""
    drawn = np.random.default_rng(SEED).integers(groups, size=(RESAMPLES, groups))
    counts = np.zeros((RESAMPLES, groups))
    np.add.at(counts, (np.arange(RESAMPLES)[:, np.newaxis], drawn), 1)
    return counts
