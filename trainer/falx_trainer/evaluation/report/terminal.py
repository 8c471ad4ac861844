"""An evaluation as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from falx.words import DECISIONS, LABELS, REJECTED
from falx_trainer.evaluation.measures import AVERAGES
from falx_trainer.evaluation.report.numbers import NONE, decimal, decimal_range
from falx_trainer.scores import confusion_text

__all__ = ["SHARES", "text"]

SHARES: Final = ("missed", "cleared", "decided", "right_of_decided", "accuracy", "rejected", "peak_in_box")
CLASS: Final = ("precision", "recall", "f1", "auc_roc")


def text(metrics: Mapping[str, Any]) -> str:
    """Returns the measures: missed tumours first, then labels, decisions, parts, thresholds and warnings.

    Args:
        metrics: the document of `metrics.json`.
    """
    whole = metrics["all"]
    blocks = [_missed(whole), _classes(whole)]
    if whole["confusion"]:
        columns = [*LABELS, REJECTED]
        blocks.append(_matrix("likeliest label", whole["confusion"], columns))
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


def _missed(whole: Mapping[str, Any]) -> str:
    if whole["missed"] is None:
        return "missed tumours: no slice has one"
    value, low, high, slices = whole["missed"]
    missed = sum(row["no_tumor"] for label, row in whole["decisions"].items() if label != "no_tumor")
    return (
        f"missed tumours: {value * 100:.1f} % ({low * 100:.1f}–{high * 100:.1f} %), "
        f"{missed:,} of {slices:,} decided no_tumor"
    )


def _classes(whole: Mapping[str, Any]) -> str:
    """Returns the classification report of the likeliest label."""
    titles = {"f1": "F1", "auc_roc": "AUC-ROC"}
    lines = [f"{'':14}" + "".join(f"{titles.get(name, name):>21}" for name in CLASS) + f"{'slices':>8}"]
    for label in LABELS:
        row = whole["classes"][label]
        lines.append(f"{label:14}" + "".join(_cell(row[name]) for name in CLASS) + f"{row['slices']:8}")
    for average in AVERAGES:
        row = whole["averages"].get(average, {})
        lines.append(f"{average + ' average':14}".ljust(14) + "".join(_cell(row.get(name)) for name in CLASS))
    lines.append(f"{'any tumour':14}{'':63}{_cell(whole['tumor']['auc_roc'])}")
    error = whole["calibration_error"]
    if error is not None:
        lines.append(f"expected calibration error {decimal(error)} ({decimal_range(error)})")
    return "\n".join(lines)


def _cell(interval: Sequence[float] | None) -> str:
    return f"{NONE if interval is None else f'{decimal(interval)} ({decimal_range(interval)})':>21}"


def _matrix(what: str, rows: Mapping[str, Mapping[str, int]], columns: Sequence[str]) -> str:
    counts = [[row[column] for column in columns] for row in rows.values()]
    return f"{what}, slices\n" + confusion_text(list(rows), columns, counts)


def _parts(metrics: Mapping[str, Any]) -> str:
    """Lays out a row for all slices, and one for those of each value of each breakdown."""
    parts: list[tuple[str, Any]] = [("all", metrics["all"])]
    for name, found in metrics.items():
        if name.startswith("by_") and len(found) > 1:
            parts += [("", None), *found.items()]
    wide = max(len(name) for name, _ in parts) + 2
    lines = [f"{'%':{wide}}{'slices':>7}" + "".join(f"{name:>20}" for name in SHARES)]
    for name, part in parts:
        if part is None:
            lines.append("")
            continue
        cells = [_percentage(part[share]) for share in SHARES]
        lines.append(f"{name:{wide}}{part['slices']:7}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def _pictures(pictures: Mapping[str, Any]) -> str:
    families = {"all": pictures["all"], **pictures["by_family"]}
    wide = max(len("no brain MRI, %"), *map(len, families)) + 2
    lines = [f"{'no brain MRI, %':{wide}}{'pictures':>9}{'rejected':>20}   decided all the same"]
    for name, part in families.items():
        others = ", ".join(f"{n} {d}" for d, n in part["decisions"].items() if n and d != REJECTED)
        lines.append(
            f"{name:{wide}}{part['pictures']:9}{_percentage(part['rejected']):>20}   {others}".rstrip()
        )
    return "\n".join(lines)


def _comparison(metrics: Mapping[str, Any]) -> str:
    first, second = metrics["model"]["name"], metrics["comparison"]["model"]["name"]
    lines = [f"compared: {first} (first) and {second} (second), the first less the second"]
    lines.append(
        f"{'':16}{'first':>8}{'second':>8}{'difference':>28}{'only first':>12}{'only second':>12}{'p':>9}"
    )
    for name, row in metrics["comparison"]["tests"].items():
        if row is None:
            continue
        value, low, high, _ = row["difference"]
        ends = "" if low is None else f" ({low:+.3f} to {high:+.3f})"
        line = f"{name:16}{row['first']:8.3f}{row['second']:8.3f}{f'{value:+.3f}{ends}':>28}"
        if "p" in row:
            line += f"{row['only_first']:12}{row['only_second']:12}{row['p']:9.3g}"
        lines.append(line)
    return "\n".join(lines)


def _thresholds(thresholds: Mapping[str, Any]) -> str:
    lines = [f"{'thresholds':14}" + "".join(f"{label:>12}" for label in LABELS) + f"{'missed, %':>20}"]
    for name, choice in thresholds["choices"].items():
        values = "".join(f"{choice['thresholds'][label]:12.4g}" for label in LABELS)
        lines.append(f"{name:14}{values}{_percentage(choice['measured']['missed']):>20}")
    return "\n".join(lines)


def _percentage(share: Sequence[float] | None) -> str:
    if share is None:
        return NONE
    value, low, high, _ = share
    return f"{value * 100:.1f} ({low * 100:.1f}–{high * 100:.1f})"
