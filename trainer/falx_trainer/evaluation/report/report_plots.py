"""The plots of an evaluation: as PNG beside the page, and as they stand in it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from falx.words import DECISIONS, LABELS, REJECTED, TUMOR_LABELS
from falx_runs.manifest import Record
from falx_trainer import plots
from falx_trainer.evaluation import measures
from falx_trainer.evaluation.answers import ModelAnswer
from falx_trainer.evaluation.measures import Document, Pairs
from falx_trainer.evaluation.report.numbers import NAMES, decimal


def draw(folder: Path, pairs: Pairs, metrics: Document, curves: Document) -> dict[str, str]:
    """Draws all plots as `NAME.png` into a folder; returns the page's as `data:` URIs by name."""
    slices = f"{metrics['split'] or 'all'} slices"
    whole = metrics["all"]
    shown: dict[str, str] = {}
    style = rc_context(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            # Equal plots are equal text, and look alike whatever fonts a reader has.
            "svg.hashsalt": "falx",
            "svg.fonttype": "path",
        }
    )
    with style:
        rows, counts = measures.decisions(pairs)
        plots.plot_confusion(folder / "decisions.png", rows, DECISIONS, counts, f"decisions, {slices}")
        if whole["confusion"]:
            columns = [*LABELS, REJECTED]
            table = [[row[column] for column in columns] for row in whole["confusion"].values()]
            title = f"likeliest label, {slices}"
            plots.plot_confusion(folder / "labels.png", [*whole["confusion"]], columns, table, title)
        if metrics["calibration"]:
            title = f"calibration, {slices}; error {decimal(whole['calibration_error'])}"
            shown["calibration"] = _vector(
                plots.plot_calibration(folder / "calibration.png", metrics["calibration"], title)
            )
            decided, right = whole["decided"], whole["right_of_decided"]
            shown["risk_coverage"] = _vector(
                plots.plot_risk_coverage(
                    folder / "risk_coverage.png",
                    metrics["risk_coverage"],
                    None if right is None else (decided[0], 1 - right[0]),
                    f"risk and coverage, {slices}",
                )
            )
        if curves:
            shown |= _curves(folder, whole, curves, slices)
        examples = [
            plots.LocatedTumor(
                record.label,
                answer.decision,
                answer.location,
                record.boxes,
                measures.inside(record, answer),
            )
            for record, answer in _examples(pairs)
            if answer.location is not None
        ]
        if examples:
            plots.plot_heatmaps(folder / "heatmaps.png", examples)
            # As pixels: as vectors its many cells would make the page large.
            shown["heatmaps"] = _uri("image/png", (folder / "heatmaps.png").read_bytes())
    return shown


def _curves(folder: Path, whole: Document, curves: Document, slices: str) -> dict[str, str]:
    found = {**whole["classes"], "tumor": whole["tumor"]}
    drawn = {}
    for name, measure, across, up, axes, title in (
        (
            "roc",
            "auc_roc",
            "false_positive_rate",
            "true_positive_rate",
            ("of the others, share called so by mistake", "of those with it, share found"),
            "ROC",
        ),
        (
            "precision_recall",
            "average_precision",
            "recall",
            "precision",
            ("of those with it, share found (recall)", "of those called so, share right (precision)"),
            "precision and recall",
        ),
    ):
        lines = {
            label: (
                f"{NAMES[label]} ({decimal(found[label][measure])})",
                curves[label][name][across],
                curves[label][name][up],
            )
            for label in curves
        }
        drawn[name] = _vector(plots.plot_curves(folder / f"{name}.png", lines, axes, f"{title}, {slices}"))
    return drawn


def _examples(pairs: Pairs) -> list[tuple[Record, ModelAnswer]]:
    """Chooses four tumours with a box of each label, at equal steps through all of them."""
    chosen = []
    for label in TUMOR_LABELS:
        located = [(r, a) for r, a in pairs if r.label == label and r.boxes and a.location is not None]
        chosen += [located[(2 * step + 1) * len(located) // 8] for step in range(4) if located]
    return chosen


def _vector(figure: Figure) -> str:
    stream = io.BytesIO()
    # It is laid out already, for the PNG.
    figure.set_layout_engine("none")
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return _uri("image/svg+xml", stream.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
