from __future__ import annotations

import dataclasses
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics.cluster import pair_confusion_matrix
from tests.trainer.conftest import DrawHead, Pixels

from falx.slices.preprocessing import prepare
from falx_runs.errors import DataError
from falx_runs.manifest import Record, read_records
from falx_trainer.data import tensors
from falx_trainer.data.division import divide, near_duplicates


def alike(count: int) -> Pixels:
    return np.broadcast_to(np.zeros((1, 224, 224), np.uint8), (count, 224, 224))


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def prepared(*slices: Pixels) -> Pixels:
    return np.stack([prepare(pixels)[0] for pixels in slices])


@pytest.fixture(scope="module")
def heads(head: DrawHead) -> Pixels:
    """48 unrelated tensors."""
    return prepared(*(head(seed)[0] for seed in range(48)))


def records_of(labels: list[str], groups: list[str] | None = None, split: str = "") -> list[Record]:
    names = groups or [""] * len(labels)
    return [
        Record(Path(f"{index}.png"), label, group=group, split=split)
        for index, (label, group) in enumerate(zip(labels, names, strict=True))
    ]


def test_unrelated_heads_are_not_duplicates(heads: Pixels) -> None:
    assert near_duplicates(heads).tolist() == list(range(len(heads)))


def test_copies_are_found_however_they_were_made(head: DrawHead) -> None:
    originals = [head(seed, height=256, width=230, lesion=seed % 2 == 0)[0] for seed in range(6)]
    copies = [
        originals[0][:, ::-1],
        resized(originals[1], (101, 113)),
        jpeg(originals[2], 20),
        jpeg(resized(originals[3][:, ::-1], (460, 512)), 40),
        np.pad(originals[4], ((40, 3), (0, 60))),
        (originals[5] * 0.6).astype(np.uint8),
    ]
    groups = near_duplicates(prepared(*originals, *copies))
    assert groups.tolist() == [0, 1, 2, 3, 4, 5] * 2


def test_likeness_joins_in_chains() -> None:
    numbers = np.random.default_rng(1).standard_normal((2, 32, 32))
    numbers -= numbers.mean(axis=(1, 2), keepdims=True)
    first = numbers[0] / np.linalg.norm(numbers[0])
    other = numbers[1] - (numbers[1] * first).sum() * first
    other /= np.linalg.norm(other)
    # Angles of 12 degrees: neighbours correlate by cos 12 = 0.978, the ends by cos 24 = 0.914.
    turned = [np.cos(np.radians(angle)) * first + np.sin(np.radians(angle)) * other for angle in (0, 12, 24)]
    small = np.stack([128 + 900 * picture for picture in turned]).clip(0, 255).astype(np.uint8)
    pixels = small.repeat(7, axis=1).repeat(7, axis=2)
    assert near_duplicates(pixels).tolist() == [0, 0, 0]
    assert near_duplicates(pixels[[0, 2]]).tolist() == [0, 1]


def test_blocks_of_rows_make_no_difference(monkeypatch: pytest.MonkeyPatch, heads: Pixels) -> None:
    pixels = np.concatenate([heads, heads[::-1, :, ::-1]])
    monkeypatch.setattr("falx_trainer.data.division.BLOCK", 7)
    assert near_duplicates(pixels).tolist() == [*range(48), *range(47, -1, -1)]


def test_images_of_one_brightness_are_copies_of_each_other_only(heads: Pixels) -> None:
    pixels = np.concatenate([heads[:3], np.full((2, 224, 224), 40, np.uint8)])
    assert len(set(near_duplicates(pixels)[:4].tolist())) == 4


def split_of(records: list[Record], splits: Sequence[str]) -> list[Record]:
    return [dataclasses.replace(one, split=split) for one, split in zip(records, splits, strict=True)]


def splits_by_group(records: list[Record]) -> dict[str, set[str]]:
    splits = defaultdict(set)
    for record in records:
        splits[record.group].add(record.split)
    return splits


@settings(max_examples=15)  # two divisions each
@given(
    sizes=st.lists(st.integers(1, 3), min_size=36, max_size=45),
    seed=st.integers(0, 2**31 - 2),
    order=st.randoms(use_true_random=False),
)
def test_a_given_group_is_never_divided(sizes: list[int], seed: int, order: object) -> None:
    members = [
        (("no_tumor", "glioma", "pituitary")[number % 3], f"p{number}")
        for number, size in enumerate(sizes)
        for _ in range(size)
    ]
    order.shuffle(members)  # type: ignore[attr-defined]  # random.Random, which hypothesis does not say
    records = records_of([label for label, _ in members], [group for _, group in members])
    pixels = alike(len(records))
    division = divide(records, pixels, seed)
    assert all(len(splits) == 1 for splits in splits_by_group(division.records).values())
    assert Counter(record.split for record in division.records).keys() == {"train", "val", "test"}
    assert [record.path for record in division.records] == [record.path for record in records]
    assert [record.group for record in division.records] == [record.group for record in records]
    assert (division.duplicates, division.moved, division.grouped) == (0, 0, True)
    assert divide(records, pixels, seed) == division


def test_shares_are_about_a_seventh_and_follow_the_labels() -> None:
    labels = ["no_tumor"] * 140 + ["glioma"] * 70
    division = divide(records_of(labels, [f"p{i}" for i in range(210)]), alike(210), 3)
    counts = Counter((record.label, record.split) for record in division.records)
    assert (counts["no_tumor", "test"], counts["glioma", "test"]) == (20, 10)
    assert counts["no_tumor", "val"] in (17, 18)
    assert counts["glioma", "val"] in (8, 9)


def test_another_seed_divides_otherwise() -> None:
    records = records_of(["glioma"] * 40, [f"p{i}" for i in range(40)])
    assert divide(records, alike(40), 1) != divide(records, alike(40), 2)


def test_copies_share_a_group_where_none_is_given(heads: Pixels) -> None:
    pixels = np.concatenate([heads, heads[:20, :, ::-1]])
    division = divide(records_of(["no_tumor", "glioma"] * 34), pixels, 5)
    assert (division.duplicates, division.moved, division.grouped) == (20, 0, False)
    places = [(record.group, record.split) for record in division.records]
    assert places[48:] == places[:20]
    assert len({record.group for record in division.records}) == 48


def test_copies_of_training_images_leave_the_test_folder(heads: Pixels) -> None:
    """The leak of the widely used Kaggle sets."""
    records = records_of(["glioma"] * 30, split="train") + records_of(["glioma"] * 18, split="test")
    pixels = heads.copy()
    pixels[30:35] = heads[:5, :, ::-1]
    division = divide(records, pixels, 5)
    assert (division.duplicates, division.moved) == (5, 5)
    splits = [record.split for record in division.records]
    assert splits[30:] == splits[:5] + ["test"] * 13
    assert set(splits[:30]) == {"train", "val"}


def test_given_splits_are_kept() -> None:
    records = records_of(["glioma"] * 6, list("aabbcc"))
    records = split_of(records, ["train", "train", "val", "val", "test", "test"])
    assert divide(records, alike(6), 1).records == records


def test_copies_that_given_groups_keep_apart_are_counted(heads: Pixels) -> None:
    records = records_of(["glioma"] * 18, [f"p{i}" for i in range(18)])
    records = split_of(records, ["train"] * 10 + ["val"] * 4 + ["test"] * 4)
    pixels = heads[:18].copy()
    assert divide(records, pixels, 1).leaked == 0
    pixels[11], pixels[14], pixels[15] = pixels[0], pixels[3, :, ::-1], pixels[3]
    division = divide(records, pixels, 1)
    assert (division.leaked, division.duplicates) == (3, 3)
    assert division.records == records


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (
            split_of(records_of(["glioma"] * 2, ["p1", "p1"]), ("test", "train")),
            r"1\.png: its group 'p1' lies in test and in train",
        ),
        (
            records_of(["glioma"] * 3, ["a", "b", ""]),
            r"2\.png: has no group, and 2 other images have one; give every image a",
        ),
        (
            split_of(records_of(["glioma"] * 3), ["train", "train", ""]),
            r"2\.png: has no split, and 2 other images have one; give every image a",
        ),
        (
            records_of(["glioma"] * 3, list("abc"), split="test"),
            r"all 3 images are in the val or test split; none are left to train on",
        ),
        ([], "no image could be read"),
    ],
    ids=["a group in two splits", "some groups", "some splits", "only test", "no image"],
)
def test_what_cannot_be_divided_is_refused(records: list[Record], message: str) -> None:
    with pytest.raises(DataError, match=message):
        divide(records, alike(len(records)), 1)


def test_too_few_groups_are_refused(heads: Pixels) -> None:
    labels = ["glioma"] * 20 + ["no_tumor"] * 6
    with pytest.raises(DataError, match=r"no_tumor: 6 different images or patients; at least 7 are needed"):
        divide(records_of(labels), heads[:26], 1)


def test_agrees_with_the_groups_of_the_web_collections(
    data_folder: Path, record_property: Callable[[str, object], None]
) -> None:
    records = [record for record in read_records(data_folder) if record.source in ("br35h", "sartaj")][::2]
    loaded = tensors.load(records)
    given = [record.group for record in loaded.records]
    # Each pair is counted twice.
    counts = pair_confusion_matrix(given, near_duplicates(loaded.pixels)) // 2
    # As plain numbers, which one process of pytest can tell another.
    (apart, besides), (missed, both) = counts.tolist()
    record_property("pairs", {"given": missed + both, "missed": missed, "besides": besides})
    # The manifest's groups were made with another crop. Those found besides are copies too, by eye.
    assert missed <= 0.2 * (missed + both)
    assert besides <= 0.001 * (apart + besides + missed + both)
