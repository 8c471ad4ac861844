from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tests.trainer.conftest import DrawHead

from falx_trainer.training.preview import MARGIN, SIDE, preview
from falx_trainer.training.recipe import PRESETS


def test_a_sheet_shows_each_slice_and_its_variations(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    recipe = PRESETS["default"].override({"drawn_outliers": 0.0})
    preview([manifest], out, recipe, rows=3, columns=4)
    with Image.open(out) as image:
        assert image.size == (4 * SIDE, 3 * (SIDE + MARGIN))
        pixels = np.asarray(image)
    tiles = [pixels[MARGIN : MARGIN + SIDE, column * SIDE : (column + 1) * SIDE] for column in range(4)]
    assert all(tile.std() > 5 for tile in tiles)
    assert not any(np.array_equal(tiles[0], tile) for tile in tiles[1:])
    # The same settings draw the same sheet.
    before = out.read_bytes()
    preview([manifest], out, recipe, rows=3, columns=4)
    assert out.read_bytes() == before


def test_slices_of_several_folders_are_on_one_sheet(head: DrawHead, tmp_path: Path) -> None:
    for seed, (folder, label) in enumerate([("ours", "no_tumor"), ("theirs", "glioma")]):
        place = tmp_path / folder / label
        place.mkdir(parents=True)
        Image.fromarray(head(seed)[0]).save(place / "slice.png")
    out = tmp_path / "sheet.png"
    preview([tmp_path / "ours", tmp_path / "theirs"], out, PRESETS["default"], rows=8, columns=2)
    with Image.open(out) as image:
        assert image.size == (2 * SIDE, 2 * (SIDE + MARGIN))
