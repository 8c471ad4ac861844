"""Reads and writes manifests: CSV files that list images, one a line, with what is known of each.

Three kinds have the same form: slices with labels, outliers (pictures that are not slices of a brain) and
studies (whole heads as volumes). The first line names the columns, in any order; columns that are not named
here are passed over. Folders of images are read too: a folder a class, as in the Kaggle layouts
(`Training/CLASS`, `Testing/CLASS`) with the usual spellings of the classes, or a folder a kind of outlier.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from falx.reading.source import SUFFIXES
from falx.words import LABELS, NO_TUMOR, TUMOR_LABELS
from falx_runs.errors import DataError

UNTYPED: Final = "tumor_untyped"
"""The label of a tumour whose class is not recorded; training data have it, a model never answers it."""

SPLITS: Final = ("train", "val", "test")

LEARNED: Final = ("train", "")
"""The splits that are learned from: the trainer divides what has none."""

LEVELS: Final = ("vertex", "upper", "middle", "base")
"""The heights of axial slices in the head, from the top down to the skull base and posterior fossa."""

COLUMNS: Final = ("path", "label", "source", "group", "split", "sequence", "plane", "boxes", "level")
"""The columns of a manifest of slices; path and label are needed."""

PLANES: Final = {"ax": "axial", "co": "coronal", "cor": "coronal", "sa": "sagittal", "sag": "sagittal"}
"""The planes by their abbreviations."""

FOLDERS: Final = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""The split that a folder's name means, in lower case."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle around a tumour: centre and size, in fractions of the image's width and height."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled slice; a text is empty where nothing is known.

    Attributes:
        label: one of the four labels, or `tumor_untyped`.
        source: the collection.
        group: the patient or scan, which is never divided between splits.
        sequence: `T1`, `T1C+` (with contrast), `T2`, `FLAIR`, ...
        level: one of `LEVELS`.
    """

    path: Path
    label: str
    source: str = ""
    group: str = ""
    split: str = ""
    sequence: str = ""
    plane: str = ""
    boxes: tuple[Box, ...] = ()
    level: str = ""


@dataclass(frozen=True, slots=True)
class Outlier:
    """One picture that is not a slice of a brain; a text is empty where nothing is known.

    Attributes:
        kind: the family of such pictures, as in `head_ct` or `screenshot`.
    """

    path: Path
    kind: str
    source: str = ""
    group: str = ""
    split: str = ""


@dataclass(frozen=True, slots=True)
class LabelledVolume:
    """One whole head as a volume; most is as of a `Record`.

    Attributes:
        slices: the numbers, from 0, of the slices that show the tumour; empty where unknown.
    """

    path: Path
    label: str
    source: str = ""
    group: str = ""
    split: str = ""
    sequence: str = ""
    slices: tuple[int, ...] = ()


def find_manifest(data: Path) -> Path | None:
    """Finds the manifest of data; None where they are a folder without one.

    Raises:
        DataError: there is no such file or folder.
    """
    manifest = data / "manifest.csv" if data.is_dir() else data
    if manifest.is_file():
        return manifest
    if not data.is_dir():
        raise DataError(f"{data}: expected a manifest (CSV) or a folder of images, found neither")
    return None


def read_records(data: Path) -> list[Record]:
    """Reads all slices of data, sorted by path.

    Args:
        data: a manifest; a folder with a `manifest.csv`; or a folder with a folder a class, directly or
            below `Training` and `Testing`.

    Raises:
        DataError: nothing usable is there; the message says what was expected.
    """
    manifest = find_manifest(data)
    records = list(_read_folders(data)) if manifest is None else _read(manifest, Record, "label")
    return _sorted(data, records, f"one folder a class: {', '.join(LABELS)}")


def read_outliers(data: Path) -> list[Outlier]:
    """Reads all pictures that are not slices of a brain, sorted by path.

    Args:
        data: a manifest with the columns `path` and `kind`; a folder with a `manifest.csv`; or a folder of
            pictures, whose first level of folders names the kinds.

    Raises:
        DataError: nothing usable is there; the message says what was expected.
    """
    manifest = find_manifest(data)
    if manifest is None:
        outliers = [
            Outlier(path, path.relative_to(data).parts[0] if path.parent != data else data.resolve().name)
            for path in images_below(data)
        ]
    else:
        outliers = _read(manifest, Outlier, "kind")
    return _sorted(data, outliers, "one folder a kind of picture")


def read_volumes(data: Path) -> list[LabelledVolume]:
    """Reads all volumes of a manifest, or of a folder with a `manifest.csv`, sorted by path.

    Raises:
        DataError: nothing usable is there; the message says what was expected.
    """
    manifest = find_manifest(data)
    if manifest is None:
        raise DataError(f"{data}: has no manifest.csv, which says what each volume shows")
    return _sorted(data, _read(manifest, LabelledVolume, "label"), "volumes in it")


def to_csv(records: Iterable[Record]) -> str:
    """Writes a manifest that `read_records` reads as these records again, with absolute paths.

    Raises:
        DataError: a file's name is not in UTF-8, and cannot stand in a manifest.
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
        values = {**asdict(record), "path": path, "boxes": boxes}
        writer.writerow([values[column] for column in COLUMNS])
    return text.getvalue()


def images_below(folder: Path) -> list[Path]:
    """Lists the images in a folder and in those below it, sorted, by their suffixes.

    What archivers, notebooks and desktops leave (`.x`, `__MACOSX`) is passed over.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a manifest (CSV) or a folder of images, found neither")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(map(_is_left_over, path.relative_to(folder).parts))
        and path.is_file()
    )


def targets(labels: Sequence[str]) -> list[tuple[float, ...]]:
    """Gives what each label allows: one 1 for a typed slice, three for a tumour of unknown class."""
    return [
        tuple(float(name == label or (label == UNTYPED and name != NO_TUMOR)) for name in LABELS)
        for label in labels
    ]


Item = TypeVar("Item", Record, Outlier, LabelledVolume)


def _read(manifest: Path, kind: type[Item], needed: str) -> list[Item]:
    """Reads each line of a manifest: the fields of its kind from the columns of these names."""
    columns = ("path", needed)
    names = " and ".join(columns)
    found = []
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise DataError(
                    f"{manifest}: the first line must name the columns {names}; "
                    f"missing: {', '.join(sorted(missing))}"
                )
            for values in reader:
                where = f"{manifest}, line {reader.line_num}"
                # None is the value of a column that is missing, and the name of those too many.
                if None in values or None in values.values():
                    raise DataError(f"{where}: expected as many values as the first line has columns")
                read: dict[str, Any] = {
                    field.name: _READERS.get(field.name, _text)(values.get(field.name, ""), where)
                    for field in fields(kind)
                }
                found.append(kind(**read | {"path": manifest.parent / read["path"]}))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{manifest}: expected a CSV file with the columns {names}: {error}") from error
    return found


def _text(text: str, _where: str) -> str:
    return text


def _needed(column: str) -> Callable[[str, str], str]:
    def read(text: str, where: str) -> str:
        if not text:
            raise DataError(f"{where}: the {column} is empty")
        return text

    return read


def _one_of(column: str, known: Sequence[str]) -> Callable[[str, str], str]:
    def read(text: str, where: str) -> str:
        if text and text not in known:
            raise DataError(f"{where}: expected {column} to be one of {', '.join(known)}; got {text!r}")
        return text

    return read


def _plane(text: str, _where: str) -> str:
    return PLANES.get(text.lower(), text)


def _boxes(text: str, where: str) -> tuple[Box, ...]:
    return tuple(_read_box(part, where) for part in text.split(";") if part.strip())


def _slices(text: str, where: str) -> tuple[int, ...]:
    numbers = text.split()
    if not all(number.isdecimal() for number in numbers):
        raise DataError(f"{where}: expected slices as numbers from 0, got {text!r}")
    return tuple(map(int, numbers))


def _sorted(data: Path, found: list[Item], folders: str) -> list[Item]:
    if not found:
        raise DataError(f"{data}: no images found; expected a manifest.csv or {folders}")
    return sorted(found, key=lambda item: item.path)


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


def _read_folders(root: Path) -> Iterator[Record]:
    splits = {child: FOLDERS.get(child.name.lower(), "") for child in _folders(root)}
    if not any(splits.values()):
        splits = {root: ""}
    for folder, split in splits.items():
        if not split and folder != root:
            raise DataError(f"{folder}: expected only folders such as Training and Testing here")
        for child in _folders(folder):
            label = _label(child.name, str(child))
            yield from (Record(path=path, label=label, split=split) for path in images_below(child))


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(child for child in parent.iterdir() if child.is_dir() and not _is_left_over(child.name))
    except OSError as error:
        raise DataError(f"{parent}: cannot be read: {error}") from error


def _is_left_over(name: str) -> bool:
    return name.startswith((".", "__"))


def _label(name: str, where: str) -> str:
    """Gives the label that a class name means; case, spaces, hyphens, plurals and `_tumor` do not matter."""
    word = re.sub(r"[^a-z]", "", name.lower()).replace("tumour", "tumor")
    if word in ("no", "notumor", "normal", "healthy", "negative"):
        return NO_TUMOR
    if word in ("yes", "tumor", "tumoruntyped", "positive"):
        return UNTYPED
    for label in TUMOR_LABELS:
        if word.removesuffix("s").removesuffix("tumor").removesuffix("s") == label:
            return label
    raise DataError(f"{where}: {name!r} is not a class; expected {', '.join(LABELS)} or {UNTYPED}")


_READERS: Final[Mapping[str, Callable[[str, str], object]]] = {
    "path": _needed("path"),
    "label": _label,
    "kind": _needed("kind"),
    "split": _one_of("split", SPLITS),
    "level": _one_of("level", LEVELS),
    "plane": _plane,
    "boxes": _boxes,
    "slices": _slices,
}
"""The columns that are more than text: what reads each, given the line's place for messages."""
