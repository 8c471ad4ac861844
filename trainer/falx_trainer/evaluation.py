"""Measure a model on labelled slices: as it decides, by label and by source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import falx
from falx.decision import Thresholds, decide
from falx.words import DECISIONS, LABELS, NO_TUMOR, REJECTED, TUMOR_LABELS
from falx_trainer import results, tensors
from falx_trainer.records import UNTYPED, DataError, Record, read_records
from falx_trainer.run import RunError

__all__ = ["Answer", "evaluate", "measure"]

RESAMPLES: Final = 2000
SEED: Final = 7
"""Of the bootstrap: the 95 % intervals are percentiles over resampled groups (Efron 1979)."""


SHARES: Final = ("accuracy", "decided", "right_of_decided", "missed", "cleared", "rejected", "peak_in_box")

ECE_BINS: Final = 15

MODEL: Final = "model.keras"
"""The file in a run folder that is measured."""


@dataclass(frozen=True)
class Answer:
    """What a model says of a slice.

    Attributes:
        decision: a label, `ambiguous` or `rejected`.
        probabilities: of the four labels; None where the slice was rejected unseen.
        peak: where the heatmap is highest, `x, y` in fractions of the image; None without a heatmap.
    """

    decision: str
    probabilities: tuple[float, ...] | None
    peak: tuple[float, float] | None = None


def evaluate(model: Path, data: Path, split: str | None, out: Path) -> str:
    """Measure a model and write `metrics.json`, a table and a plot.

    Args:
        model: an exported file, measured through the runtime; or a run folder, through Keras.
        data: a folder a class, or a manifest.
        split: only the records of this split; None for all.
        out: the folder to write.

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
    answers, described = (
        _answers_of_run(model, records) if model.is_dir() else _answers_of_file(model, records)
    )
    pairs = [(record, answer) for record, answer in zip(records, answers, strict=True) if answer is not None]
    if not pairs:
        raise DataError(f"{data}: none of its {len(records)} slices can be read, such as {records[0].path}")
    metrics = {
        "model": described,
        "split": split,
        "slices": len(records),
        "unreadable": len(records) - len(pairs),
        "all": measure(pairs),
        "by_source": {
            source: measure([pair for pair in pairs if pair[0].source == source])
            for source in sorted({record.source for record, _ in pairs if record.source})
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    text = _table(metrics)
    (out / "metrics.txt").write_text(text + "\n", encoding="utf-8")
    rows, counts = _decisions(pairs)
    results.plot_confusion(
        out / "decisions.png", rows, DECISIONS, counts, f"decisions, {split or 'all'} slices"
    )
    return text


def measure(pairs: Sequence[tuple[Record, Answer]]) -> dict[str, Any]:
    """The measures of some slices, JSON-ready; shares come as `[share, low, high, slices]` or None.

    `accuracy` is that of the most probable label over the typed slices, a rejected one being
    wrong; `decided` the share of typed slices decided, `right_of_decided` the share right among
    those; `missed` the tumours decided `no_tumor`; `cleared` the healthy decided so; `peak_in_box`
    the tumours decided as such, with a known box, whose heatmap is highest inside one.
    `calibration_error` is the expected calibration error of the most probable label over the typed
    slices in 15 bins (Naeini et al. 2015, doi 10.1609/aaai.v29i1.9602).
    """
    labels = np.array([record.label for record, _ in pairs])
    decisions = np.array([answer.decision for _, answer in pairs])
    likeliest = np.array(
        [
            "" if answer.probabilities is None else LABELS[int(np.argmax(answer.probabilities))]
            for _, answer in pairs
        ]
    )
    groups = np.array([record.group or str(record.path) for record, _ in pairs])
    typed = labels != UNTYPED
    decided = typed & np.isin(decisions, LABELS)
    tumor, healthy = labels != NO_TUMOR, labels == NO_TUMOR

    def share(of: npt.NDArray[np.bool_], hit: npt.NDArray[np.bool_]) -> list[float] | None:
        return _share(hit[of], groups[of]) if of.any() else None

    located = np.array(
        [
            bool(record.boxes) and answer.peak is not None and answer.decision in TUMOR_LABELS
            for record, answer in pairs
        ]
    )
    inside = np.array([_inside(record, answer) for record, answer in pairs])
    rows, counts = _decisions(pairs)
    return {
        "slices": len(pairs),
        "accuracy": share(typed, likeliest == labels),
        "decided": share(typed, decided),
        "right_of_decided": share(decided, decisions == labels),
        "missed": share(tumor, decisions == NO_TUMOR),
        "cleared": share(healthy, decisions == NO_TUMOR),
        "rejected": share(np.ones(len(pairs), bool), decisions == REJECTED),
        "peak_in_box": share(located, inside),
        "calibration_error": _calibration_error(pairs),
        "decisions": {
            row: dict(zip(DECISIONS, numbers, strict=True)) for row, numbers in zip(rows, counts, strict=True)
        },
    }


def _inside(record: Record, answer: Answer) -> bool:
    if answer.peak is None:
        return False
    x, y = answer.peak
    return any(abs(x - box.x) <= box.width / 2 and abs(y - box.y) <= box.height / 2 for box in record.boxes)


def _calibration_error(pairs: Sequence[tuple[Record, Answer]]) -> float | None:
    known = [
        (max(answer.probabilities), LABELS[int(np.argmax(answer.probabilities))] == record.label)
        for record, answer in pairs
        if answer.probabilities is not None and record.label != UNTYPED
    ]
    if not known:
        return None
    confidence, right = (np.array(part, np.float64) for part in zip(*known, strict=True))
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = np.bincount(bins, right - confidence, minlength=ECE_BINS)
    return round(float(np.abs(gaps).sum() / len(known)), 4)


def _share(hit: npt.NDArray[np.bool_], groups: npt.NDArray[np.str_]) -> list[float]:
    """A share with its 95 % interval, bootstrapped over groups: slices of a patient are not independent.

    Where none is hit, or all are, resampling cannot tell how far that carries; the interval is then
    the rule of three over the groups (Hanley & Lippman-Hand 1983, doi 10.1001/jama.1983.03330370053031).
    """
    _, member = np.unique(groups, return_inverse=True)
    hits, sizes = np.bincount(member, hit), np.bincount(member)
    if hit.all() or not hit.any():
        reach = min(1.0, 3 / len(sizes))
        low, high = (1 - reach, 1.0) if hit.all() else (0.0, reach)
    else:
        drawn = np.random.default_rng(SEED).integers(len(sizes), size=(RESAMPLES, len(sizes)))
        low, high = np.quantile(hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return [round(float(hit.mean()), 4), round(float(low), 4), round(float(high), 4), len(hit)]


def _decisions(pairs: Sequence[tuple[Record, Answer]]) -> tuple[list[str], list[list[int]]]:
    rows = [label for label in (*LABELS, UNTYPED) if any(record.label == label for record, _ in pairs)]
    return rows, [
        [
            sum(record.label == row and answer.decision == column for record, answer in pairs)
            for column in DECISIONS
        ]
        for row in rows
    ]


def _answers_of_file(model: Path, records: Sequence[Record]) -> tuple[list[Answer | None], dict[str, Any]]:
    classifier = falx.load(model)
    paths = [record.path for record in records]
    answers: list[Answer | None] = []
    for result in tqdm(classifier.predict_many(paths), "deciding", len(paths), unit="slice", disable=None):
        if isinstance(result, falx.Prediction):
            probabilities = None if result.probabilities is None else tuple(result.probabilities.values())
            answers.append(Answer(result.decision, probabilities, _peak(result.heatmap)))
        else:
            answers.append(None)
    card = classifier.card
    return answers, {
        "name": card.name,
        "version": card.version,
        "file": model.name,
        "sha256": classifier.model.sha256,
        "weights_sha256": card.weights_sha256,
    }


def _peak(heatmap: npt.NDArray[np.float32] | None) -> tuple[float, float] | None:
    if heatmap is None:
        return None
    row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    return (float(column) + 0.5) / heatmap.shape[1], (float(row) + 0.5) / heatmap.shape[0]


def _answers_of_run(run: Path, records: Sequence[Record]) -> tuple[list[Answer | None], dict[str, Any]]:
    name, thresholds, model = _read_run(run)
    loaded = tensors.load(records)
    answers: dict[Path, Answer] = {}
    for start in tqdm(range(0, len(loaded.records), 32), "deciding", unit="batch", disable=None):
        images = loaded.pixels[start : start + 32, ..., None].astype(np.float32)
        probabilities = np.asarray(model.predict_on_batch(images)["probabilities"], np.float64)
        for record, row in zip(loaded.records[start : start + 32], probabilities, strict=True):
            answers[record.path] = Answer(decide(row, thresholds), tuple(row))
    return [answers.get(record.path) for record in records], {
        "name": name,
        "file": MODEL,
        "sha256": hashlib.sha256((run / MODEL).read_bytes()).hexdigest(),
    }


def _read_run(run: Path) -> tuple[str, Thresholds, keras.Model]:
    expected = f"{run}: expected the folder of a finished run or an exported file"
    try:
        meta = json.loads((run / "meta.json").read_text(encoding="utf-8"))
        name, thresholds = str(meta["name"]), Thresholds.from_mapping(meta["thresholds"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(f"{expected}; its meta.json: {type(error).__name__}: {error}") from error
    try:
        model = keras.models.load_model(run / MODEL, compile=False)
        probabilities = model.output["probabilities"]
    except Exception as error:  # Keras, zipfile and h5py raise anything on a file of another kind
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{expected}; its {MODEL}: {reason}") from error
    if tuple(probabilities.shape) != (None, len(LABELS)):
        raise RunError(f"{expected}; its {MODEL}: probabilities of the shape {tuple(probabilities.shape)}")
    return name, thresholds, model


def _table(metrics: dict[str, Any]) -> str:
    """A row a source: what is measured as a percentage, with its interval for all together."""
    lines = [f"{'':14}{'slices':>7}" + "".join(f"{name:>18}" for name in SHARES)]
    for source, part in (("all", metrics["all"]), *metrics["by_source"].items()):
        cells = [_percentage(part[name], interval=source == "all") for name in SHARES]
        lines.append(f"{source:14}{part['slices']:7}" + "".join(f"{cell:>18}" for cell in cells))
    decisions = metrics["all"]["decisions"]
    table = results.confusion_text(
        list(decisions), DECISIONS, [list(row.values()) for row in decisions.values()]
    )
    error = metrics["all"]["calibration_error"]
    calibration = "" if error is None else f"\nexpected calibration error of the typed slices: {error:.3f}\n"
    return "\n".join(lines) + "\n" + calibration + "\n" + table


def _percentage(share: list[float] | None, *, interval: bool) -> str:
    if share is None:
        return "-"
    value, low, high, _ = share
    return f"{value:.1%} ({low:.1%}–{high:.1%})".replace("%", "") if interval else f"{value:.1%}"
