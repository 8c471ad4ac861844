"""Scores a model's likeliest labels on the split that chose its thresholds, as scikit-learn does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from sklearn.metrics import classification_report, confusion_matrix, roc_auc_score

from falx.decision import Thresholds, decide
from falx.slices.preprocessing import SIZE
from falx.words import LABELS, NO_TUMOR
from falx_runs.manifest import UNTYPED
from falx_runs.tables import aligned


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
    """Scores the likeliest labels by probabilities, `(N, 4)`; slices of no known type are left out."""
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


def measure(
    labels: Sequence[str],
    boxes: Sequence[npt.NDArray[np.float32]],
    probabilities: npt.NDArray[np.float64],
    evidence: npt.NDArray[np.float32] | None,
    thresholds: Thresholds,
) -> dict[str, float | None]:
    """Measures answers in shares; None where there are no slices of a kind.

    Args:
        labels: of the slices.
        boxes: of each, `(n, 4)`: left, top, right, bottom of its tumours in tensor pixels.
        probabilities: `(N, 4)`.
        evidence: `(N, 196)`, the map's; None without a map.
        thresholds: that decide.

    Returns:
        `auc`, of tumour or none; `missed`, tumours decided `no_tumor`; `cleared`, healthy slices decided so;
        `peak_in_box`, the map is highest in a box, over tumours with boxes that are not taken for healthy.
    """
    tumor = np.array(labels) != NO_TUMOR
    cleared = np.array([decide(row, thresholds) == NO_TUMOR for row in probabilities])
    both = bool(tumor.any() and not tumor.all())
    inside = (
        [
            _peak_in(own, cells)
            for own, cells, row in zip(boxes, evidence, probabilities, strict=True)
            if len(own) and row.argmax() != LABELS.index(NO_TUMOR)
        ]
        if evidence is not None
        else []
    )
    return {
        "auc": round(float(roc_auc_score(tumor, -probabilities[:, 0])), 4) if both else None,
        "missed": _share(cleared[tumor]),
        "cleared": _share(cleared[~tumor]),
        "peak_in_box": _share(inside),
    }


def _share(values: Sequence[bool] | npt.NDArray[np.bool_]) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def _peak_in(boxes: npt.NDArray[np.float32], cells: npt.NDArray[np.float32]) -> bool:
    """Tells whether the middle of the strongest place lies in a box; both in tensor pixels."""
    grid = math.isqrt(len(cells))
    y, x = (np.array(divmod(int(cells.argmax()), grid)) + 0.5) * SIZE / grid
    left, top, right, bottom = boxes.T
    return bool(((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).any())


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
