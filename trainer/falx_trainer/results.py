"""What a run leaves for people to look at: history, confusion matrix, classification report."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.metrics import classification_report, confusion_matrix, roc_auc_score

from falx.words import LABELS
from falx_trainer.records import UNTYPED
from falx_trainer.training import History

__all__ = [
    "Scores",
    "confusion_text",
    "plot_confusion",
    "plot_history",
    "report_text",
    "score",
    "write_history",
]

Scores = dict[str, Any]

BLUE, ORANGE = "#0072B2", "#D55E00"
"""Two of the colours of Okabe & Ito (2008), told apart with any kind of colour vision."""


def score(labels: Sequence[str], probabilities: npt.NDArray[np.floating]) -> Scores:
    """Accuracy, AUC-ROC and scikit-learn's classification report over the typed slices.

    Args:
        labels: of all slices; `tumor_untyped` ones have no type to be right about and are left out.
        probabilities: `(N, 4)`.

    Returns:
        JSON-ready: `slices`, `accuracy`, `auc_roc` a label (one against the rest) and `macro`
        (None where a label does not occur), `report`, and `confusion`, rows true, columns predicted.
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
    """The classification report and AUC-ROC as a table."""
    lines = [f"{'':14}{'precision':>10}{'recall':>10}{'F1':>10}{'AUC-ROC':>10}{'slices':>8}"]
    for label in LABELS:
        row, area = scores["report"][label], scores["auc_roc"][label]
        shown = "-" if area is None else f"{area:.3f}"
        lines.append(
            f"{label:14}{row['precision']:10.3f}{row['recall']:10.3f}{row['f1-score']:10.3f}{shown:>10}{row['support']:8.0f}"
        )
    lines.append(f"accuracy {scores['accuracy']:.3f} over {scores['slices']} typed slices")
    return "\n".join(lines)


def confusion_text(rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A confusion matrix as a table: a row a true label, a column a prediction."""
    width = max(map(len, columns)) + 2
    lines = [f"{'true / predicted':18}" + "".join(f"{name:>{width}}" for name in columns)]
    lines += [
        f"{name:18}" + "".join(f"{count:{width}}" for count in row)
        for name, row in zip(rows, counts, strict=True)
    ]
    return "\n".join(lines)


def plot_confusion(
    path: Path, rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]], title: str
) -> None:
    """Draw a confusion matrix, shaded by the share of its row."""
    numbers = np.array(counts)
    shares = numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(0.9 * len(columns) + 2.2, 0.9 * len(rows) + 1.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(numbers):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{count}\n{shares[row, column]:.0%}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    figure.savefig(path, dpi=120)


def write_history(path: Path, history: History) -> None:
    """Write the history as CSV, a row an epoch."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(history[0]) if history else ["stage", "epoch"])
        writer.writeheader()
        writer.writerows(history)


def plot_history(path: Path, history: History) -> None:
    """Draw loss and accuracy by epoch, train against val, with the change of stage marked."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = range(1, len(history) + 1)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for prefix, label, colour, line in (("", "train", BLUE, "-"), ("val_", "val", ORANGE, "--")):
            axes.plot(
                epochs, [row[prefix + name] for row in history], line, color=colour, label=label, marker="."
            )
        first = sum(row["stage"] == 1 for row in history)
        if 0 < first < len(history):
            axes.axvline(first + 0.5, color="grey", linewidth=0.8)
            axes.annotate("stage 2", (first + 0.6, axes.get_ylim()[1]), va="top", fontsize=8, color="grey")
        axes.set(xlabel="epoch", title=name)
        axes.legend()
    figure.savefig(path, dpi=120)
