from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from falx import phantom
from falx.errors import FalxError, UnreadableImage
from falx.pictures.folder import Folder
from falx.reading import source
from falx.slices.overlay import overlay

IMAGE = Image.new("RGB", (2, 2))


def test_nothing_covers_the_slice_where_the_heatmap_is_0_and_the_hottest_is_red() -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4) * 10
    picture = np.asarray(overlay(pixels, np.zeros((4, 4), np.float32)))
    assert np.array_equal(picture, np.stack([pixels] * 3, axis=-1))
    picture = np.asarray(overlay(np.full((1, 1), 100, np.uint8), np.ones((1, 1), np.float32)))
    assert picture.tolist() == [[[178, 58, 52]]]


def test_a_heatmap_found_among_slices_is_not_taken_for_one(tmp_path: Path) -> None:
    folder, pixels = Folder(str(tmp_path)), phantom.lesion()
    path = folder.save(overlay(pixels, np.zeros(pixels.shape, np.float32)), "heatmap")
    message = (
        "heatmap.png: expected a slice, got a heatmap or a sheet that Falx made of slices; give the slices"
    )
    with pytest.raises(UnreadableImage, match=message):
        source.read(path)
    # What it was made of, written by the same folder, is a slice.
    assert np.array_equal(source.read(folder.save(Image.fromarray(pixels), "lesion")).pixels, pixels)


def test_equal_names_do_not_collide(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "new" / "folder"))
    names = [folder.save(IMAGE, name).name for name in ("a", "A", "a", "a-2", "b")]
    assert names == ["a.png", "A-2.png", "a-3.png", "a-2-2.png", "b.png"]
    with Image.open(tmp_path / "new" / "folder" / "a.png") as saved:
        assert saved.size == (2, 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "expected a new or empty folder, this one holds files; give another"),
        ("a.png", "cannot make this folder: File exists"),
    ],
)
def test_what_is_no_empty_folder_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(FalxError, match=message):
        Folder(str(tmp_path / name))


def test_a_file_that_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(FalxError, match=r"a\.png: cannot be written: File exists"):
        folder.save(IMAGE, "a")
    assert (tmp_path / "a.png").read_bytes() == b"mine"
