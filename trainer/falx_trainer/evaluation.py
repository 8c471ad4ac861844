"""Measure a model: what it says of labelled slices, by source, sequence, plane and label, and of others."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import falx
from falx import images
from falx.words import DECISIONS, REJECTED, TUMOR_LABELS
from falx_trainer import answers, measures, results
from falx_trainer.answers import Answer
from falx_trainer.measures import Pairs, measure
from falx_trainer.processor import processor
from falx_trainer.records import DataError, Record, read_records

__all__ = ["evaluate"]

SHARES: Final = ("accuracy", "decided", "right_of_decided", "missed", "cleared", "rejected", "peak_in_box")

UNKNOWN: Final = "not recorded"

PLANES: Final = {"ax": "axial", "co": "coronal", "sa": "sagittal"}
"""Short names of planes, as some manifests have them."""

BREAKDOWNS: Final[dict[str, Callable[[Record], str]]] = {
    "by_source": lambda record: record.source,
    "by_sequence": lambda record: record.sequence,
    "by_plane": lambda record: PLANES.get(record.plane, record.plane),
    "by_label": lambda record: record.label,
    "by_source_and_sequence": lambda record: (
        f"{record.source}, {record.sequence}" if record.source and record.sequence else ""
    ),
}
"""What the slices are measured apart by; each gives a value, empty where it is unknown."""


def evaluate(model: Path, data: Path, split: str | None, out: Path, pictures: Path | None = None) -> str:
    """Measure a model and write `metrics.json`, a table and plots.

    Args:
        model: an exported file, measured through the runtime; or a run folder, through Keras.
        data: a folder a class, or a manifest.
        split: only the records of this split; None for all.
        out: the folder to write.
        pictures: a folder a family of pictures that are no brain MRI, to see which are rejected.

    Returns:
        The table.

    Raises:
        DataError: no slices to measure on.
        ModelError: the file cannot be used.
        RunError: the folder is not that of a finished run.
    """
    records = [record for record in read_records(data) if split in (None, record.split)]
    if not records:
        raise DataError(
            f"{data}: no slices of the split {split!r}; how a run divided its data says the data.csv in its "
            "folder: give that with --data"
        )
    families = {} if pictures is None else _families(pictures)
    asked = answers.load(model)
    answered = asked.answers([record.path for record in records])
    pairs = [(record, answer) for record, answer in zip(records, answered, strict=True) if answer is not None]
    if not pairs:
        raise DataError(f"{data}: none of its {len(records)} slices can be read, such as {records[0].path}")
    metrics = {
        "model": asked.described,
        "measured": {
            "on": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "processor": processor(),
            "falx": falx.__version__,
        },
        "split": split,
        "slices": len(records),
        "unreadable": len(records) - len(pairs),
        "all": measure(pairs),
        **{name: _apart(pairs, value) for name, value in BREAKDOWNS.items()},
        "calibration": measures.calibration(pairs),
        "risk_coverage": measures.risk_coverage(pairs),
        **({} if pictures is None else {"pictures": _rejected(asked, families)}),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    text = _table(metrics)
    (out / "metrics.txt").write_text(text + "\n", encoding="utf-8")
    _plot(out, pairs, metrics)
    return text


def _plot(out: Path, pairs: Pairs, metrics: dict[str, Any]) -> None:
    slices = f"{metrics['split'] or 'all'} slices"
    rows, counts = measures.decisions(pairs)
    results.plot_confusion(out / "decisions.png", rows, DECISIONS, counts, f"decisions, {slices}")
    if metrics["calibration"]:
        results.plot_calibration(
            out / "calibration.png",
            metrics["calibration"],
            f"calibration, {slices}; error {metrics['all']['calibration_error'][0]:.3f}",
        )
        decided, right = (metrics["all"][name] for name in ("decided", "right_of_decided"))
        results.plot_risk_coverage(
            out / "risk_coverage.png",
            metrics["risk_coverage"],
            None if right is None else (decided[0], 1 - right[0]),
            f"risk and coverage, {slices}",
        )
    examples = [
        results.Example(record.label, answer.decision, answer.location, record.boxes, inside)
        for record, answer in _examples(pairs)
        if answer.location is not None
        for inside in [measures.inside(record, answer)]
    ]
    if examples:
        results.plot_heatmaps(out / "heatmaps.png", examples)


def _examples(pairs: Pairs) -> list[tuple[Record, Answer]]:
    """Four tumours with a box of each label, at equal steps through all: not the best, not the worst."""
    chosen = []
    for label in TUMOR_LABELS:
        located = [(r, a) for r, a in pairs if r.label == label and r.boxes and a.location is not None]
        chosen += [located[(2 * step + 1) * len(located) // 8] for step in range(4) if located]
    return chosen


def _apart(pairs: Pairs, value: Callable[[Record], str]) -> dict[str, Any]:
    """The measures of the slices of each value; of those without, only where others have one."""
    values = sorted({value(record) for record, _ in pairs} - {""})
    unknown = [UNKNOWN] if values and any(not value(record) for record, _ in pairs) else []
    return {
        name: measure([(record, answer) for record, answer in pairs if (value(record) or UNKNOWN) == name])
        for name in [*values, *unknown]
    }


def _families(pictures: Path) -> dict[str, list[Path]]:
    """The pictures of each family, sorted.

    Raises:
        DataError: there are none.
    """
    folders = sorted(path for path in pictures.glob("*") if path.is_dir() and not path.name.startswith("."))
    families = {
        folder.name: sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in images.SUFFIXES and path.is_file()
        )
        for folder in folders
    }
    if not any(families.values()):
        raise DataError(f"{pictures}: expected a folder a family of pictures that are no brain MRI")
    return {name: paths for name, paths in families.items() if paths}


def _rejected(model: answers.Model, families: dict[str, list[Path]]) -> dict[str, Any]:
    """What a model says of pictures that are no brain MRI, in all and by family."""
    told = {name: model.answers(paths) for name, paths in families.items()}
    digest = hashlib.sha256()
    for paths in families.values():
        for path in paths:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return {
        "sha256": digest.hexdigest(),
        "all": measures.rejections(
            [p for paths in families.values() for p in paths], [a for t in told.values() for a in t]
        ),
        "by_family": {name: measures.rejections(paths, told[name]) for name, paths in families.items()},
    }


def _table(metrics: dict[str, Any]) -> str:
    """A row for all slices, and for those of each value of each breakdown; then the other measures."""
    parts = [("all", metrics["all"])]
    for name in BREAKDOWNS:
        parts += [("", None), *metrics[name].items()] if len(metrics[name]) > 1 else []
    wide = max(len(name) for name, _ in parts) + 2
    lines = [f"{'':{wide}}{'slices':>7}" + "".join(f"{name:>20}" for name in SHARES)]
    for name, part in parts:
        if part is None:
            lines.append("")
            continue
        cells = [_percentage(part[share]) for share in SHARES]
        lines.append(f"{name:{wide}}{part['slices']:7}" + "".join(f"{cell:>20}" for cell in cells))
    decisions = metrics["all"]["decisions"]
    lines += [
        "",
        results.confusion_text(list(decisions), DECISIONS, [[*row.values()] for row in decisions.values()]),
    ]
    error = metrics["all"]["calibration_error"]
    if error is not None:
        value, low, high, _ = error
        lines += ["", f"expected calibration error of the typed slices: {value:.3f} ({low:.3f}–{high:.3f})"]
    if "pictures" in metrics:
        lines += ["", *_picture_lines(metrics["pictures"])]
    return "\n".join(lines)


def _picture_lines(pictures: dict[str, Any]) -> list[str]:
    families = {"all": pictures["all"], **pictures["by_family"]}
    wide = max(len("no brain MRI"), *map(len, families)) + 2
    lines = [f"{'no brain MRI':{wide}}{'pictures':>9}{'rejected':>20}   decided all the same"]
    for name, part in families.items():
        others = ", ".join(f"{n} {d}" for d, n in part["decisions"].items() if n and d != REJECTED)
        lines.append(
            f"{name:{wide}}{part['pictures']:9}{_percentage(part['rejected']):>20}   {others}".rstrip()
        )
    return lines


def _percentage(share: list[float] | None) -> str:
    if share is None:
        return "-"
    value, low, high, _ = share
    return f"{value:.1%} ({low:.1%}–{high:.1%})".replace("%", "")
