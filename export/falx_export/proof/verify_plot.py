"""The picture of a comparison: how large the differences are, and where they change a decision."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from falx_export.proof.verify import Verification

SUFFIXES: Final = (".png", ".svg", ".pdf")
"""Formats of the picture, by the end of its name."""

COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
"""Colours of Okabe & Ito (2008), told apart with any kind of colour vision."""


def draw(path: Path, comparison: Verification) -> None:
    """Draws a comparison; the path's suffix is the format.

    Left, the share of slices that differ by more than x, by label. Right, the probability of the decision's
    label in Keras and in the file; every slice is a point, those whose decision changed are crosses. Slices
    that the file rejects without probabilities are in neither.
    """
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    spread, answers = figure.subplots(1, 2)
    _spread(spread, comparison)
    _answers(answers, comparison)
    changed = sum(x.changed for x in comparison.slices)
    figure.suptitle(
        f"{comparison.file} against Keras: {changed} of {len(comparison.slices)} decisions changed",
        fontsize=11,
    )
    # No date, no version of the library: the same comparison gives the same file.
    figure.savefig(path, dpi=120, metadata={"Software": None} if path.suffix.lower() == ".png" else None)


def _spread(axes: Axes, comparison: Verification) -> None:
    for index, label in enumerate(comparison.labels):
        # From the smallest that a logarithmic axis is to show.
        found = [x.largest for x in comparison.slices if x.label == label and not x.silent]
        sizes = np.sort(np.maximum(found, 1e-6))[::-1]
        shares = np.arange(1, len(sizes) + 1) / len(sizes)
        axes.step(
            sizes, shares, color=COLOURS[index % len(COLOURS)], where="pre", label=f"{label} ({len(sizes)})"
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="largest difference of a probability",
        ylabel="share of slices that differ by this or more",
    )
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _answers(axes: Axes, comparison: Verification) -> None:
    slices = [x for x in comparison.slices if not x.silent]
    places = [int(x.expected.argmax()) for x in slices]
    points = np.array([(x.expected[place], x.got[place]) for x, place in zip(slices, places, strict=True)])
    changed = np.array([x.changed for x in slices])
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    same, other = points[~changed].T, points[changed].T
    axes.scatter(same[0], same[1], s=4, color=COLOURS[0], label="same decision")
    axes.scatter(other[0], other[1], s=36, color="#D55E00", marker="x", label="decision changed")
    axes.set(
        xlabel="Keras: probability of its likeliest label",
        ylabel="file: probability of that label",
        xlim=(0.2, 1.01),
        ylim=(0.2, 1.01),
        aspect="equal",
    )
    axes.legend(fontsize=8, loc="upper left")
    axes.grid(alpha=0.3)
