from __future__ import annotations

import numpy as np
import pytest
from tests.trainer.conftest import DrawHead, Pixels

from falx.slices.preprocessing import prepare
from falx_trainer.training.counterfactual import HEAD_LEVEL, RIM, paste, tissue_box

NO_BOXES = np.zeros((0, 4), np.float32)


@pytest.fixture(scope="module")
def receiver(head: DrawHead) -> Pixels:
    return prepare(head(1)[0])[0]


@pytest.fixture(scope="module")
def donor(head: DrawHead) -> Pixels:
    """A head with a white disc in (90, 80) .. (130, 120)."""
    pixels = prepare(head(2)[0])[0].copy()
    y, x = np.mgrid[:224, :224] + 0.5
    pixels[np.hypot(x - 110, y - 100) < 20] = 255
    return pixels


LESION = np.array([90, 80, 130, 120], np.float32)


def test_a_pasted_lesion_is_in_the_head_and_in_its_box(receiver: Pixels, donor: Pixels) -> None:
    made = 0
    for seed in range(60):
        result = paste(receiver, donor, LESION, np.random.default_rng(seed))
        if result is None:
            continue
        made += 1
        pixels, boxes = result
        assert (pixels.shape, boxes.shape) == ((224, 224), (1, 4))
        assert (pixels.dtype, boxes.dtype) == (np.dtype(np.uint8), np.dtype(np.float32))
        left, top, right, bottom = boxes[0]
        assert 0 <= left < right <= 224
        assert 0 <= top < bottom <= 224
        assert 0.4 <= (right - left) / 40 <= 1.6
        # What changed is the ellipse whose soft rim the box halves.
        rim = 1 - RIM / 2
        y, x = np.mgrid[:224, :224] + 0.5
        across, down = (x - (left + right) / 2) / (right - left), (y - (top + bottom) / 2) / (bottom - top)
        outside = np.hypot(across, down) > 0.5 / rim + 0.02
        np.testing.assert_array_equal(pixels[outside], receiver[outside])
        changed = pixels.astype(int) - receiver
        assert changed[~outside].max() > 30
        inside = (np.abs(across) <= 0.5) & (np.abs(down) <= 0.5)
        assert (changed[~inside] > 60).sum() <= 0.05 * (changed > 60).sum()
        assert (receiver[~outside] > HEAD_LEVEL).mean() > 0.7
    assert made >= 30


def test_pasting_depends_on_the_generator_only(receiver: Pixels, donor: Pixels) -> None:
    before = receiver.copy(), donor.copy()
    first, second = (paste(receiver, donor, LESION, np.random.default_rng(3)) for _ in range(2))
    assert first is not None
    np.testing.assert_equal(second, first)
    np.testing.assert_equal((receiver, donor), before)


def test_pieces_that_cannot_fit_are_refused(receiver: Pixels, donor: Pixels) -> None:
    rng = np.random.default_rng(1)
    tiny = np.array([100, 100, 105, 105], np.float32)
    huge = np.array([5, 5, 219, 219], np.float32)
    air = np.array([0, 0, 20, 20], np.float32)
    assert all(paste(receiver, donor, box, rng) is None for box in (tiny, huge, air))
    assert paste(np.zeros((224, 224), np.uint8), donor, LESION, rng) is None


@pytest.mark.parametrize(("side", "least"), [(16, 100), (40, 100), (60, 80), (90, 20)])
def test_control_tissue_never_overlaps_a_tumor(side: int, least: int, receiver: Pixels) -> None:
    """Neither its box nor the rim around it that is pasted too."""
    tumors = np.array([[60, 60, 85, 90], [140, 120, 160, 150]], np.float32)
    like = np.array([0, 0, side, side], np.float32)
    found = 0
    for seed in range(120):
        box = tissue_box(receiver, tumors, like, np.random.default_rng(seed))
        if box is None:
            continue
        found += 1
        assert (box[2:] - box[:2]).tolist() == [side, side]
        half, centre = (box[2:] - box[:2]) / 2 * (1 + RIM), (box[:2] + box[2:]) / 2
        low, high = centre - half, centre + half
        apart = (tumors[:, :2] >= high).any(axis=1) | (tumors[:, 2:] <= low).any(axis=1)
        assert apart.all()
        left, top, right, bottom = box.astype(int)
        assert (receiver[top:bottom, left:right] > HEAD_LEVEL).mean() > 0.7
    assert found >= least


def test_without_tumors_there_is_tissue_nearly_always(receiver: Pixels) -> None:
    like = np.array([0, 0, 40, 30], np.float32)
    boxes = [tissue_box(receiver, NO_BOXES, like, np.random.default_rng(seed)) for seed in range(20)]
    assert sum(box is not None for box in boxes) >= 18
    assert tissue_box(np.zeros((224, 224), np.uint8), NO_BOXES, like, np.random.default_rng(0)) is None
