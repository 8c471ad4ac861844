"""What a run leaves for people to look at: history, confusion matrix, classification report."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.metrics import classification_report, confusion_matrix, roc_auc_score

from falx.decision import Thresholds, decide
from falx.prediction import Location
from falx.slices.preprocessing import SIZE
from falx.words import LABELS, NO_TUMOR
from falx_runs.manifest import UNTYPED, Box
from falx_trainer.data.tensors import Boxes, Tensors

if TYPE_CHECKING:
    from falx_trainer.training.stages import History

__all__ = [
    "Example",
    "Scores",
    "confusion_text",
    "measure",
    "plot_calibration",
    "plot_confusion",
    "plot_curves",
    "plot_heatmaps",
    "plot_history",
    "plot_risk_coverage",
    "report_text",
    "score",
    "write_history",
]

Scores = dict[str, Any]

BLUE, ORANGE = "#0072B2", "#D55E00"
"""Two of the colours of Okabe & Ito (2008), told apart with any kind of colour vision."""

STROKES: Final = {
    "no_tumor": ("#0072B2", "-"),
    "meningioma": ("#E69F00", "--"),
    "glioma": ("#009E73", "-."),
    "pituitary": ("#CC79A7", (0, (1, 1))),
    "tumor": ("#000000", "-"),
}
"""How the curve of each label is drawn: more of those colours, and a stroke, for prints without any."""

DPI: Final = 120


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


def measure(
    data: Tensors,
    probabilities: npt.NDArray[np.float64],
    evidence: npt.NDArray[np.float32] | None,
    thresholds: Thresholds,
) -> dict[str, float | None]:
    """How good answers are, as shares; None where there are no slices of a kind.

    Args:
        data: the slices.
        probabilities: `(N, 4)`.
        evidence: `(N, 196)`, the map's; None without a map.
        thresholds: that decide.

    Returns:
        `auc`, of tumour or none; `missed`, tumours decided `no_tumor`; `cleared`, healthy slices decided so;
        `peak_in_box`, the map is highest in a box, over tumours with boxes that are not taken for healthy.
    """
    labels = np.array([record.label for record in data.records])
    tumor = labels != NO_TUMOR
    cleared = np.array([decide(row, thresholds) == NO_TUMOR for row in probabilities])
    both = bool(tumor.any() and not tumor.all())
    inside = (
        [
            _peak_in(boxes, cells)
            for boxes, cells, row in zip(data.boxes, evidence, probabilities, strict=True)
            if len(boxes) and row.argmax() != LABELS.index(NO_TUMOR)
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


def _peak_in(boxes: Boxes, cells: npt.NDArray[np.float32]) -> bool:
    """Whether the middle of the strongest place lies in a box; both in tensor pixels."""
    grid = math.isqrt(len(cells))
    y, x = (np.array(divmod(int(cells.argmax()), grid)) + 0.5) * SIZE / grid
    left, top, right, bottom = boxes.T
    return bool(((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).any())


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
) -> Figure:
    """Draw a confusion matrix, shaded by the share of its row; the figure, for other forms of it."""
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
    figure.savefig(path, dpi=DPI)
    return figure


def plot_calibration(path: Path, bins: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Draw a reliability diagram over a histogram: how often a confidence is right, and how often it comes.

    Args:
        path: of the PNG to write.
        bins: of the confidence, each with its `slices`, mean `confidence` and the share `right`.
        title: of the plot.

    Returns:
        The figure, for other forms of it.
    """
    figure = Figure(figsize=(4.8, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    confidence = [row["confidence"] for row in bins]
    slices = [row["slices"] for row in bins]
    upper.plot([0, 1], [0, 1], "--", color="grey", linewidth=1, label="as often as it says")
    upper.plot(confidence, [row["right"] for row in bins], "-", color=BLUE, linewidth=1)
    # The larger the bin the larger its mark: a bin of three slices says little.
    sizes = [12 + 160 * count / max(slices) for count in slices]
    upper.scatter(confidence, [row["right"] for row in bins], sizes, color=BLUE, label="measured")
    upper.set(xlim=(0, 1.02), ylim=(0, 1.02), ylabel="share right", title=title)
    upper.legend(loc="lower right")
    lower.bar(confidence, slices, width=0.04, color=BLUE)
    lower.set(xlabel="greatest probability, mean of the bin", ylabel="slices")
    figure.savefig(path, dpi=DPI)
    return figure


def plot_risk_coverage(
    path: Path, curve: Sequence[Mapping[str, float]], decided: tuple[float, float] | None, title: str
) -> Figure:
    """Draw which share of the surest slices is wrong.

    Args:
        path: of the PNG to write.
        curve: points with the `coverage`, share of the slices, and the `risk`, share wrong among them.
        decided: the share that the model decides by its thresholds and the share wrong of it; None without.
        title: of the plot.

    Returns:
        The figure, for other forms of it.
    """
    figure = Figure(figsize=(4.8, 3.8), layout="constrained")
    axes = figure.subplots()
    coverage, risk = ([100 * row[name] for row in curve] for name in ("coverage", "risk"))
    axes.plot(coverage, risk, ".-", color=BLUE, label="surest slices first")
    if decided is not None:
        share, wrong = decided
        axes.plot(100 * share, 100 * wrong, "D", color=ORANGE, label="decided, by the thresholds")
    axes.set(xlim=(0, 102), ylim=(0, None), title=title)
    axes.set(xlabel="slices answered, %", ylabel="wrong, % of those answered")
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=DPI)
    return figure


def plot_curves(
    path: Path,
    curves: Mapping[str, tuple[str, Sequence[float], Sequence[float]]],
    axes: tuple[str, str],
    title: str,
) -> Figure:
    """Draw a curve a label, such as of ROC.

    Args:
        path: of the PNG to write.
        curves: by label, or `tumor`: what the legend says of it, and its points across and up, 0..1.
        axes: what goes across and what goes up.
        title: of the plot.

    Returns:
        The figure, for other forms of it.
    """
    figure = Figure(figsize=(4.8, 4.8), layout="constrained")
    plot = figure.subplots()
    for name, (text, across, up) in curves.items():
        colour, stroke = STROKES[name]
        plot.plot(across, up, color=colour, linestyle=stroke, linewidth=1.6, label=text, clip_on=False)
    plot.set(xlim=(0, 1), ylim=(0, 1), xlabel=axes[0], ylabel=axes[1], title=title, aspect="equal")
    plot.grid(color="#dddddd", linewidth=0.6)
    plot.legend(loc="best", fontsize=8.5)
    figure.savefig(path, dpi=DPI)
    return figure


@dataclass(frozen=True)
class Example:
    """A tumour and where a model sees it.

    Attributes:
        label: of the slice.
        decision: of the model.
        location: what the heatmap is made of.
        boxes: around the tumour, in fractions of the image.
        inside: whether the heatmap is highest inside one.
    """

    label: str
    decision: str
    location: Location
    boxes: Sequence[Box]
    inside: bool


def plot_heatmaps(path: Path, examples: Sequence[Example]) -> Figure:
    """Draw heatmaps as they lie on the image, without the image, and the boxes around the tumours.

    Dotted: the part of the image that the model sees.

    Args:
        path: of the PNG to write.
        examples: at least one, drawn in their order, four a row.

    Returns:
        The figure, for other forms of it.
    """
    rows = -(-len(examples) // 4)
    figure = Figure(figsize=(9.2, 2.5 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, 4, squeeze=False)
    for axes in grid.ravel()[len(examples) :]:
        axes.axis("off")
    for axes, example in zip(grid.ravel(), examples, strict=False):
        height, width = example.location.shape
        axes.imshow(example.location.heatmap(), cmap="cividis", vmin=0, vmax=1)
        for box in example.boxes:
            corner = ((box.x - box.width / 2) * width, (box.y - box.height / 2) * height)
            size = (box.width * width, box.height * height)
            # White under orange: seen on the dark blue and on the yellow of the map alike.
            for colour, line in (("white", 3.0), (ORANGE, 1.4)):
                axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=line))
        frame = example.location.frame
        seen = Rectangle((frame.left, frame.top), frame.width, frame.height, fill=False, linestyle=":")
        seen.set_edgecolor("white")
        axes.add_patch(seen)
        found = "highest inside" if example.inside else "highest outside"
        axes.set_title(f"{example.label}, decided {example.decision}\n{found}", fontsize=7.5)
        axes.set(xticks=[], yticks=[])
    scale = ScalarMappable(Normalize(0, 1), "cividis")
    figure.colorbar(scale, ax=grid, shrink=0.6, label="probability of a tumour there")
    figure.savefig(path, dpi=DPI)
    return figure


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
    figure.savefig(path, dpi=DPI)
