"""The slices that calibrate the quantization, and those that prove it.

They come from the training data: calibration from the `train` split, parity from `val`, which is what
thresholds and temperature were fitted on. `test` is never read here. Where there is no `val` split, or a
folder without a manifest, every second image serves for calibration and the others for parity; those in
folders named Testing or test for neither.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from falx import images
from falx.errors import FalxError
from falx.preprocessing import prepare
from falx_runs.errors import DataError

__all__ = ["LEAST_CALIBRATION", "LEAST_PARITY", "SPLITS", "Labelled", "Samples", "labelled", "read"]

Tensors = npt.NDArray[np.uint8]

LEAST_PARITY: Final = 300
"""Parity on fewer slices says little; it has to be asked for."""

LEAST_CALIBRATION: Final = 16
"""Activation ranges from fewer slices are not worth quantizing with."""

SPLITS: Final = ("train", "val", "test", "")
"""What a manifest may give as split, and that it gives none."""

TEST_FOLDERS: Final = ("test", "testing")
"""Names, in lower case, of folders whose images are only for the last measurement."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Prepared slices.

    Attributes:
        calibration, parity: `(N, 224, 224, 1)` uint8.
        described: what they are, in a sentence each; for the parity report.
    """

    calibration: Tensors
    parity: Tensors
    described: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Image:
    path: Path
    kind: str
    """Source and label (or folder): what the choice is balanced over."""
    label: str = ""
    split: str = ""


def read(data: Path, calibration: int, parity: int | None, *, quiet: bool = False) -> Samples:
    """Choose slices and prepare them; the same data give the same slices.

    Args:
        data: a manifest (CSV with `path`, `label` and optionally `split` and `source`), such as a run's
            `data.csv`; a folder that holds a `manifest.csv`; or a folder of images.
        calibration: how many slices to calibrate on, at most.
        parity: how many to compare on; None means 400, and at least 300.
        quiet: show no progress.

    Raises:
        DataError: the data are not there or not readable, or too few of the images are.
    """
    manifest = _manifest(data)
    train, validation, names = (
        _halves(_from_folder(data)) if manifest is None else _divided(_from_manifest(manifest))
    )
    calibrating = _Use("calibration", names[0], calibration, min(calibration, LEAST_CALIBRATION))
    comparing = _Use(
        "parity",
        names[1],
        parity or 400,
        LEAST_PARITY if parity is None else parity,
        "; give more data, or --samples for fewer",
    )
    _enough(data, calibrating, len(train))
    _enough(data, comparing, len(validation))
    first, second = (
        _prepare(data, use, found, quiet=quiet)
        for use, found in ((calibrating, train), (comparing, validation))
    )
    return Samples(first[0], second[0], {calibrating.name: first[1], comparing.name: second[1]})


@dataclass(frozen=True, slots=True)
class Labelled:
    """A prepared slice, and what is known about it.

    Attributes:
        path: of the image.
        label: in the manifest, or the name of its folder.
        split: in the manifest; empty where it gives none.
        tensor: `(224, 224, 1)` uint8.
    """

    path: Path
    label: str
    split: str
    tensor: Tensors


def labelled(data: Path, splits: Collection[str] = SPLITS, *, quiet: bool = False) -> Iterator[Labelled]:
    """Every slice that can be read, in the order of the manifest, or of the sorted paths; nothing is chosen.

    Args:
        data: as for `read`.
        splits: those to take.
        quiet: show no progress.

    Raises:
        DataError: the data cannot be used, or (at the end) hold none that can be read.
    """
    manifest = _manifest(data)
    found = _from_folder(data) if manifest is None else _from_manifest(manifest)
    if not isinstance(found, list):
        found = [image for split in SPLITS if split in splits for image in found[split]]
    unreadable: list[FalxError] = []
    for image in tqdm(found, "Compare", unit="slice", leave=False, disable=quiet or None):
        try:
            tensor = prepare(images.read(image.path).pixels)[0]
        except FalxError as error:
            unreadable.append(error)
            continue
        yield Labelled(image.path, image.label, image.split, tensor[..., np.newaxis])
    if len(unreadable) == len(found):
        first = f"; the first of {len(unreadable)} that cannot be read: {unreadable[0]}" if unreadable else ""
        raise DataError(f"{data}: expected images (split {', '.join(filter(None, splits))}), got none{first}")


def _manifest(data: Path) -> Path | None:
    """The manifest, or None where the data are a folder without.

    Raises:
        DataError: they are neither.
    """
    manifest = data / "manifest.csv" if data.is_dir() else data
    if manifest.is_file():
        return manifest
    if not data.is_dir():
        raise DataError(f"{data}: expected a manifest (CSV) or a folder of images, found neither")
    return None


@dataclass(frozen=True, slots=True)
class _Use:
    """What slices are read for: its name, that of the images, how many at most and at least, the remedy."""

    name: str
    images: str
    most: int
    least: int
    remedy: str = ""


def _enough(data: Path, use: _Use, count: int, unreadable: Sequence[FalxError] = ()) -> None:
    if count < use.least:
        others = f" and {len(unreadable)} that cannot be read ({unreadable[0]})" if unreadable else ""
        raise DataError(
            f"{data}: expected at least {use.least} images for {use.name} ({use.images}), "
            f"got {count}{others}{use.remedy}"
        )


_Halves = tuple[list[_Image], list[_Image], tuple[str, str]]
"""Images to calibrate on, images to compare on, and what to call them."""


def _from_manifest(path: Path) -> dict[str, list[_Image]]:
    """The images by split. Of those without one, what lies in a folder for tests is left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot read the manifest: {error}") from error
    missing = [name for name in ("path", "label") if name not in columns]
    if missing:
        raise DataError(f"{path}: expected columns path and label, lacks {', '.join(missing)}")
    splits: dict[str, list[_Image]] = defaultdict(list)
    for row in rows:
        split = row.get("split") or ""
        if split not in SPLITS:
            raise DataError(f"{path}: {row['path']}: expected split train, val, test or none, got {split!r}")
        if row["path"] and not (split == "" and _is_test(Path(row["path"]))):
            kind = f"{row.get('source') or ''}/{row['label']}"
            splits[split].append(_Image(path.parent / row["path"], kind, row["label"], split))
    return splits


def _divided(splits: Mapping[str, list[_Image]]) -> _Halves:
    """What to calibrate on and what to compare on, of the images of a manifest."""
    if splits["val"]:
        return splits["train"], splits["val"], ("split train", "split val")
    return _halves(sorted(splits["train"] or splits[""], key=lambda image: image.path))


def _from_folder(folder: Path) -> list[_Image]:
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        # Folders and files that archivers, notebooks and desktops leave.
        left = any(part.startswith(".") or part == "__MACOSX" for part in inside.parts)
        if path.suffix.lower() in images.SUFFIXES and not left and not _is_test(inside) and path.is_file():
            found.append(_Image(path, str(path.parent), path.parent.name))
    return found


def _is_test(path: Path) -> bool:
    return any(part.lower() in TEST_FOLDERS for part in path.parts[:-1])


def _halves(found: Sequence[_Image]) -> _Halves:
    return list(found[::2]), list(found[1::2]), ("every second image", "the images between")


def _balanced(found: Iterable[_Image], count: int) -> Iterator[_Image]:
    """One of each kind in turn, evenly spread over each kind's sorted paths if `count` are taken; all."""
    kinds: dict[str, list[_Image]] = defaultdict(list)
    for image in found:
        kinds[image.kind].append(image)
    spread = []
    for _, members in sorted(kinds.items()):
        members.sort(key=lambda image: image.path)
        step = max(1, len(members) * len(kinds) // count)
        # Every step-th first, then those between, so that a kind that must give more has them.
        spread.append([members[i] for start in range(step) for i in range(start, len(members), step)])
    return (image for turn in zip_longest(*spread) for image in turn if image is not None)


def _prepare(data: Path, use: _Use, found: Sequence[_Image], *, quiet: bool) -> tuple[Tensors, str]:
    """The slices, and what they are; an image that cannot be read is set aside for the next of the order."""
    tensors: list[Tensors] = []
    unreadable: list[FalxError] = []
    total = min(use.most, len(found))
    with tqdm(
        total=total, desc=f"Read {use.name} slices", unit="slice", leave=False, disable=quiet or None
    ) as bar:
        for image in _balanced(found, use.most):
            if len(tensors) == use.most:
                break
            try:
                tensors.append(prepare(images.read(image.path).pixels)[0])
                bar.update()
            except FalxError as error:
                unreadable.append(error)
    _enough(data, use, len(tensors), unreadable)
    aside = f"; {len(unreadable)} that cannot be read set aside" if unreadable else ""
    return (
        np.stack(tensors)[..., np.newaxis],
        f"{len(tensors)} slices, {use.images}, balanced over sources and labels{aside}",
    )
