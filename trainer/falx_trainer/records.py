"""Which images there are: a folder a class, or a manifest, becomes a list of records.

The Kaggle layouts (`Training/CLASS`, `Testing/CLASS`) and the usual spellings of the class
names are understood; a class that is not is an error that names the folder.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from falx import images
from falx.errors import FalxError
from falx.words import LABELS

__all__ = ["SPLITS", "UNTYPED", "Box", "DataError", "Record", "read_records", "targets", "to_csv"]

UNTYPED: Final = "tumor_untyped"
"""A label of training data, never of a model: a tumour whose class is not recorded."""

SPLITS: Final = ("train", "val", "test")

COLUMNS: Final = ("path", "label", "source", "group", "split", "sequence", "plane", "boxes")
"""Of a manifest; the first two are needed."""

DIVISIONS: Final = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""The split that a folder of class folders means by its name, in lower case."""


class DataError(FalxError, ValueError):
    """Training data that cannot be used as they are: the message names the file or folder."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle around a tumour, in fractions of the image's width and height: centre and size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Record:
    """One training image.

    Attributes:
        path: the file.
        label: one of the four labels, or `tumor_untyped`.
        source: the collection; empty where unknown.
        group: the patient or scan, which is never divided between splits; empty where unknown.
        split: `train`, `val`, `test`; empty where not yet divided.
        sequence: `T1`, `T1C+` (with contrast), `T2`, `FLAIR`, ...; empty where unknown.
        plane: `axial`, `coronal`, `sagittal`; empty where unknown.
        boxes: the tumours' places, empty where unknown.
    """

    path: Path
    label: str
    source: str = ""
    group: str = ""
    split: str = ""
    sequence: str = ""
    plane: str = ""
    boxes: tuple[Box, ...] = ()


def read_records(data: Path) -> list[Record]:
    """All images of a data folder or manifest, sorted by path.

    Args:
        data: a manifest CSV; a folder with a `manifest.csv`; or a folder with a folder a class,
            directly or below `Training` and `Testing`.

    Raises:
        DataError: where nothing usable is there, saying what was expected.
    """
    if data.is_dir() and (data / "manifest.csv").is_file():
        data = data / "manifest.csv"
    if data.is_file():
        records = _read_manifest(data)
    elif data.is_dir():
        records = list(_read_folders(data))
    else:
        raise DataError(f"{data}: no such folder or manifest")
    if not records:
        raise DataError(
            f"{data}: no images found; expected a manifest.csv or one folder a class: {', '.join(LABELS)}"
        )
    return sorted(records, key=lambda record: record.path)


def to_csv(records: Iterable[Record]) -> str:
    """A manifest that `read_records` reads as these records again, with absolute paths.

    Raises:
        DataError: a file's name that is no text, and cannot stand in a manifest.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        path = str(record.path.resolve())
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{path!a}: expected a name in UTF-8; rename the file or its folder") from error
        boxes = ";".join(f"{box.x!r} {box.y!r} {box.width!r} {box.height!r}" for box in record.boxes)
        writer.writerow(
            [
                path,
                record.label,
                record.source,
                record.group,
                record.split,
                record.sequence,
                record.plane,
                boxes,
            ]
        )
    return text.getvalue()


def _read_manifest(manifest: Path) -> list[Record]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"path", "label"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(
                    f"{manifest}: the first line must name the columns path and label; "
                    f"missing: {', '.join(sorted(missing))}"
                )
            return [_read_row(manifest, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{manifest}: expected a CSV file with the columns path and label: {error}"
        ) from error


def _read_row(manifest: Path, line: int, row: dict[str, str]) -> Record:
    where = f"{manifest}, line {line}"
    # csv.DictReader: None is the value of a column that is missing, and the name of those too many.
    if None in row or None in row.values():
        raise DataError(f"{where}: expected as many values as the first line has columns")
    if not row["path"]:
        raise DataError(f"{where}: the path is empty")
    label, split = row["label"], row.get("split") or ""
    if split and split not in SPLITS:
        raise DataError(f"{where}: expected split to be one of {', '.join(SPLITS)}; got {split!r}")
    return Record(
        path=manifest.parent / row["path"],
        label=_label(label, where),
        source=row.get("source") or "",
        group=row.get("group") or "",
        split=split,
        sequence=row.get("sequence") or "",
        plane=row.get("plane") or "",
        boxes=tuple(_read_box(text, where) for text in (row.get("boxes") or "").split(";") if text.strip()),
    )


def _read_box(text: str, where: str) -> Box:
    try:
        box = Box(*map(float, text.split()))
    except (TypeError, ValueError):
        box = None
    if box is None or not (
        0 < box.width <= 1 and 0 < box.height <= 1 and 0 <= box.x <= 1 and 0 <= box.y <= 1
    ):
        raise DataError(f"{where}: expected a box as 'x y w h' in fractions of the image, got {text!r}")
    return box


def _read_folders(root: Path) -> Iterable[Record]:
    divisions = {child: DIVISIONS.get(child.name.lower(), "") for child in _folders(root)}
    if any(divisions.values()):
        for folder, split in divisions.items():
            if not split:
                raise DataError(f"{folder}: expected only folders such as Training and Testing here")
            yield from _read_classes(folder, split)
    else:
        yield from _read_classes(root, "")


def _read_classes(folder: Path, split: str) -> Iterable[Record]:
    for child in _folders(folder):
        label = _label(child.name, str(child))
        for path in sorted(child.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(child).parts)
            if path.suffix.lower() in images.SUFFIXES and not hidden and path.is_file():
                yield Record(path=path, label=label, split=split)


def _folders(parent: Path) -> list[Path]:
    """The folders in a folder, without those that notebooks and archivers leave (`.x`, `__MACOSX`)."""
    try:
        return sorted(
            child for child in parent.iterdir() if child.is_dir() and not child.name.startswith((".", "__"))
        )
    except OSError as error:
        raise DataError(f"{parent}: cannot be read: {error}") from error


def _label(name: str, where: str) -> str:
    """The label a class name means: case, spaces, hyphens, plurals and `_tumor` do not matter."""
    word = re.sub(r"[^a-z]", "", name.lower()).replace("tumour", "tumor")
    if word in ("no", "notumor", "normal", "healthy", "negative"):
        return "no_tumor"
    if word in ("yes", "tumor", "tumoruntyped", "positive"):
        return UNTYPED
    for label in LABELS[1:]:
        if word.removesuffix("s").removesuffix("tumor").removesuffix("s") == label:
            return label
    raise DataError(f"{where}: {name!r} is no class; expected {', '.join(LABELS)} or {UNTYPED}")


def targets(labels: Sequence[str]) -> list[tuple[float, ...]]:
    """What each label allows: one 1 for a typed slice, three for a tumour of unknown class."""
    return [
        tuple(float(name == label or (label == UNTYPED and name != "no_tumor")) for name in LABELS)
        for label in labels
    ]
