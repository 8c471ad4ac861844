from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from falx_runs.manifest import Box, Record
from falx_trainer.data import tensors


def framed(left: int, top: int, width: int, height: int, size: tuple[int, int]) -> tuple[np.ndarray, Box]:
    """A dark grey head with a bright rectangle in it, and the rectangle's box."""
    rows, columns = size
    y, x = np.mgrid[:rows, :columns]
    pixels = np.where(np.hypot((x / columns - 0.5) / 0.42, (y / rows - 0.5) / 0.44) < 1, 90, 0)
    pixels[top : top + height, left : left + width] = 250
    box = Box((left + width / 2) / columns, (top + height / 2) / rows, width / columns, height / rows)
    return pixels.astype(np.uint8), box


@pytest.mark.parametrize(
    ("size", "place"),
    [
        ((256, 256), (150, 90, 40, 30)),
        ((512, 512), (200, 260, 50, 120)),
        ((224, 224), (60, 60, 24, 24)),
        ((130, 150), (70, 60, 20, 20)),
        ((300, 700), (400, 100, 120, 60)),
        ((640, 360), (120, 300, 60, 100)),
    ],
)
def test_boxes_follow_the_image_into_the_tensor(
    size: tuple[int, int], place: tuple[int, int, int, int], tmp_path: Path
) -> None:
    pixels, box = framed(*place, size)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    loaded = tensors.load([Record(tmp_path / "a.png", "glioma", boxes=(box,))])
    assert loaded.sizes.tolist() == [list(size)]
    bright = loaded.pixels[0] > 180  # halfway between 90 / 250 stretched and white
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert loaded.boxes[0].shape == (1, 4)
    assert loaded.boxes[0].dtype == np.float32
    np.testing.assert_allclose(loaded.boxes[0][0], seen, atol=1.0)


def test_no_box_is_an_empty_array(tmp_path: Path) -> None:
    Image.fromarray(framed(5, 5, 9, 9, (64, 64))[0]).save(tmp_path / "a.png")
    loaded = tensors.load([Record(tmp_path / "a.png", "glioma")])
    assert loaded.boxes[0].shape == (0, 4)


def fingerprint(*records: Record) -> str:
    return tensors.load(records).fingerprint


def test_fingerprint_depends_on_pixels_and_labels_only(tmp_path: Path) -> None:
    pixels, box = framed(60, 60, 24, 24, (128, 128))
    for name in ("a.png", "b.png", "a.bmp"):
        Image.fromarray(pixels).save(tmp_path / name)
    changed = pixels.copy()
    changed[64, 30] += 60
    Image.fromarray(changed).save(tmp_path / "c.png")
    a, b = Record(tmp_path / "a.png", "glioma"), Record(tmp_path / "b.png", "no_tumor")
    first = fingerprint(a, b)
    assert len(first) == 64
    elsewhere = dataclasses.replace(
        a, path=tmp_path / "a.bmp", source="x", group="g", split="val", boxes=(box,)
    )
    assert fingerprint(elsewhere, b) == first
    assert fingerprint(a, Record(tmp_path / "broken.png", "glioma"), b) == first
    assert fingerprint(dataclasses.replace(a, label="pituitary"), b) != first
    assert fingerprint(dataclasses.replace(a, path=tmp_path / "c.png"), b) != first
    assert fingerprint(a) != first


def test_nothing_readable_leaves_empty_arrays(tmp_path: Path) -> None:
    loaded = tensors.load([Record(tmp_path / "a.png", "glioma")])
    assert loaded.pixels.shape == (0, 224, 224)
    assert loaded.sizes.shape == (0, 2)
    assert len(loaded.unreadable) == 1


def test_select_keeps_images_boxes_and_sizes_together(tmp_path: Path) -> None:
    records = []
    for index, side in enumerate((64, 128, 96)):
        pixels, box = framed(side // 2, side // 2, side // 8, side // 8, (side, side + 2))
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        records.append(Record(tmp_path / f"{index}.png", "glioma", boxes=(box,) * index))
    loaded = tensors.load(records)
    some = loaded.select(np.array([2, 0]), [records[2], records[0]])
    assert some.records == [records[2], records[0]]
    assert some.sizes.tolist() == [[96, 98], [64, 66]]
    assert [len(boxes) for boxes in some.boxes] == [2, 0]
    np.testing.assert_array_equal(some.pixels, loaded.pixels[[2, 0]])
    assert some.fingerprint == loaded.fingerprint


def test_prepared_images_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = []
    for name in ("a", "b"):
        pixels, box = framed(60, 50, 24, 30, (128, 140))
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        records.append(Record(tmp_path / f"{name}.png", "glioma", boxes=(box,)))
    records.insert(1, Record(tmp_path / "none.png", "glioma"))
    first = tensors.load(records, tmp_path / "cache")
    prepared: list[Path] = []
    prepare = tensors._prepare

    def remember(record: Record) -> object:
        prepared.append(record.path)
        return prepare(record)

    monkeypatch.setattr(tensors, "_prepare", remember)
    again, plain = tensors.load(records, tmp_path / "cache"), tensors.load(records)
    # What cannot be read is tried again, for its error; the last load keeps nothing.
    assert prepared == [tmp_path / "none.png", *(record.path for record in records), tmp_path / "none.png"]
    for loaded in (first, again):
        assert loaded.fingerprint == plain.fingerprint
        assert loaded.records == plain.records
        np.testing.assert_array_equal(loaded.pixels, plain.pixels)
        np.testing.assert_array_equal(loaded.boxes, plain.boxes)
        assert loaded.sizes.tolist() == [[128, 140], [128, 140]]
        assert [record.path.stem for record, _ in loaded.unreadable] == ["none"]
    Image.fromarray(255 - pixels).save(tmp_path / "b.png")
    assert tensors.load(records, tmp_path / "cache").fingerprint != first.fingerprint


def test_unreadable_files_are_set_aside_and_named(tmp_path: Path) -> None:
    Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (200, 1))).save(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    names = ("cut", "empty", "good", "missing", "text")
    records = [Record(tmp_path / f"{name}.png", "glioma") for name in names]
    loaded = tensors.load(records)
    assert [record.path.stem for record in loaded.records] == ["good"]
    assert loaded.pixels.shape == (1, 224, 224)
    assert [record.path.stem for record, _ in loaded.unreadable] == ["cut", "empty", "missing", "text"]
    assert all(str(record.path) in str(error) for record, error in loaded.unreadable)
