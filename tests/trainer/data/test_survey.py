from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from falx.errors import UnreadableImage
from falx_runs.manifest import Record
from falx_trainer.data.division import Division
from falx_trainer.data.survey import band, survey
from falx_trainer.data.tensors import Tensors


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (0, "poor"),
        (99, "poor"),
        (100, "fair"),
        (499, "fair"),
        (500, "good"),
        (1999, "good"),
        (2000, "excellent"),
        (7000, "excellent"),
    ],
)
def test_band(images: int, expected: str) -> None:
    assert band(images) == expected


def records_of(**counts: int) -> list[Record]:
    """`glioma_train=3` is three such records, of source a and b in turn."""
    return [
        Record(
            Path(f"{name}{i}"),
            name.rpartition("_")[0],
            "ab"[i % 2],
            f"{name}{i // 2}",
            name.rpartition("_")[2],
        )
        for name, count in counts.items()
        for i in range(count)
    ]


def test_survey_says_what_was_found() -> None:
    records = records_of(
        no_tumor_train=60, no_tumor_val=4, glioma_train=39, glioma_test=7, tumor_untyped_train=1
    )
    unreadable = [
        (Record(Path(f"bad{i}.png"), "glioma"), UnreadableImage(f"bad{i}.png: damaged")) for i in range(12)
    ]
    sizes = np.array([[200, 300], [512, 256], [630, 600]] * 37)
    loaded = Tensors(records, np.zeros((111, 2, 2), np.uint8), [], sizes, unreadable, "")
    text = survey(loaded, Division(records, 5, 3, 2, grouped=False), "partial")
    lines = text.splitlines()
    assert [line.split() for line in lines[:5]] == [
        ["train", "val", "test"],
        ["no_tumor", "60", "4", "0"],
        ["glioma", "39", "0", "7"],
        ["tumor_untyped", "1", "0", "0"],
        ["total", "100", "4", "7"],
    ]
    assert "sources: a 57, b 54" in lines
    assert "sizes: shorter side 200 to 600 pixels, longer side 300 to 630" in lines
    assert "groups: 57, an image and its near-duplicates each" in lines
    assert "near-duplicates of another image (also mirrored): 5" in lines
    assert "moved to an earlier split, as near-duplicates of images there: 3" in lines
    assert any(line.startswith("copies between splits") and "another group: 2; " in line for line in lines)
    assert lines[lines.index("unreadable: 12") + 1] == "  bad0.png: damaged"
    assert "  bad9.png: damaged" in lines
    assert "  bad10.png: damaged" not in lines
    assert "  and 2 more" in lines
    assert lines[-2] == "no training images of meningioma, pituitary: the model will not know them"
    assert lines[-1] == "expected accuracy from 100 training images: fair"
    # What the recipe drops is in the counts, but teaches nothing.
    dropped = survey(loaded, Division(records, 5, 3, 2, grouped=False), "drop").splitlines()
    assert dropped[:-1] == lines[:-1]
    assert dropped[-1] == "expected accuracy from 99 training images: poor"


def test_what_was_not_found_is_not_said() -> None:
    records = [Record(Path("a"), "glioma", group="p1", split="train")]
    text = survey(
        Tensors(records, np.zeros((1, 2, 2), np.uint8), [], np.array([[9, 8]]), (), ""),
        Division(records, 0, 0, 0, grouped=True),
        "drop",
    )
    assert "groups: 1, as given\nnear-duplicates of another image (also mirrored): 0\n" in text
    assert "unreadable: 0\n" in text
    for absent in ("sources", "moved", "copies", "more"):
        assert absent not in text
    assert text.endswith("expected accuracy from 1 training images: poor")
