"""Which slices calibrate and which compare."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tqdm", reason="the export needs tqdm")

from falx_export import samples
from falx_export.errors import DataError


def test_calibrates_on_train_and_compares_on_val(data: Path) -> None:
    read = samples.read(data, 16, 20, quiet=True)
    assert read.calibration.shape == (16, 224, 224, 1)
    assert read.parity.shape == (20, 224, 224, 1)
    assert read.calibration.dtype == np.uint8
    both = {image.tobytes() for image in read.calibration} & {image.tobytes() for image in read.parity}
    assert both == set()


def test_the_same_data_give_the_same_slices(data: Path) -> None:
    first, second = (samples.read(data / "manifest.csv", 16, 5, quiet=True) for _ in range(2))
    assert np.array_equal(first.calibration, second.calibration)
    assert np.array_equal(first.parity, second.parity)


def test_a_folder_without_manifest_is_halved(data: Path, tmp_path: Path) -> None:
    for path in data.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    read = samples.read(tmp_path, 100, 24, quiet=True)
    assert (len(read.calibration), len(read.parity)) == (24, 24)
    assert read.described["calibration"].startswith("24 slices, every second image")


def test_every_kind_gives_its_share() -> None:
    kinds = ["a"] * 90 + ["b"] * 9 + ["c"]
    found = [samples._Image(Path(f"{index:03}"), kind) for index, kind in enumerate(kinds)]
    chosen = samples._balanced(found, 11)
    assert [image.kind for image in chosen].count("a") == 5
    assert [image.kind for image in chosen].count("b") == 5
    assert [image.kind for image in chosen].count("c") == 1
    assert len(set(chosen)) == 11


def test_too_few_slices_for_parity(data: Path) -> None:
    message = (
        "expected at least 300 images for parity (split val), got 24; give more data, or --samples for fewer"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        samples.read(data, 16, None, quiet=True)


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a manifest"):
        samples.read(tmp_path / "nothing", 16, 5, quiet=True)


def test_a_manifest_without_splits(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,label\nx.png,glioma\n")
    with pytest.raises(DataError, match="expected columns path, label and split, lacks split"):
        samples.read(tmp_path, 16, 5, quiet=True)


def test_an_image_that_is_none_is_named(data: Path, tmp_path: Path) -> None:
    rows = "".join(f"bad.png,glioma,{split}\n" * 20 for split in ("train", "val"))
    (tmp_path / "manifest.csv").write_text("path,label,split\n" + rows)
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(DataError, match=r"bad\.png.*remove it from the data, or repair it"):
        samples.read(tmp_path, 16, 5, quiet=True)
