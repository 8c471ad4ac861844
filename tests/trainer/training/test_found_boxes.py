from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from tests.said import Command
from tests.trainer.conftest import Pixels

from falx_runs.manifest import Box, Record, read_records, to_csv
from falx_trainer.training.found_boxes import region


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that calls white places tumours, as the default recipe's would say it."""
    image = keras.Input((224, 224, 1))
    means = layers.Reshape((14, 14))(layers.AveragePooling2D(16)(image))
    places = layers.Activation("sigmoid", name="heatmap")(layers.Rescaling(1 / 8, -200 / 8)(means))
    tumor = layers.Rescaling(0.98)(layers.GlobalMaxPooling2D()(layers.Reshape((14, 14, 1))(places)))
    kinds = [layers.Rescaling(1 / 3)(tumor)] * 3
    answer = layers.Concatenate(name="probabilities")([layers.Rescaling(-1, 1)(tumor), *kinds])
    path = tmp_path_factory.mktemp("bright") / "model.keras"
    keras.Model(image, {"probabilities": answer, "heatmap": places}).save(path)
    return path


def head(*corners: int) -> Pixels:
    """Draws a head 200 wide and 260 high in 400 by 300 pixels, with a white rectangle in it."""
    y, x = np.mgrid[:300, :400]
    pixels = np.where(np.hypot((x - 240) / 100, (y - 150) / 130) < 1, 90, 0).astype(np.uint8)
    pixels[:10, :10] = 90  # else the head alone would be grey, and stretched to white
    if corners:
        left, top, right, bottom = corners
        pixels[top:bottom, left:right] = 250
    return pixels


def test_a_tumor_gets_the_box_that_the_map_shows(
    bright: Path, tmp_path: Path, trainer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = (Box(0.5, 0.5, 0.1, 0.2),)
    pictures = {
        "found": ("glioma", "train", (), head(250, 100, 300, 160)),
        "of no split": ("tumor_untyped", "", (), head(180, 150, 230, 200)),
        "large": ("glioma", "train", (), head(160, 60, 310, 240)),
        "unseen": ("meningioma", "train", (), head()),
        "known": ("glioma", "train", known, head(250, 100, 300, 160)),
        "held": ("glioma", "val", (), head(250, 100, 300, 160)),
        "healthy": ("no_tumor", "train", (), head(250, 100, 300, 160)),
    }
    records = []
    for name, (label, split, boxes, pixels) in pictures.items():
        Image.fromarray(pixels).save(f"{name}.png")
        records.append(Record(tmp_path / f"{name}.png", label, "a", name, split, "T2", "axial", boxes))
    Path("scans.csv").write_text(to_csv(records))
    done = trainer("boxes", bright, "--data", "scans.csv", "--out", "boxed.csv")
    assert done.out == "wrote boxed.csv: boxes for 2 of 4 tumours that had none\n"
    boxed = {record.group: record for record in read_records(Path("boxed.csv"))}
    for record in records:
        assert dataclasses.replace(boxed[record.group], boxes=record.boxes) == record
    # A place of the tensor is 16 of its pixels, and 19 of the picture's.
    for name, corners in (("found", (250, 100, 300, 160)), ("of no split", (180, 150, 230, 200))):
        (box,) = boxed[name].boxes
        low, high = ((box.x + side * box.width / 2, box.y + side * box.height / 2) for side in (-1, 1))
        assert np.multiply((*low, *high), (400, 300, 400, 300)) == pytest.approx(corners, abs=12)
    assert boxed["known"].boxes == known
    assert [boxed[name].boxes for name in ("large", "unseen", "held", "healthy")] == [()] * 4


def test_it_refuses_what_it_cannot_use(bright: Path, tmp_path: Path, trainer: Command) -> None:
    Image.fromarray(head()).save(tmp_path / "a.png")
    manifest, out = tmp_path / "scans.csv", tmp_path / "boxed.csv"
    manifest.write_text(to_csv([Record(tmp_path / "a.png", "glioma", split="val")]))
    done = trainer("boxes", bright, "--data", manifest, "--out", out)
    done.refuses(f"{manifest}: expected tumours without boxes, of the split train or of none")
    manifest.write_text(to_csv([Record(tmp_path / "a.png", "glioma")]))
    for model in (tmp_path / "a.png", tmp_path):
        done = trainer("boxes", model, "--data", manifest, "--out", out)
        done.refuses(": expected a trained model of Falx with a map (head = 'map'): ")
    assert not out.exists()


def test_a_region_is_what_lies_beside_the_strongest_place() -> None:
    places = np.zeros((14, 14), np.float32)
    places[3, 4], places[4, 5], places[9, 9] = 0.9, 0.6, 0.8
    expected = [([], [4, 3, 5, 4]), ([(4, 4)], [4, 3, 6, 5]), ([(row, 4) for row in range(5, 11)], None)]
    for more, corners in expected:
        for place in more:
            places[place] = 0.5
        found = region(places)
        assert (None if found is None else found.tolist()) == corners
    assert region(np.full((14, 14), 0.69, np.float32)) is None
