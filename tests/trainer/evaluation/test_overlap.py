from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from falx_runs.manifest import Record, to_csv
from falx_trainer.data import tensors
from falx_trainer.evaluation.answers import LearnedFrom
from falx_trainer.evaluation.overlap import NEAR_DUPLICATE, SAME_GROUP, SAME_SLICE, Overlap, check


@pytest.fixture
def training(tmp_path: Path, head: Any) -> list[Record]:
    """Six slices of six heads, the last two of val."""
    kinds = [("glioma", "train"), ("no_tumor", "train")] * 2 + [("glioma", "val"), ("no_tumor", "val")]
    return [
        Record(save(tmp_path / f"train-{n}.png", head(n)[0]), label, "here", f"p{n}", split)
        for n, (label, split) in enumerate(kinds)
    ]


def save(path: Path, pixels: Any) -> Path:
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)
    return path


def measured(tmp_path: Path, head: Any) -> list[Record]:
    """The first training slice again, one mirrored, another one of a known group, and a new one."""
    slices = {
        "same": (head(0)[0], "q0"),
        "mirrored": (head(1)[0][:, ::-1], "q1"),
        "group": (head(90)[0], "p2"),
        "new": (head(91)[0], "q3"),
    }
    return [
        Record(save(tmp_path / f"{name}.png", pixels), "glioma", source="here", group=group)
        for name, (pixels, group) in slices.items()
    ]


def found(overlap: Overlap) -> list[tuple[str, str, str]]:
    return [(copy.record.path.stem, copy.kind, copy.other.path.stem) for copy in overlap.copies]


EXPECTED = [
    ("same", SAME_SLICE, "train-0"),
    ("mirrored", NEAR_DUPLICATE, "train-1"),
    ("group", SAME_GROUP, "train-2"),
]


def manifest(folder: Path, records: Sequence[Record]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "data.csv").write_text(to_csv(records), encoding="utf-8")
    return folder / "data.csv"


def test_what_training_knew_is_found(tmp_path: Path, training: list[Record], head: Any) -> None:
    path = manifest(tmp_path / "run", training)
    for learned_from, others, trained_on, origin in (
        (LearnedFrom(manifest=path), [], None, "the training slices of the run"),
        (LearnedFrom(), training, None, "the train split of the same data"),
        (LearnedFrom(), [], path.parent, "the training slices in data.csv"),
        (LearnedFrom(), [], path, "the training slices in data.csv"),
    ):
        overlap = check(measured(tmp_path, head), learned_from, others, trained_on)
        assert found(overlap) == EXPECTED
        assert [copy.correlation for copy in overlap.copies][::2] == [1.0, None]
        assert 0.96 <= (overlap.copies[1].correlation or 0) <= 1
        counts = {"same_slice": 1, "near_duplicates": 1, "same_group": 1, "of_val": 0, "training_slices": 4}
        assert overlap.found | counts == overlap.found
        assert overlap.warnings == [
            "Of the 4 slices, 1 were in training, 1 are near-duplicates, also mirrored, of training slices, "
            f"1 are other slices of patients or groups in training ({origin}): figures on these are better "
            "than they would be on other patients."
        ]


def test_groups_of_other_sources_are_others(tmp_path: Path, training: list[Record], head: Any) -> None:
    elsewhere = [dataclasses.replace(record, source="there") for record in measured(tmp_path, head)]
    assert found(check(elsewhere, LearnedFrom(), training, None)) == EXPECTED[:2]


def test_val_chose_the_thresholds(tmp_path: Path, training: list[Record]) -> None:
    path = manifest(tmp_path / "run", training)
    val = [dataclasses.replace(record, split="", group="") for record in training[4:]]
    overlap = check(val, LearnedFrom(manifest=path), [], None)
    assert overlap.found["of_val"] == 2
    assert overlap.warnings == [
        "2 of the slices are of the val split, on which the model's calibration and thresholds were chosen: "
        "figures on these are a little better than on other patients."
    ]


def test_the_very_data_are_known_by_their_fingerprint(training: list[Record]) -> None:
    told = LearnedFrom(tensors.load(training).fingerprint)
    overlap = check(training, told, [], None)
    assert overlap.found["compared_with"] is None
    assert overlap.found["fingerprint"] == told.fingerprint
    assert overlap.warnings[0] == (
        "By their fingerprint these are the very data the model was made from, training slices included: "
        "what is measured on them says little about other slices."
    )
    assert check(training[:4], told, [], None).warnings == []


def test_training_slices_that_are_gone_are_counted(tmp_path: Path, training: list[Record], head: Any) -> None:
    for record in training:
        record.path.unlink()
    overlap = check(measured(tmp_path, head), LearnedFrom(), training, None)
    assert overlap.found["unreadable_training_slices"] == 4
    assert overlap.copies == []
