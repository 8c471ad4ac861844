from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trainer.conftest import DrawHead, Pixels
from tests.trainer.still import AUGMENTATION

from falx.slices.preprocessing import SIZE, prepare
from falx_trainer.training.augmentation import augment
from falx_trainer.training.recipe import PRESETS, Augmentation

Boxes = npt.NDArray[np.float32]
NO_BOXES = np.zeros((0, 4), np.float32)
RAMP = np.tile(np.arange(SIZE, dtype=np.uint8), (SIZE, 1))


def varied(**changes: float) -> Augmentation:
    """Settings by which nothing varies but what is asked for."""
    return Augmentation(**(AUGMENTATION | changes))


def augmented(
    pixels: Pixels, boxes: Boxes = NO_BOXES, seed: int = 1, /, **changes: float
) -> tuple[Pixels, Boxes]:
    return augment(pixels, boxes, varied(**changes), np.random.default_rng(seed))


def noise_image(seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)


def disc(left: float, top: float, right: float, bottom: float) -> tuple[Pixels, Boxes]:
    """A white ellipse on black, and its box."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    across, down = (x - (left + right) / 2) / (right - left), (y - (top + bottom) / 2) / (bottom - top)
    picture = np.where(np.hypot(across, down) < 0.5, 255, 0).astype(np.uint8)
    return picture, np.array([[left, top, right, bottom]], np.float32)


def test_nothing_varied_is_the_same_image_and_mirroring_is_exact() -> None:
    pixels, boxes = noise_image(), np.array([[10, 20, 50, 70.5]], np.float32)
    result, moved = augmented(pixels, boxes)
    np.testing.assert_array_equal(result, pixels)
    np.testing.assert_allclose(moved, boxes, atol=1e-4)
    result, moved = augmented(pixels, boxes, flip=1)
    np.testing.assert_array_equal(result, pixels[:, ::-1])
    # Edges, not pixel centres: what starts at the left edge ends at the right edge.
    np.testing.assert_allclose(moved, [[SIZE - 50, 20, SIZE - 10, 70.5]], atol=1e-4)


def test_turning_by_right_angles_is_exact() -> None:
    pixels, boxes = noise_image(), np.array([[10, 20, 50, 70]], np.float32)

    class Turn:
        """A generator whose first draw, the angle, is 90 degrees; the others change nothing."""

        def __init__(self) -> None:
            self.draws = iter([90.0])

        def uniform(
            self, low: float, high: float, size: int | None = None
        ) -> float | npt.NDArray[np.float64]:
            middle = next(self.draws, (low + high) / 2)
            return middle if size is None else np.full(size, middle)

        def random(self) -> float:
            return 1.0

    result, moved = augment(pixels, boxes, varied(rotation=90), Turn())  # type: ignore[arg-type]  # a stand-in
    # The cosine of 90 degrees is not quite 0 in floating point, and Pillow rounds down.
    np.testing.assert_allclose(result.astype(int), np.rot90(pixels, -1), atol=1)
    # (x, y) goes to (224 - y, x).
    np.testing.assert_allclose(moved, [[SIZE - 70, 10, SIZE - 20, 50]], atol=1e-3)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_generator_is_the_only_source_of_chance(preset: str, head: DrawHead) -> None:
    pixels, _ = prepare(head(3, lesion=True)[0])
    before = pixels.copy()
    boxes = np.array([[60, 70, 90, 110]], np.float32)
    first, second, other = (
        augment(pixels, boxes, PRESETS[preset].augmentation, np.random.default_rng(seed))
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != other[0]).any()
    np.testing.assert_array_equal(pixels, before)
    assert boxes.tolist() == [[60, 70, 90, 110]]


@pytest.mark.parametrize(
    "changes",
    [
        {"rotation": 60},
        {"zoom_min": 0.6, "zoom_max": 1.5},
        {"shear": 0.3},
        {"shift": 0.12},
        {"flip": 1},
        {"rotation": 30, "zoom_min": 0.75, "zoom_max": 1.2, "shear": 0.15, "shift": 0.08, "flip": 0.5},
    ],
)
@pytest.mark.parametrize("seed", range(6))
def test_boxes_follow_the_pixels(changes: dict[str, float], seed: int) -> None:
    moved_pixels, moved = augmented(*disc(90, 70, 130, 120), seed, **changes)
    white = moved_pixels >= 128
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(moved[0], seen, atol=1.1)


def test_a_box_that_leaves_the_image_ends_at_its_edge() -> None:
    boxes = np.array([[200, 200, 224, 224]], np.float32)
    for seed in range(20):
        _, moved = augmented(noise_image(), boxes, seed, shift=0.9, rotation=40)
        assert 0 <= moved.min() <= moved.max() <= SIZE
        assert (moved[:, 2:] >= moved[:, :2]).all()


ANY = st.builds(
    Augmentation,
    rotation=st.floats(0, 180),
    zoom_min=st.floats(0.1, 1),
    zoom_max=st.floats(1, 10),
    shift=st.floats(0, 1),
    shear=st.floats(0, 1),
    brightness_min=st.floats(0, 1),
    brightness_max=st.floats(1, 10),
    flip=st.floats(0, 1),
    gamma=st.floats(0, 3),
    noise=st.floats(0, 255),
    blur=st.floats(0, 20),
    bias_field=st.floats(0, 3),
    tone_curve=st.floats(0, 1),
    strip=st.floats(0, 1),
)


@given(
    chosen=ANY,
    seed=st.integers(0, 2**32 - 1),
    corners=st.lists(st.lists(st.floats(-30, 254, width=32), min_size=4, max_size=4), max_size=3),
)
def test_any_settings_give_an_image_and_boxes_in_it(
    chosen: Augmentation, seed: int, corners: list[list[float]]
) -> None:
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    pixels[20:200, 30:190] = noise_image(seed % 7)[20:200, 30:190]
    pairs = np.array(corners, np.float32).reshape(-1, 2, 2)
    boxes = np.concatenate([pairs.min(axis=1), pairs.max(axis=1)], 1)
    result, moved = augment(pixels, boxes, chosen, np.random.default_rng(seed))
    assert result.shape == (SIZE, SIZE)
    assert moved.shape == boxes.shape
    assert (result.dtype, moved.dtype) == (np.dtype(np.uint8), np.dtype(np.float32))
    assert ((moved >= 0) & (moved <= SIZE)).all()
    assert (moved[:, 2:] >= moved[:, :2]).all()


def test_brightness_and_gamma_map_levels() -> None:
    for seed in range(10):
        result, _ = augmented(RAMP, NO_BOXES, seed, brightness_min=0.5, brightness_max=1.5)
        factor = float(result[0, 100]) / 100
        assert 0.49 <= factor <= 1.51
        np.testing.assert_allclose(result[0], (RAMP[0] * factor).clip(0, 255), atol=2)
        result, _ = augmented(RAMP, NO_BOXES, seed, gamma=0.5)
        exponent = math.log(result[0, 120] / 255) / math.log(120 / 255)
        assert abs(math.log(exponent)) <= 0.52
        np.testing.assert_allclose(result[0], 255 * (RAMP[0] / 255.0) ** exponent, atol=1.5)


def test_a_tone_curve_leaves_air_black_and_moves_tissue() -> None:
    result, _ = augmented(RAMP, NO_BOXES, 2, tone_curve=1)
    np.testing.assert_allclose(result[0, :20], RAMP[0, :20], atol=1)
    assert np.abs(result[0, 60:].astype(int) - RAMP[0, 60:]).max() > 20


def test_noise_is_rician() -> None:
    # Mean and deviation of a Rician in air are sigma sqrt(pi / 2) and sigma sqrt(2 - pi / 2).
    spread = []
    for seed in range(8):
        result, _ = augmented(np.zeros((SIZE, SIZE), np.uint8), NO_BOXES, seed, noise=40)
        if result.any():
            spread.append(float(result.std() / result.mean()))
            assert result.mean() <= 40 * math.sqrt(math.pi / 2) + 1
    assert len(spread) >= 2
    assert math.sqrt(2 - math.pi / 2) / math.sqrt(math.pi / 2) == pytest.approx(np.median(spread), abs=0.03)


def test_a_bias_field_is_smooth_and_bounded() -> None:
    flat = np.full((SIZE, SIZE), 100, np.uint8)
    changed = 0
    for seed in range(12):
        result, _ = augmented(flat, NO_BOXES, seed, bias_field=0.4)
        assert max(np.abs(np.diff(result.astype(int), axis=axis)).max() for axis in (0, 1)) <= 2
        changed += int((result != 100).any())
    assert 2 <= changed <= 10


def test_stripping_takes_the_rim_and_spares_a_tumour_in_it(head: DrawHead) -> None:
    pixels, _ = prepare(head(4)[0])

    def stripped(boxes: Boxes) -> Pixels:
        return augmented(pixels, boxes, 0, strip=1)[0]

    lost = pixels.astype(bool) & (stripped(NO_BOXES) == 0)
    assert 0.05 < lost.sum() / pixels.astype(bool).sum() < 0.5
    assert not lost[90:134, 90:134].any()
    assert (stripped(np.array([[100, 100, 120, 120]], np.float32)) == 0)[lost].all()
    top = int(np.nonzero(pixels > 25)[0].min())
    rim = np.array([[100, top, 124, top + 14]], np.float32)
    np.testing.assert_array_equal(stripped(rim), pixels)


def test_mixed_spectra_change_the_contrast_and_not_the_anatomy(head: DrawHead) -> None:
    settings = varied(spectrum=1.0)
    mine, theirs = (prepare(head(seed)[0])[0] for seed in (1, 2))
    for seed in range(8):
        mixed, _ = augment(mine, NO_BOXES, settings, np.random.default_rng(seed), other=lambda: theirs)
        assert (mixed != mine).any()
        # The air stays as it is, and the picture is that of the same head.
        np.testing.assert_array_equal(mixed[mine <= 8], mine[mine <= 8])
        assert np.corrcoef(mixed.ravel(), mine.ravel())[0, 1] > 0.8
        # A head mixed with itself is itself, but for rounding.
        same, _ = augment(mine, NO_BOXES, settings, np.random.default_rng(seed), other=lambda: mine)
        assert np.abs(same.astype(int) - mine).max() <= 1
    # Without another slice nothing is mixed.
    np.testing.assert_array_equal(augment(mine, NO_BOXES, settings, np.random.default_rng(1))[0], mine)
