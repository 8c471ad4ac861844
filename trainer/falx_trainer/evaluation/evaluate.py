"""Measures a model: what it says of labelled slices, by source, sequence, plane and label, and of others."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import falx
from falx.words import LABELS, counted
from falx_runs.errors import DataError
from falx_runs.manifest import UNTYPED, Outlier, Record, read_outliers, read_records
from falx_trainer.evaluation import comparison, measures, overlap, thresholds
from falx_trainer.evaluation.answers import MeasuredModel
from falx_trainer.evaluation.file_answers import FileModel
from falx_trainer.evaluation.measures import Document, Pairs, measure
from falx_trainer.evaluation.overlap import Copy
from falx_trainer.evaluation.processor import processor
from falx_trainer.evaluation.report import csv_files, document, report_plots, terminal, worst

SENSITIVITY: Final = 0.99
"""The share of tumours that thresholds are chosen not to miss, unless another is stated."""

THRESHOLDS_SCHEMA: Final = 1

CARD: Final = "model_card.md"
RELEASED: Final = "MODEL_CARD.md"
"""The card of a released model, which is written by hand; a model of one's own gets one that is made."""

UNKNOWN: Final = "not recorded"

BREAKDOWNS: Final[dict[str, Callable[[Record], str]]] = {
    "by_source": lambda record: record.source,
    "by_sequence": lambda record: record.sequence,
    "by_plane": lambda record: record.plane,
    "by_level": lambda record: record.level,
    "by_label": lambda record: record.label,
    "by_source_and_sequence": lambda record: (
        f"{record.source}, {record.sequence}" if record.source and record.sequence else ""
    ),
}
"""The properties that slices are measured apart by; each gives a value, empty where it is unknown."""


def evaluate(
    model: Path,
    data: Path,
    split: str | None,
    out: Path,
    pictures: Path | None = None,
    *,
    sensitivity: float = SENSITIVITY,
    compare: Path | None = None,
    trained_on: Path | None = None,
    shareable: bool = False,
    parts: Mapping[str, Callable[[Record], bool]] | None = None,
) -> str:
    """Measures a model and writes a report; returns the one for the terminal.

    Written are `report.html`, which holds all of it; `model_card.md`, one page to hand on with the model;
    `metrics.json`, `metrics.txt`, `thresholds.json`; tables as CSV and plots as PNG.

    Args:
        model: an exported file, measured through the runtime; or a run folder, through Keras.
        data: a folder a class, or a manifest.
        split: only the records of this split; None for all.
        out: the folder to write.
        pictures: pictures that are not slices of a brain, to see which are rejected: a manifest with the
            columns path and kind, or a folder a kind.
        sensitivity: the share of tumours, 0..1, that thresholds are chosen not to miss.
        compare: another model, to be measured on the same slices.
        trained_on: what the model learned from; see `falx_trainer.evaluation.overlap.check`.
        shareable: write nothing that shows or names a slice.
        parts: slices whose shares are wanted besides, by a name for them; in `metrics.json` alone.

    Raises:
        DataError: no slices to measure on, or one is changed or taken away meanwhile.
        ModelError, RunError: a file, or a folder, cannot be used.
    """
    known = read_records(data)
    records = [record for record in known if split in (None, record.split)]
    if not records:
        raise DataError(
            f"{data}: no slices of the split {split!r}; the data.csv in a run's folder says how the run "
            "divided its data: give it with --data"
        )
    families = {} if pictures is None else _families(pictures, split)
    asked, other = load_model(model), None if compare is None else load_model(compare)
    pairs = _answered(asked, records)
    if not pairs:
        raise DataError(
            f"{data}: has {counted(len(records))}, and none can be read, such as {records[0].path}"
        )
    # Before the first measure, which takes long too: what cannot be written to is said early.
    out.mkdir(parents=True, exist_ok=True)
    others = [record for record in known if split not in (None, record.split)]
    knew = overlap.check([record for record, _ in pairs], asked.learned_from, others, trained_on)
    chosen = thresholds.choose(pairs, asked.thresholds, sensitivity)
    curves = measures.curves(pairs)
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
        "grouped": sum(bool(record.group) for record, _ in pairs),
        "warnings": list(knew.warnings),
        "overlap": {**knew.found, "without": _without(pairs, knew.copies)},
        "all": measure(pairs),
        **{name: _apart(pairs, value) for name, value in BREAKDOWNS.items()},
        "calibration": measures.calibration(pairs),
        "risk_coverage": measures.risk_coverage(pairs),
        "thresholds": chosen,
        **({} if parts is None else {"parts": {name: _part(pairs, of) for name, of in parts.items()}}),
        **({} if pictures is None else {"pictures": _rejected(asked, families)}),
        **({} if other is None else {"comparison": _compared(pairs, other)}),
    }
    _write(out / "metrics.json", json.dumps(metrics, indent=1))
    _write(out / "thresholds.json", json.dumps(_chosen(pairs, metrics, data), indent=1))
    if not (out / RELEASED).exists():
        _write(out / CARD, document.card(metrics, data.name, asked.thresholds.to_dict()).rstrip())
    text = terminal.text(metrics)
    _write(out / "metrics.txt", text)
    csv_files.write(out, metrics, curves)
    if not shareable:
        csv_files.write_slices(out, pairs, knew.copies)
    plots = report_plots.draw(out, pairs, metrics, curves)
    shown = [] if shareable else worst.worst(pairs)
    _write(out / "report.html", document.render(metrics, data.name, plots, shown))
    return text


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _answered(model: MeasuredModel, records: Sequence[Record]) -> Pairs:
    """Returns the slices that can be read, each with what the model says of it."""
    answered = model.answers([record.path for record in records])
    return [(record, answer) for record, answer in zip(records, answered, strict=True) if answer is not None]


def _part(pairs: Pairs, belongs: Callable[[Record], bool]) -> Document:
    """Returns the shares of the slices that belong to a part."""
    part = [(record, answer) for record, answer in pairs if belongs(record)]
    return {"slices": len(part), **measures.shares(part)}


def _without(pairs: Pairs, copies: Sequence[Copy]) -> Document | None:
    """Returns the shares of the slices that training did not know; None where it knew none, or all."""
    known = {id(copy.record) for copy in copies}
    rest = [pair for pair in pairs if id(pair[0]) not in known]
    return {"slices": len(rest), **measures.shares(rest)} if known and rest else None


def _chosen(pairs: Pairs, metrics: Document, data: Path) -> Document:
    """Returns the document of `thresholds.json`, which `falx retarget` reads."""
    members: dict[str, list[str]] = {label: [] for label in (*LABELS, UNTYPED)}
    for record, _ in pairs:
        members[record.label].append(measures.group(record))
    occurring = {label: groups for label, groups in members.items() if groups}
    return {
        "schema": THRESHOLDS_SCHEMA,
        "model": metrics["model"],
        "data": {
            "name": data.name,
            "split": metrics["split"],
            "fingerprint": metrics["overlap"]["fingerprint"],
            "slices": {label: len(groups) for label, groups in occurring.items()},
            "groups": {label: len(set(groups)) for label, groups in occurring.items()},
        },
        **metrics["thresholds"],
        "warnings": [*metrics["thresholds"]["warnings"], *metrics["warnings"]],
    }


def _compared(pairs: Pairs, other: MeasuredModel) -> Document:
    """Measures another model on the same slices."""
    records = [record for record, _ in pairs]
    answered = _answered(other, records)
    if len(answered) < len(records):
        raise DataError("a slice was changed or taken away while it was being measured; measure again")
    return {
        "model": other.described,
        "thresholds": other.thresholds.to_dict(),
        "all": measure(answered),
        "by_source": _apart(answered, BREAKDOWNS["by_source"]),
        "tests": comparison.compare(pairs, answered),
    }


def _apart(pairs: Pairs, value: Callable[[Record], str]) -> Document:
    """Returns the measures of the slices of each value; of those without, only where others have one."""
    values = sorted({value(record) for record, _ in pairs} - {""})
    unknown = [UNKNOWN] if values and any(not value(record) for record, _ in pairs) else []
    return {
        name: measure([(record, answer) for record, answer in pairs if (value(record) or UNKNOWN) == name])
        for name in [*values, *unknown]
    }


def load_model(path: Path) -> MeasuredModel:
    """Loads a model to measure: an exported file, or the folder of a finished run."""
    if path.is_dir():
        # Here: Keras takes seconds to import, and a file needs none.
        from falx_trainer.evaluation.run_answers import RunModel

        return RunModel(path)
    return FileModel(path)


def _families(pictures: Path, split: str | None) -> dict[str, list[Outlier]]:
    """Lists the pictures of each kind, sorted, of a split where they have one."""
    families: dict[str, list[Outlier]] = {}
    for outlier in read_outliers(pictures):
        if split in (None, outlier.split) or not outlier.split:
            families.setdefault(outlier.kind, []).append(outlier)
    if not families:
        raise DataError(f"{pictures}: has no pictures of the split {split!r}")
    return dict(sorted(families.items()))


def _rejected(model: MeasuredModel, families: dict[str, list[Outlier]]) -> Document:
    """Counts the rejected among pictures that are not brain MRI, in all and by kind."""
    told = {name: model.answers([one.path for one in family]) for name, family in families.items()}
    every = [one for family in families.values() for one in family]
    digest = hashlib.sha256()
    for one in every:
        digest.update(hashlib.sha256(one.path.read_bytes()).digest())
    return {
        "sha256": digest.hexdigest(),
        "all": measures.rejections(every, [answer for answers in told.values() for answer in answers]),
        "by_family": {name: measures.rejections(family, told[name]) for name, family in families.items()},
    }
