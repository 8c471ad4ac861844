"""Chooses the slices that calibrate the quantization, and those that prove it.

They come from the training data: calibration from the `train` split, parity from `val`, which the
thresholds and the model's calibration were fitted on. `test` is never read here. Where there is no `val`
split, or a folder without a manifest, every second image serves for calibration and the others for parity;
images in folders named Testing or test serve for neither.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from falx.errors import FalxError
from falx.reading import source
from falx.slices.preprocessing import prepare
from falx_runs import manifest
from falx_runs.errors import DataError
from falx_runs.manifest import Record, find_manifest, images_below, read_records
from falx_runs.silence import progress

MOST_PARITY: Final = 400
"""More slices cost time and tell nothing new; `verify` compares on all."""

LEAST_PARITY: Final = 20
"""Parity on fewer slices says nothing; it has to be asked for."""

LEAST_CALIBRATION: Final = 16
"""Activation ranges from fewer slices are not worth quantizing with."""

SPLITS: Final = (*manifest.SPLITS, "")
"""The splits of a manifest, and that it gives none."""

TEST_FOLDERS: Final = ("test", "testing")
"""Names, in lower case, of folders whose images are only for the last measurement."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Prepared slices to calibrate and to compare on, `(N, 224, 224, 1)`, with a sentence on each."""

    calibration: npt.NDArray[np.uint8]
    parity: npt.NDArray[np.uint8]
    described: dict[str, str]


@dataclass(frozen=True, slots=True)
class PreparedSlice:
    """A slice as the model takes it; where there is no manifest, its folder's name is its label."""

    record: Record
    tensor: npt.NDArray[np.uint8]


def read(data: Path, calibration: int, parity: int | None) -> Samples:
    """Chooses slices and prepares them; the same data give the same slices.

    Args:
        data: a manifest, such as a run's `data.csv`; a folder that holds a `manifest.csv`; or a folder of
            images.
        calibration: the most slices to calibrate on.
        parity: the number of slices to compare on; None means all, and at most 400.

    Raises:
        DataError: the data are not there or not readable, or too few of the images are.
    """
    (calibrating, first), (comparing, second) = (use.prepared() for use in _uses(data, calibration, parity))
    return Samples(calibrating, comparing, {"calibration": first, "parity": second})


def check(data: Path, calibration: int, parity: int | None) -> None:
    """Checks that there are enough images for `read`, without reading one."""
    _uses(data, calibration, parity)


def _uses(data: Path, calibration: int, parity: int | None) -> tuple[_Use, _Use]:
    """Returns the calibration and the comparison, each with enough images."""
    train, validation, (trained, validated) = _divided(_found(data))
    least = min(calibration, LEAST_CALIBRATION), LEAST_PARITY if parity is None else parity
    remedy = "; give more data with --data, or --samples for fewer"
    uses = (
        _Use(data, "calibration", trained, train, calibration, least[0]),
        _Use(data, "parity", validated, validation, parity or MOST_PARITY, least[1], remedy),
    )
    for use in uses:
        use.need(len(use.records))
    return uses


def prepared(data: Path, splits: Collection[str] = SPLITS) -> Iterator[PreparedSlice]:
    """Prepares every slice that can be read, in the order of the splits and the sorted paths.

    Raises:
        DataError: the data cannot be used, or (at the end) hold no slice that can be read.
    """
    found = _found(data)
    found = [record for split in SPLITS if split in splits for record in found if record.split == split]
    unreadable: list[FalxError] = []
    for record in progress(found, "Compare"):
        try:
            tensor = prepare(source.read(record.path).pixels)[0]
        except FalxError as error:
            unreadable.append(error)
            continue
        yield PreparedSlice(record, tensor[..., np.newaxis])
    if len(unreadable) == len(found):
        first = f"; the first of {len(unreadable)} that cannot be read: {unreadable[0]}" if unreadable else ""
        raise DataError(f"{data}: expected images (split {', '.join(filter(None, splits))}), got none{first}")


@dataclass(frozen=True, slots=True)
class _Use:
    """A use of slices: the data, its name, the images and their name, the most and the least, the remedy."""

    data: Path
    name: str
    images: str
    records: Sequence[Record]
    most: int
    least: int
    remedy: str = ""

    def need(self, count: int, unreadable: Sequence[FalxError] = ()) -> None:
        """Raises DataError where a number of slices is not enough."""
        if count < self.least:
            others = f" and {len(unreadable)} that cannot be read ({unreadable[0]})" if unreadable else ""
            raise DataError(
                f"{self.data}: expected at least {self.least} images for {self.name} ({self.images}), "
                f"got {count}{others}{self.remedy}"
            )

    def prepared(self) -> tuple[npt.NDArray[np.uint8], str]:
        """Prepares slices, and says which they are; one that cannot be read makes room for the next."""
        tensors: list[npt.NDArray[np.uint8]] = []
        unreadable: list[FalxError] = []
        total = min(self.most, len(self.records))
        with progress(None, f"Read {self.name} slices", total) as bar:
            for record in _balanced(self.records, self.most):
                if len(tensors) == self.most:
                    break
                try:
                    tensors.append(prepare(source.read(record.path).pixels)[0])
                    bar.update()
                except FalxError as error:
                    unreadable.append(error)
        self.need(len(tensors), unreadable)
        aside = f"; {len(unreadable)} that cannot be read set aside" if unreadable else ""
        described = f"{len(tensors)} slices, {self.images}, balanced over sources and labels{aside}"
        return np.stack(tensors)[..., np.newaxis], described


def _found(data: Path) -> list[Record]:
    """Lists the images of a manifest or folder, without those of no split that lie in a folder for tests."""
    root = data if data.is_dir() else data.parent
    if find_manifest(data) is None:
        records = [Record(path, path.parent.name, source=str(path.parent)) for path in images_below(data)]
    else:
        records = read_records(data)
    return [record for record in records if record.split or not _is_test(record.path, root)]


def _is_test(path: Path, root: Path) -> bool:
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    return any(part.lower() in TEST_FOLDERS for part in inside.parts[:-1])


def _divided(found: Sequence[Record]) -> tuple[list[Record], list[Record], tuple[str, str]]:
    """Gives the images to calibrate on, those to compare on, and what to call them."""
    splits: dict[str, list[Record]] = defaultdict(list)
    for record in found:
        splits[record.split].append(record)
    if splits["val"]:
        return splits["train"], splits["val"], ("split train", "split val")
    others = splits["train"] or splits[""]
    return others[::2], others[1::2], ("every second image", "the images between")


def _balanced(found: Iterable[Record], count: int) -> Iterator[Record]:
    """Gives all images, sources and labels in turn; the first `count` are spread over their paths."""
    kinds: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in found:
        kinds[record.source, record.label].append(record)
    spread = []
    for _, members in sorted(kinds.items()):
        members.sort(key=lambda record: record.path)
        step = max(1, len(members) * len(kinds) // count)
        # Every step-th first, then those between, so that a kind that must give more has them.
        spread.append([members[i] for start in range(step) for i in range(start, len(members), step)])
    return (record for turn in zip_longest(*spread) for record in turn if record is not None)
