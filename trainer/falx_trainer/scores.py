"""Scores a model's likeliest labels on the split that chose its thresholds, as scikit-learn does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from sklearn.metrics import classification_report, confusion_matrix, roc_auc_score

from falx.words import LABELS
from falx_runs.manifest import UNTYPED
from falx_runs.tables import aligned

__all__ = ["Scores", "confusion_text", "report_text", "score"]


class Scores(TypedDict):
    """The scores of the typed slices, JSON-ready.

    Attributes:
        slices: their number.
        accuracy: the share whose likeliest label is right; None without slices.
        auc_roc: the area of each label against the rest, and `macro`, their mean; None where one is missing.
        report: scikit-learn's classification report.
        confusion: the number of slices of each true label (rows) by likeliest label (columns).
    """

    slices: int
    accuracy: float | None
    auc_roc: dict[str, float | None]
    report: dict[str, dict[str, float]]
    confusion: list[list[int]]


def score(labels: Sequence[str], probabilities: npt.NDArray[np.floating]) -> Scores:
    """Scores the typed slices.

    Args:
        labels: one a slice; `tumor_untyped` ones have no type to be right about and are left out.
        probabilities: `(N, 4)`.
    """
    typed = np.array([label != UNTYPED for label in labels])
    true = np.array([LABELS.index(label) for label in labels if label != UNTYPED])
    chosen = probabilities[typed]
    predicted = chosen.argmax(axis=1)
    areas: dict[str, float | None] = {
        label: float(roc_auc_score(true == index, chosen[:, index]))
        if 0 < (true == index).sum() < len(true)
        else None
        for index, label in enumerate(LABELS)
    }
    known = [area for area in areas.values() if area is not None]
    areas["macro"] = sum(known) / len(known) if len(known) == len(LABELS) else None
    every = range(len(LABELS))
    return {
        "slices": int(typed.sum()),
        "accuracy": float((predicted == true).mean()) if len(true) else None,
        "auc_roc": areas,
        "report": classification_report(
            true, predicted, labels=every, target_names=LABELS, output_dict=True, zero_division=0.0
        ),
        "confusion": confusion_matrix(true, predicted, labels=every).tolist(),
    }


def report_text(scores: Scores) -> str:
    """Returns the classification report and AUC-ROC as a table."""
    rows: list[tuple[str, ...]] = [("", "precision", "recall", "F1", "AUC-ROC", "slices")]
    for label in LABELS:
        row, area = scores["report"][label], scores["auc_roc"][label]
        measured = (f"{row[name]:.3f}" for name in ("precision", "recall", "f1-score"))
        rows.append((label, *measured, "-" if area is None else f"{area:.3f}", f"{row['support']:.0f}"))
    last = f"accuracy {scores['accuracy']:.3f} over {scores['slices']} typed slices"
    return "\n".join([*aligned(rows), last])


def confusion_text(rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Returns a confusion matrix as a table: a row a true label, a column a prediction."""
    cells = [(name, *map(str, row)) for name, row in zip(rows, counts, strict=True)]
    return "\n".join(aligned([("true / predicted", *columns), *cells]))
