"""The numbers of an evaluation as CSV, for spreadsheets and scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from falx.words import DECISIONS, LABELS, REJECTED
from falx_runs.tables import write_csv
from falx_trainer.evaluation.measures import AVERAGES, Document, Pairs
from falx_trainer.evaluation.overlap import Copy

PART_MEASURES: Final = (
    "accuracy",
    "decided",
    "right_of_decided",
    "missed",
    "cleared",
    "false_alarm",
    "right_of_cleared",
    "ambiguous",
    "rejected",
    "peak_in_box",
    "calibration_error",
)
"""Measures of a part of the slices that are of no one label."""


POINTS: Final[dict[str, tuple[str, ...]]] = {
    "calibration": ("slices", "confidence", "right"),
    "risk_coverage": ("coverage", "risk"),
}

CURVES: Final[dict[str, tuple[str, ...]]] = {
    "roc": ("false_positive_rate", "true_positive_rate", "threshold"),
    "precision_recall": ("recall", "precision", "threshold"),
}
"""Columns of these tables, as the documents have them."""


def write(folder: Path, metrics: Document, curves: Document) -> None:
    """Writes the tables that name no slice: of measures, labels, decisions, calibration and curves."""
    head = ("by", "part", "label", "measure", "value", "low", "high", "slices")
    write_csv(folder / "measures.csv", head, _measures(metrics))
    matrices: dict[str, tuple[str, tuple[str, ...]]] = {
        "labels": ("confusion", (*LABELS, REJECTED)),
        "decisions": ("decisions", DECISIONS),
    }
    for name, (key, of) in matrices.items():
        rows = ((label, *(row[column] for column in of)) for label, row in metrics["all"][key].items())
        write_csv(folder / f"{name}.csv", ("label", *of), rows)
    for name, columns in POINTS.items():
        write_csv(
            folder / f"{name}.csv", columns, ([row[column] for column in columns] for row in metrics[name])
        )
    for name, columns in CURVES.items():
        points = (
            (label, *point)
            for label, found in curves.items()
            for point in zip(*(found[name][column] for column in columns), strict=True)
        )
        write_csv(folder / f"{name}.csv", ("label", *columns), points)


def write_slices(folder: Path, pairs: Pairs, copies: Sequence[Copy]) -> None:
    """Writes `slices.csv`, what was decided of each slice, and `overlap.csv`, which of them training knew."""
    known = ("path", "label", "source", "group", "split", "sequence", "plane", "level")
    head = (*known, "decision", *(f"p_{label}" for label in LABELS), "reason")
    none = (None,) * len(LABELS)
    rows = (
        (*(getattr(record, name) for name in known), a.decision, *(a.probabilities or none), a.reason)
        for record, a in pairs
    )
    write_csv(folder / "slices.csv", head, rows)
    write_csv(
        folder / "overlap.csv",
        ("path", "is", "training_path", "correlation"),
        ((copy.record.path, copy.kind, copy.other.path, copy.correlation) for copy in copies),
    )


def _measures(metrics: Document) -> Iterator[tuple[object, ...]]:
    """Gives a row for each measure: of all slices, and of each part of each breakdown."""
    for by, parts in {
        "all": {"": metrics["all"]},
        **{k: v for k, v in metrics.items() if k.startswith("by_")},
    }.items():
        for name, part in parts.items():
            for label, measure, interval in _of_part(part):
                if interval is not None:
                    yield (by, name, label, measure, *interval)


def _of_part(part: Document) -> Iterator[tuple[str, str, Sequence[float] | None]]:
    for measure in PART_MEASURES:
        yield "", measure, part[measure]
    for label, found in part["classes"].items():
        for measure, interval in found.items():
            if measure != "slices":
                yield label, measure, interval
    for measure, interval in part["tumor"].items():
        yield "tumor", measure, interval
    for average in AVERAGES:
        for measure, interval in part["averages"].get(average, {}).items():
            yield average, measure, interval
