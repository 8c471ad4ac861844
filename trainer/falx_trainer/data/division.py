"""Divides images into train, val and test: by group, never by image.

Slices of one patient, and copies of one image, are alike enough that a model remembers them:
where no groups are given, near-duplicates are found first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from falx.slices.preprocessing import SIZE
from falx_runs.errors import DataError
from falx_runs.manifest import SPLITS, Record

THUMBNAIL: Final = 32
CORRELATION: Final = 0.96
"""Two heads whose 32 x 32 thumbnails correlate at least this well, mirrored or not, are the same
image: the limit with which the groups of shared web collections were made. Difference hashes do
not serve, since unrelated axial slices collide."""

FOLDS: Final = 7
"""Val, and test where there is none, each take one fold of seven: about 14 % of the groups."""


BLOCK: Final = 1024
"""Images compared with all others at a time: the correlations of a block fit in memory."""

Links = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


@dataclass(frozen=True)
class Division:
    """Records with a split and a group each, in the order given.

    Attributes:
        duplicates: how many images are near-duplicates of an earlier one.
        moved: how many images of val or test went to an earlier split, where copies of them are.
        leaked: how many images of val or test are near-duplicates of images in train all the same: 0,
            unless the given groups keep copies apart.
        grouped: whether the groups were given; otherwise each is an image and its near-duplicates.
    """

    records: list[Record]
    duplicates: int
    moved: int
    leaked: int
    grouped: bool


def divide(records: Sequence[Record], pixels: npt.NDArray[np.uint8], seed: int) -> Division:
    """Gives every record a group and a split; `pixels` are their tensors, `(N, 224, 224)`.

    Raises:
        DataError: groups or splits are given for some records only, a given group lies in two splits, or
            there are too few groups of a class to divide.
    """
    if not records:
        raise DataError("no image could be read")
    grouped = _all_or_none(records, "group")
    divided = _all_or_none(records, "split")
    if all(record.split in ("val", "test") for record in records):
        raise DataError(f"all {len(records)} images are in the val or test split; none are left to train on")
    links = _links(pixels)
    kinds = _kinds(links, len(records))
    duplicates = len(kinds) - len(set(kinds.tolist()))
    if not grouped:
        records = [
            dataclasses.replace(record, group=f"image-{kind:05d}")
            for record, kind in zip(records, kinds, strict=True)
        ]
    if not divided:
        records = _draw(records, "test", seed)
    records, moved = _join(records, given=grouped)
    if not any(record.split == "val" for record in records):
        rest = [record for record in records if record.split != "test"]
        drawn = iter(_draw(rest, "val", seed + 1))
        records = [record if record.split == "test" else next(drawn) for record in records]
    return Division(list(records), duplicates, moved, _leaked(records, links), grouped)


def _leaked(records: Sequence[Record], links: Links) -> int:
    training = np.array([record.split == "train" for record in records])
    first, second = links
    return len(set(first[~training[first] & training[second]].tolist()))


def near_duplicates(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Numbers prepared images, in their order, so that near-duplicates, also mirrored, share a number."""
    return _kinds(_links(pixels), len(pixels))


def _links(pixels: npt.NDArray[np.uint8]) -> Links:
    """Finds every two images that are near-duplicates, as two arrays of indices, both ways round."""
    count, forms = len(pixels), _forms(pixels)
    rows, columns = [], []
    for start in range(0, count, BLOCK):
        for form in forms:
            first, second = np.nonzero(forms[0][start : start + BLOCK] @ form.T >= CORRELATION)
            rows.append(first + start)
            columns.append(second)
    return np.concatenate(rows), np.concatenate(columns)


def closest(
    pixels: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """Finds the image among others, at least one, that each image is most like, mirrored or not.

    Returns:
        `(N,)` correlation of the thumbnails, near-duplicates from `CORRELATION` on, and `(N,)` its index.
    """
    images, forms = _forms(pixels)[0], _forms(others)
    alike, index = np.empty(len(images), np.float32), np.empty(len(images), np.intp)
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        found = np.maximum(*(images[rows] @ form.T for form in forms))
        index[rows] = found.argmax(axis=1)
        alike[rows] = found.max(axis=1)
    return alike, index


def _forms(pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    """Returns thumbnails, as they are and mirrored, whose product is a correlation."""
    count, block = len(pixels), SIZE // THUMBNAIL
    small = pixels.reshape(count, THUMBNAIL, block, THUMBNAIL, block).mean(axis=(2, 4), dtype=np.float32)
    return [_standardized(small), _standardized(small[:, :, ::-1])]


def _kinds(links: Links, count: int) -> npt.NDArray[np.int32]:
    graph = coo_array((np.ones(len(links[0]), np.int8), links), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def _standardized(small: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    flat = small.reshape(len(small), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), np.float32)


def _all_or_none(records: Sequence[Record], field: str) -> bool:
    missing = [record for record in records if not getattr(record, field)]
    if missing and len(missing) < len(records):
        raise DataError(
            f"{missing[0].path}: has no {field}, and {len(records) - len(missing)} other images have one; "
            f"give every image a {field}, or none"
        )
    return not missing


def _join(records: Sequence[Record], *, given: bool) -> tuple[list[Record], int]:
    """Puts a group that lies in two splits into the earlier of them (train before val before test)."""
    home: dict[str, str] = {}
    for record in records:
        other = home.setdefault(record.group, record.split)
        if given and other != record.split:
            raise DataError(
                f"{record.path}: its group {record.group!r} lies in {other} and in {record.split}"
            )
        home[record.group] = min(other, record.split, key=SPLITS.index)
    joined = [dataclasses.replace(record, split=home[record.group]) for record in records]
    return joined, sum(new.split != old.split for new, old in zip(joined, records, strict=True))


def _draw(records: Sequence[Record], split: str, seed: int) -> list[Record]:
    """Moves one fold of the groups, balanced over the labels, to a split; the others are train."""
    labels, groups = [record.label for record in records], [record.group for record in records]
    for label in sorted(set(labels)):
        count = len({group for group, other in zip(groups, labels, strict=True) if other == label})
        if count < FOLDS:
            raise DataError(
                f"{label}: {count} different images or patients; at least {FOLDS} are needed "
                f"to set some apart for {split}"
            )
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    _, chosen = next(iter(folds.split(records, labels, groups)))
    picked = set(chosen.tolist())
    return [
        dataclasses.replace(record, split=split if index in picked else "train")
        for index, record in enumerate(records)
    ]
