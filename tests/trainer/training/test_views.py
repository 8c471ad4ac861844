from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest

from falx_trainer.training.sampling import Wanted
from falx_trainer.training.views import WORKERS, Batches, View, open_view

PIXELS = np.random.default_rng(1).integers(0, 256, (75, 4, 4)).astype(np.uint8)


def part(some: range) -> tuple[npt.NDArray[np.uint8], Wanted]:
    numbers = np.array(some, np.float32)
    return PIXELS[some.start : some.stop], ({"logits": numbers}, {"logits": numbers / np.float32(2)})


def refused(some: range) -> tuple[npt.NDArray[np.uint8], Wanted]:
    raise AssertionError(f"the view was there; {some} was asked for")


def frozen() -> keras.Model:
    """Two outputs: half of each pixel, and its negative."""
    image = keras.Input((4, 4, 1))
    return keras.Model(image, [image / 2, -image])


def test_a_view_is_made_once_and_read_again(tmp_path: Path) -> None:
    made = open_view(tmp_path / "train-2-0", frozen(), 75, part, "")
    again = open_view(tmp_path / "train-2-0", frozen(), 75, refused, "")
    for view in (made, again):
        half, negative = view.features
        assert half.dtype == negative.dtype == np.float16
        np.testing.assert_array_equal(half[..., 0], PIXELS / 2)
        np.testing.assert_array_equal(negative[..., 0], -PIXELS.astype(int))
        targets, weights = view.wanted
        assert targets["logits"].tolist() == list(range(75))
        np.testing.assert_array_equal(weights["logits"], np.arange(75) / 2)


def test_where_nothing_is_frozen_a_view_holds_the_images(tmp_path: Path) -> None:
    view = open_view(tmp_path / "train-2-0", None, 75, part, "")
    (images,) = view.features
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images[..., 0], PIXELS)


def test_a_view_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    for name in ("val-1-160", "train-1-0-160", "train-1-1-160"):
        open_view(tmp_path / name, None, 75, part, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train-1-1-160", "val-1-160"]


def test_a_view_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    def cut(some: range) -> tuple[npt.NDArray[np.uint8], Wanted]:
        if some.start:
            raise KeyboardInterrupt
        return part(some)

    with pytest.raises(KeyboardInterrupt):
        open_view(tmp_path / "train-2-0", None, 75, cut, "")
    assert not (tmp_path / "train-2-0").exists()
    view = open_view(tmp_path / "train-2-0", None, 75, part, "")
    np.testing.assert_array_equal(view.features[0][..., 0], PIXELS)


@pytest.mark.parametrize("count", [1, 2])
def test_batches_hold_everything_in_the_order_asked_for(count: int) -> None:
    inputs = [np.arange(35 * 3, dtype=np.float16).reshape(35, 3) + part for part in range(count)]
    labels = np.arange(35, dtype=np.float32)
    weights = labels / np.float32(2)
    order = np.random.default_rng(2).permutation(35)
    batches = Batches(View(inputs, ({"logits": labels}, {"logits": weights})), order, 32)
    assert batches.workers == WORKERS > 1  # a single one goes through tf.data's tuner
    found = [batches[step] for step in range(len(batches))]
    assert [len(wanted["logits"]) for _, wanted, _ in found] == [32, 3]
    for index, part in enumerate(inputs):
        got = np.concatenate([given if count == 1 else given[index] for given, _, _ in found])
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, part[order])
    np.testing.assert_array_equal(np.concatenate([wanted["logits"] for _, wanted, _ in found]), order)
    np.testing.assert_array_equal(np.concatenate([shares["logits"] for *_, shares in found]), order / 2)
