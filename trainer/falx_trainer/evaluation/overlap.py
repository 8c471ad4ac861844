"""Finds slices that a model knows from its training: the same, near-duplicates, the same patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from falx_runs.manifest import LEARNED, Record, read_records
from falx_runs.run_folder import MANIFEST
from falx_trainer.data import tensors
from falx_trainer.data.division import CORRELATION, closest
from falx_trainer.evaluation.answers import LearnedFrom
from falx_trainer.evaluation.measures import Document

SAME_SLICE: Final = "the same slice"
NEAR_DUPLICATE: Final = "a near-duplicate"
SAME_GROUP: Final = "another slice of the same group"


@dataclass(frozen=True)
class Copy:
    """A slice that the model knows, its training slice, and how alike they are; None: only by group."""

    record: Record
    kind: str
    other: Record
    correlation: float | None


@dataclass(frozen=True)
class Overlap:
    """The slices that a model knows from its training: the counts, JSON-ready; the slices; and warnings."""

    found: Document
    copies: Sequence[Copy]
    warnings: Sequence[str]


def check(
    records: Sequence[Record],
    learned_from: LearnedFrom,
    others: Sequence[Record],
    trained_on: Path | None,
) -> Overlap:
    """Compares slices with those a model learned from.

    By fingerprint: all of them at once, where the model tells the fingerprint of its data; and each by its
    prepared tensor. By near-duplicates: thumbnails that correlate, mirrored or not, as in the division of
    training data. And by group, where both have groups.

    Args:
        records: the slices that are measured.
        learned_from: what the model tells.
        others: records of the same data that are not measured; those of the train split are taken for what
            the model learned from where nothing better is known.
        trained_on: a run folder, a manifest or a data folder with what the model learned from; None takes
            what the model tells, or `others`.
    """
    measured = tensors.load(records)
    known, origin = _training(learned_from, others, trained_on)
    training = [record for record in known if record.split in LEARNED]
    learned = tensors.load(training) if training else None
    copies = _copies(measured, learned) if learned is not None else []
    val = {record.path.resolve() for record in known if record.split == "val"}
    tuned = sum(record.split == "val" or record.path.resolve() in val for record in records)
    told = learned_from.fingerprint
    same = None if told is None else told == measured.fingerprint
    counts = {
        kind: sum(copy.kind == kind for copy in copies) for kind in (SAME_SLICE, NEAR_DUPLICATE, SAME_GROUP)
    }
    found = {
        "compared_with": origin,
        "training_slices": len(training),
        "unreadable_training_slices": 0 if learned is None else len(learned.unreadable),
        "same_slice": counts[SAME_SLICE],
        "near_duplicates": counts[NEAR_DUPLICATE],
        "same_group": counts[SAME_GROUP],
        "of_val": tuned,
        "fingerprint": measured.fingerprint,
        "fingerprint_of_the_model": told,
        "correlation": CORRELATION,
    }
    return Overlap(found, copies, _warnings(found, same, len(records)))


def _training(
    learned_from: LearnedFrom, others: Sequence[Record], trained_on: Path | None
) -> tuple[Sequence[Record], str | None]:
    """Returns the records of what a model learned from, and where they were found; none where unknown."""
    if trained_on is not None:
        run = trained_on / MANIFEST
        path = run if run.is_file() else trained_on
        return read_records(path), f"the training slices in {path.name}"
    if learned_from.manifest is not None:
        return read_records(learned_from.manifest), "the training slices of the run"
    if any(record.split == "train" for record in others):
        return [r for r in others if r.split], "the train split of the same data"
    return [], None


def _copies(measured: tensors.Tensors, learned: tensors.Tensors) -> list[Copy]:
    # A group is a patient of a collection: two collections number theirs alike.
    of_tensor = {
        tensor.tobytes(): record for tensor, record in zip(learned.pixels, learned.records, strict=True)
    }
    of_group = {(record.source, record.group): record for record in learned.records if record.group}
    copies = []
    if not len(learned.pixels):
        return []
    correlation, index = closest(measured.pixels, learned.pixels)
    for number, record in enumerate(measured.records):
        same = of_tensor.get(measured.pixels[number].tobytes())
        if same is not None:
            copies.append(Copy(record, SAME_SLICE, same, 1.0))
        elif correlation[number] >= CORRELATION:
            other = learned.records[int(index[number])]
            copies.append(Copy(record, NEAR_DUPLICATE, other, min(1.0, float(correlation[number]))))
        elif (record.source, record.group) in of_group:
            copies.append(Copy(record, SAME_GROUP, of_group[record.source, record.group], None))
    return copies


def _warnings(found: Document, same: bool | None, slices: int) -> list[str]:
    warnings = []
    if same:
        warnings.append(
            "By their fingerprint these are the very data the model was made from, training slices included: "
            "what is measured on them says little about other slices."
        )
    known = [
        f"{found[name]:,} {what}"
        for name, what in (
            ("same_slice", "were in training"),
            ("near_duplicates", "are near-duplicates, also mirrored, of training slices"),
            ("same_group", "are other slices of patients or groups in training"),
        )
        if found[name]
    ]
    if known:
        warnings.append(
            f"Of the {slices:,} slices, {', '.join(known)} ({found['compared_with']}): figures on these are "
            "better than they would be on other patients."
        )
    if found["of_val"]:
        warnings.append(
            f"{found['of_val']:,} of the slices are of the val split, on which the model's calibration and "
            "thresholds were chosen: figures on these are a little better than on other patients."
        )
    return warnings
