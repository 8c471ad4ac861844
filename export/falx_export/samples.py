"""The slices that calibrate the quantization, and those that prove it.

They come from the training data: calibration from the `train` split, parity from `val`, which is what
thresholds and temperature were fitted on. `test` is never read here. A folder without a manifest has
no splits; then every second image serves for calibration and the others for parity.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from falx import images
from falx.errors import UnreadableImage
from falx.preprocessing import prepare
from falx_export.errors import DataError

__all__ = ["LEAST_CALIBRATION", "LEAST_PARITY", "Samples", "read"]

Tensors = npt.NDArray[np.uint8]

LEAST_PARITY: Final = 300
"""Parity on fewer slices says little; it has to be asked for."""

LEAST_CALIBRATION: Final = 16
"""Activation ranges from fewer slices are not worth quantizing with."""


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


def read(data: Path, calibration: int, parity: int | None, *, quiet: bool = False) -> Samples:
    """Choose slices and prepare them; the same data give the same slices.

    Args:
        data: a manifest (CSV with `path`, `label`, `split` and optionally `source`), a folder that
            holds a `manifest.csv`, or a folder of images.
        calibration: how many slices to calibrate on, at most.
        parity: how many to compare on; None means 400, and at least 300.
        quiet: show no progress.

    Raises:
        DataError: the data are not there, not readable, or too few.
    """
    manifest = data / "manifest.csv" if data.is_dir() else data
    if manifest.is_file():
        train, validation = _from_manifest(manifest)
        names = ("split train", "split val")
    elif data.is_dir():
        train, validation = _from_folder(data)
        names = ("every second image", "the images between")
    else:
        raise DataError(f"{data}: expected a manifest (CSV) or a folder of images, found neither")
    least = LEAST_PARITY if parity is None else parity
    _enough(data, "calibration", names[0], train, min(calibration, LEAST_CALIBRATION))
    _enough(data, "parity", names[1], validation, least, "; give more data, or --samples for fewer")
    chosen = _balanced(train, calibration)
    compared = _balanced(validation, parity or 400)
    return Samples(
        _prepare(chosen, "Read calibration slices", quiet=quiet),
        _prepare(compared, "Read parity slices", quiet=quiet),
        {
            "calibration": f"{len(chosen)} slices, {names[0]}, balanced over sources and labels",
            "parity": f"{len(compared)} slices, {names[1]}, balanced over sources and labels",
        },
    )


def _enough(data: Path, use: str, name: str, found: Sequence[_Image], least: int, remedy: str = "") -> None:
    if len(found) < least:
        raise DataError(
            f"{data}: expected at least {least} images for {use} ({name}), got {len(found)}{remedy}"
        )


def _from_manifest(path: Path) -> tuple[list[_Image], list[_Image]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot read the manifest: {error}") from error
    missing = [name for name in ("path", "label", "split") if name not in columns]
    if missing:
        raise DataError(f"{path}: expected columns path, label and split, lacks {', '.join(missing)}")
    splits: dict[str, list[_Image]] = defaultdict(list)
    for row in rows:
        if row["path"] and row["split"]:
            kind = f"{row.get('source') or ''}/{row['label']}"
            splits[row["split"]].append(_Image(path.parent / row["path"], kind))
    return splits["train"], splits["val"]


def _from_folder(folder: Path) -> tuple[list[_Image], list[_Image]]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in images.SUFFIXES)
    found = [_Image(path, str(path.parent)) for path in paths if path.is_file()]
    return found[::2], found[1::2]


def _balanced(found: Iterable[_Image], count: int) -> list[_Image]:
    """One of each kind in turn, evenly spread over each kind's sorted paths, until there are enough."""
    kinds: dict[str, list[_Image]] = defaultdict(list)
    for image in found:
        kinds[image.kind].append(image)
    spread = []
    for _, members in sorted(kinds.items()):
        members.sort(key=lambda image: image.path)
        step = max(1, len(members) * len(kinds) // count)
        # Every step-th first, then those between, so that a kind that must give more has them.
        spread.append([members[i] for start in range(step) for i in range(start, len(members), step)])
    turns = (image for turn in zip_longest(*spread) for image in turn if image is not None)
    return [image for image, _ in zip(turns, range(count), strict=False)]


def _prepare(chosen: Sequence[_Image], title: str, *, quiet: bool) -> Tensors:
    tensors = []
    for image in tqdm(chosen, title, unit="slice", leave=False, disable=quiet or None):
        try:
            tensors.append(prepare(images.read(image.path).pixels)[0])
        except UnreadableImage as error:
            raise DataError(f"{error}; remove it from the data, or repair it") from error
    return np.stack(tensors)[..., np.newaxis]
