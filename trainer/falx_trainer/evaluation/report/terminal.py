"""Lays out an evaluation as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from falx.words import DECISIONS, LABELS, NO_TUMOR, REJECTED, percent
from falx_runs.tables import aligned
from falx_trainer.evaluation.measures import AVERAGES, Document
from falx_trainer.evaluation.report.numbers import NONE, decimal, decimal_range
from falx_trainer.scores import confusion_text

SHARES: Final = ("missed", "cleared", "decided", "right_of_decided", "accuracy", "rejected", "peak_in_box")
CLASS: Final = ("precision", "recall", "f1", "auc_roc")


def text(metrics: Document) -> str:
    """Returns the measures: missed tumours first, then labels, decisions, parts, thresholds and warnings."""
    whole = metrics["all"]
    blocks = [_missed(whole), _classes(whole)]
    if whole["confusion"]:
        blocks.append(_matrix("likeliest label", whole["confusion"], [*LABELS, REJECTED]))
    blocks.append(_matrix("decision", whole["decisions"], DECISIONS))
    blocks.append(_parts(metrics))
    if "pictures" in metrics:
        blocks.append(_pictures(metrics["pictures"]))
    if "comparison" in metrics:
        blocks.append(_comparison(metrics))
    blocks.append(_thresholds(metrics["thresholds"]))
    told = (metrics["thresholds"]["warnings"], metrics["warnings"])
    blocks.extend("\n".join(f"warning: {warning}" for warning in found) for found in told if found)
    return "\n\n".join(blocks)


def _missed(whole: Document) -> str:
    if whole["missed"] is None:
        return "missed tumours: no slice has one"
    value, low, high, slices = whole["missed"]
    missed = sum(row[NO_TUMOR] for label, row in whole["decisions"].items() if label != NO_TUMOR)
    return (
        f"missed tumours: {percent(value)} ({low * 100:.1f}–{percent(high)}), "
        f"{missed:,} of {slices:,} decided no_tumor"
    )


def _classes(whole: Document) -> str:
    """Lays out the classification report of the likeliest label."""
    titles = {"f1": "F1", "auc_roc": "AUC-ROC"}
    rows = [("", *(titles.get(name, name) for name in CLASS), "slices")]
    for label in LABELS:
        row = whole["classes"][label]
        rows.append((label, *(_cell(row[name]) for name in CLASS), str(row["slices"])))
    for average in AVERAGES:
        row = whole["averages"].get(average, {})
        rows.append((f"{average} average", *(_cell(row.get(name)) for name in CLASS), ""))
    rows.append(("any tumour", "", "", "", _cell(whole["tumor"]["auc_roc"]), ""))
    lines = aligned(rows)
    error = whole["calibration_error"]
    if error is not None:
        lines.append(f"expected calibration error {decimal(error)} ({decimal_range(error)})")
    return "\n".join(lines)


def _cell(interval: Sequence[float] | None) -> str:
    return NONE if interval is None else f"{decimal(interval)} ({decimal_range(interval)})"


def _matrix(title: str, rows: Mapping[str, Mapping[str, int]], columns: Sequence[str]) -> str:
    counts = [[row[column] for column in columns] for row in rows.values()]
    return f"{title}, slices\n" + confusion_text(list(rows), columns, counts)


def _parts(metrics: Document) -> str:
    """Lays out a row for all slices, and one for those of each value of each breakdown."""
    blank = ("",) * (2 + len(SHARES))
    rows = [("%", "slices", *SHARES), _part("all", metrics["all"])]
    for name, found in metrics.items():
        if name.startswith("by_") and len(found) > 1:
            rows += [blank, *(_part(value, part) for value, part in found.items())]
    return "\n".join(aligned(rows))


def _part(name: str, part: Document) -> tuple[str, ...]:
    return (name, str(part["slices"]), *(_percentage(part[share]) for share in SHARES))


def _pictures(pictures: Document) -> str:
    rows, others = [("not brain MRI, %", "pictures", "rejected")], ["decided all the same"]
    for name, part in {"all": pictures["all"], **pictures["by_family"]}.items():
        rows.append((name, str(part["pictures"]), _percentage(part["rejected"])))
        others.append(", ".join(f"{n} {d}" for d, n in part["decisions"].items() if n and d != REJECTED))
    lines = zip(aligned(rows), others, strict=True)
    return "\n".join(f"{line}   {other}".rstrip() for line, other in lines)


def _comparison(metrics: Document) -> str:
    first, second = metrics["model"]["name"], metrics["comparison"]["model"]["name"]
    rows = [("", "first", "second", "difference", "only first", "only second", "p")]
    for name, row in metrics["comparison"]["tests"].items():
        if row is None:
            continue
        value, low, high, _ = row["difference"]
        ends = "" if low is None else f" ({low:+.3f} to {high:+.3f})"
        alone = ("", "", "")
        if "p" in row:
            alone = (str(row["only_first"]), str(row["only_second"]), f"{row['p']:.3g}")
        rows.append((name, f"{row['first']:.3f}", f"{row['second']:.3f}", f"{value:+.3f}{ends}", *alone))
    title = f"compared: {first} (first) and {second} (second), the first less the second"
    return "\n".join([title, *aligned(rows)])


def _thresholds(thresholds: Document) -> str:
    rows = [("thresholds", *LABELS, "missed, %")]
    for name, choice in thresholds["choices"].items():
        values = (f"{choice['thresholds'][label]:.4g}" for label in LABELS)
        rows.append((name, *values, _percentage(choice["measured"]["missed"])))
    return "\n".join(aligned(rows))


def _percentage(share: Sequence[float] | None) -> str:
    if share is None:
        return NONE
    value, low, high, _ = share
    return f"{value * 100:.1f} ({low * 100:.1f}–{high * 100:.1f})"
