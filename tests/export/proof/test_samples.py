"""Some slices calibrate, and others compare."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from falx.reading import source
from falx.slices.slice import Slice
from falx_export.proof import samples
from falx_runs.errors import DataError
from falx_runs.manifest import Record


def test_calibrates_on_train_and_compares_on_val(data: Path) -> None:
    read = samples.read(data, 16, 20)
    assert read.calibration.shape == (16, 224, 224, 1)
    assert read.parity.shape == (20, 224, 224, 1)
    assert read.calibration.dtype == np.uint8
    both = {image.tobytes() for image in read.calibration} & {image.tobytes() for image in read.parity}
    assert both == set()


def test_the_same_data_give_the_same_slices(data: Path) -> None:
    first, second = (samples.read(data / "manifest.csv", 16, 5) for _ in range(2))
    assert np.array_equal(first.calibration, second.calibration)
    assert np.array_equal(first.parity, second.parity)
    # A small set is compared on all that it has.
    every = samples.read(data, 16, None)
    assert (len(every.calibration), len(every.parity)) == (16, 24)


def test_a_folder_without_manifest_is_halved(data: Path, tmp_path: Path) -> None:
    for path in data.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    read = samples.read(tmp_path, 100, 24)
    assert (len(read.calibration), len(read.parity)) == (24, 24)
    assert read.described["calibration"].startswith("24 slices, every second image")


def test_every_kind_gives_its_share() -> None:
    kinds = ["a"] * 90 + ["b"] * 9 + ["c"]
    found = [Record(Path(f"{index:03}"), kind) for index, kind in enumerate(kinds)]
    every = list(samples._balanced(found, 11))
    assert sorted(every, key=lambda image: image.path) == found
    assert sorted(image.label for image in every[:11]) == ["a"] * 5 + ["b"] * 5 + ["c"]
    assert len(set(every[:11])) == 11


def test_too_few_slices_for_parity(data: Path, tmp_path: Path) -> None:
    message = "expected at least 30 images for parity (split val), got 24; give more data with --data, or --"
    with pytest.raises(DataError, match=re.escape(message)):
        samples.check(data, 16, 30)
    samples.check(data, 16, 24)
    # So few prove nothing, asked for or not.
    head, *lines = (data / "manifest.csv").read_text().splitlines()
    few = [line for line in lines if line.endswith("val")][:19]
    few += [line for line in lines if line.endswith("train")]
    (tmp_path / "few.csv").write_text("\n".join([head, *(f"{data}/{line}" for line in few)]) + "\n")
    with pytest.raises(DataError, match=r"expected at least 20 images for parity .*, got 19; give more"):
        samples.check(tmp_path / "few.csv", 16, None)


def read_by(monkeypatch: pytest.MonkeyPatch, data: Path, *counts: int) -> tuple[set[str], set[str]]:
    """Names of the files read for calibration and for parity."""
    read: list[Path] = []
    real = source.read

    def spy(path: Path) -> Slice:
        read.append(path)
        return real(path)

    monkeypatch.setattr(source, "read", spy)
    taken = samples.read(data, *counts)
    names = [path.name for path in read]
    assert len(names) == len(set(names)) == len(taken.calibration) + len(taken.parity)
    return set(names[: len(taken.calibration)]), set(names[len(taken.calibration) :])


@pytest.mark.parametrize("split", ["", "train"])
def test_a_manifest_without_val_is_halved(
    split: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{index:02}.png" for index in range(48)]
    rows = [f"{data / name},glioma,{split}" for name in names[:40]]
    rows += [f"{data / name},glioma,test" for name in names[40:]]
    # With a byte order mark, as spreadsheets write one.
    (tmp_path / "mine.csv").write_text("\n".join(["path,label,split", *rows]), encoding="utf-8-sig")
    calibration, parity = read_by(monkeypatch, tmp_path / "mine.csv", 100, 20)
    assert calibration == set(names[:40:2])
    assert parity == set(names[1:40:2])


def test_a_manifest_without_the_column_is_halved_without_test_folders(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["path,label"]
    for index, path in enumerate(sorted(data.glob("*.png"))):
        folder = ("Training", "Testing")[index >= 40]
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / path.name).write_bytes(path.read_bytes())
        rows.append(f"{folder}/{path.name},glioma")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    calibration, parity = read_by(monkeypatch, tmp_path, 100, 20)
    assert calibration | parity == {f"{index:02}.png" for index in range(40)}


def test_what_is_not_read_of_a_folder(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = ["Testing/glioma/a.png", "test/b.png", ".cache/c.png", "__MACOSX/glioma/d.png"]
    places += ["glioma/._e.png", "glioma/f.txt"]
    paths = sorted(data.glob("*.png"))
    kept = {path.name for path in paths[: -len(places)]}
    for path, place in zip(paths, [*(f"glioma/{name}" for name in sorted(kept)), *places], strict=True):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / place)
    calibration, parity = read_by(monkeypatch, tmp_path, 100, 21)
    assert calibration | parity == kept
    assert (len(calibration), len(parity)) == (21, 21)


def test_unreadable_images_are_set_aside(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    rows = (data / "manifest.csv").read_text().splitlines()
    # The first of their kind, and so the first to be read.
    for name, split in (("00-a", "train"), ("00-b", "val"), ("00-c", "val")):
        (tmp_path / f"{name}.png").write_text("no image")
        rows.append(f"{name}.png,glioma,drawn,{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    read = samples.read(tmp_path, 100, 24)
    assert (len(read.calibration), len(read.parity)) == (24, 24)
    assert read.described == {
        part: f"24 slices, split {split}, balanced over sources and labels; {count} that cannot be read "
        "set aside"
        for part, split, count in (("calibration", "train", 1), ("parity", "val", 2))
    }


def test_too_few_that_can_be_read(data: Path, tmp_path: Path) -> None:
    rows = "".join(f"bad.png,glioma,{split}\n" * 20 for split in ("train", "val"))
    (tmp_path / "manifest.csv").write_text("path,label,split\n" + rows)
    (tmp_path / "bad.png").write_text("no image")
    message = "at least 16 images for calibration (split train), got 0 and 20 that cannot be read ("
    with pytest.raises(DataError, match=rf"{re.escape(message)}.*bad\.png: "):
        samples.read(tmp_path, 16, 5)
