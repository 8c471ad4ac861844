from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from falx.errors import UnreadableImage
from falx.reading import stack
from falx.reading.files import expand, opened
from falx.reading.input_file import InputFile
from falx.reading.source import read
from falx.reading.stack import Stack
from falx.reading.volume import Volume
from falx.slices.slice import Part

PAGES = np.random.default_rng(1).integers(0, 200, (3, 20, 24)).astype(np.uint8)


def saved(path: Path, pages: list[Image.Image]) -> Path:
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


def test_each_page_of_a_stack_is_a_slice(tmp_path: Path) -> None:
    path = saved(tmp_path / "s.tif", [Image.fromarray(page) for page in PAGES])
    parts = list(expand([str(path)]))
    assert [part.number for part in parts if isinstance(part, Part)] == [1, 2, 3]
    assert np.array_equal([read(part).pixels for part in parts], PAGES)
    origin = read(parts[1]).origin
    assert origin is not None
    assert (origin.format, origin.frame) == ("tiff", 2)
    with pytest.raises(UnreadableImage, match="expected one image, got several frames"):
        read(path)


def test_pages_of_more_than_eight_bits_share_black_and_white(tmp_path: Path) -> None:
    deep = PAGES.astype(np.uint16) * 100
    deep[0] //= 100
    path = saved(tmp_path / "s.tiff", [Image.fromarray(page) for page in deep])
    (found,) = opened([str(path)])
    assert isinstance(found, Volume)
    assert (found.frames, found.positions_mm, found.origin(2).format) == (3, None, "tiff")
    # The first page is dark beside the others; by itself it would be stretched to 255.
    assert found.read(1).pixels.max() <= 3
    assert np.abs(found.read(2).pixels.astype(int) - deep[1].astype(float) * 255 / deep.max()).max() <= 1.5


def test_a_tiff_of_one_page_is_a_picture(tmp_path: Path) -> None:
    path = saved(tmp_path / "s.tif", [Image.fromarray(PAGES[0])])
    assert list(expand([str(path)])) == [str(path)]
    assert np.array_equal(read(path).pixels, PAGES[0])


def test_pages_of_different_sizes_and_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Image.fromarray(PAGES[0].astype(np.uint16)), Image.fromarray(PAGES[1, :9].astype(np.uint16))]
    (part,) = expand([str(saved(tmp_path / "s.tif", pages))])
    with pytest.raises(UnreadableImage, match="expected pages of one size"):
        read(part)
    monkeypatch.setattr(stack, "MOST_PAGES", 2)
    (part,) = expand([str(saved(tmp_path / "t.tif", [Image.fromarray(page) for page in PAGES]))])
    with pytest.raises(UnreadableImage, match="too many pages: 3; at most 2 are read"):
        read(part)


def test_a_damaged_page_is_one_failure(tmp_path: Path) -> None:
    path = saved(tmp_path / "s.tif", [Image.fromarray(page) for page in PAGES])
    found = Stack(InputFile.at(path), 4)
    assert np.array_equal(found.read(3).pixels, PAGES[2])
    with pytest.raises(UnreadableImage, match=r"s\.tif: the image is damaged: it ends too early"):
        found.read(4)
