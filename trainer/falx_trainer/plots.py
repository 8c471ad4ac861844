"""Draws the plots of trainings and evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from falx.prediction import Location
from falx.words import percent
from falx_runs.manifest import Box

if TYPE_CHECKING:
    pass


BLUE, ORANGE = "#0072B2", "#D55E00"
"""Two of the colours of Okabe & Ito (2008), told apart with any kind of colour vision."""

STROKES: Final = {
    "no_tumor": ("#0072B2", "-"),
    "meningioma": ("#E69F00", "--"),
    "glioma": ("#009E73", "-."),
    "pituitary": ("#CC79A7", (0, (1, 1))),
    "tumor": ("#000000", "-"),
}
"""The colour and stroke of each label's curve: more of those colours, and strokes for prints without any."""

DPI: Final = 120


def plot_confusion(
    path: Path, rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]], title: str
) -> Figure:
    """Draws a confusion matrix, shaded by the share of its row."""
    numbers = np.array(counts)
    shares = numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(0.9 * len(columns) + 2.2, 0.9 * len(rows) + 1.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(numbers):
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{count}\n{percent(shares[row, column], 0)}"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    figure.savefig(path, dpi=DPI)
    return figure


def plot_calibration(path: Path, bins: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Draws a reliability diagram over a histogram: how often a confidence is right, and how often it comes.

    Each bin has its `slices`, its mean `confidence` and the share `right`.
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
    """Draws which share of the surest slices is wrong.

    Args:
        path: where the PNG is written.
        curve: points with the `coverage`, share of the slices, and the `risk`, share wrong among them.
        decided: the share that the model decides by its thresholds and the share wrong of it; None without.
        title: the plot's.
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
    """Draws a curve a label, such as of ROC.

    Args:
        path: where the PNG is written.
        curves: the legend and the points across and up, 0..1, of each label, or `tumor`.
        axes: what goes across and what goes up.
        title: the plot's.
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
class LocatedTumor:
    """A tumour, and where a model sees it; `inside`: the heatmap is highest in one of its boxes."""

    label: str
    decision: str
    location: Location
    boxes: Sequence[Box]
    inside: bool


def plot_heatmaps(path: Path, examples: Sequence[LocatedTumor]) -> Figure:
    """Draws heatmaps as they lie on the image, the boxes of the tumours and, dotted, what the model sees."""
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


def plot_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Draws loss and accuracy by epoch, train against val, with the change of stage marked."""
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
