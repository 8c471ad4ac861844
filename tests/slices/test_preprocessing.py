from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from tests.pictures import Pixels

from falx import phantom
from falx.slices import bit_exact, preprocessing
from falx.slices.preprocessing import (
    FOREGROUND_FRACTION,
    LINE_FRACTION,
    MINIMUM_HEAD_FRACTION,
    SIZE,
    Frame,
    find_head,
    prepare,
    resized,
    stretch,
)

GOLDEN = {
    ("falx-head-1", "clear"): "664bcb21bc6e1f1b05eb444593dfc407aaa8fe20136523ce20acdc9904db3d82",
    ("falx-head-1", "lesion"): "cea06b71743f3f7f8b139064aa64ca0e7cdf06ba9158b5d2ea813df44c1cc2bc",
}
"""SHA-256 of the tensor of each phantom: the same with Pillow 10.3, 11.0, 12.0 and 13.0."""

images = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=60))


def blank(height: int, width: int, value: int = 0) -> Pixels:
    return np.full((height, width), value, np.uint8)


def rectangle(shape: tuple[int, int], frame: Frame) -> Pixels:
    """Bright noise in a rectangle, black around it."""
    pixels = blank(*shape)
    inside = np.random.default_rng(3).integers(60, 256, (frame.height, frame.width), np.uint8)
    pixels[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = inside
    return pixels


def distance(one: Pixels, other: Pixels) -> int:
    """The largest difference of a pixel, in grey levels."""
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("name", phantom.PHANTOMS)
def test_any_change_to_a_pixel_changes_the_name(name: str) -> None:
    tensor, _ = prepare(phantom.PHANTOMS[name]())
    digest = hashlib.sha256(tensor.tobytes()).hexdigest()
    assert GOLDEN.get((preprocessing.NAME, name)) == digest, (
        f"the tensor of the phantom {name} is not that of {preprocessing.NAME} (Pillow {PIL.__version__}). "
        "Models were trained on those pixels: any change to a pixel changes the name. Undo the change, or "
        "give preprocessing.NAME and falx.model.card.PREPROCESSING a new name and add its sums here"
    )


class TestFindHead:
    @pytest.mark.parametrize(
        "frame", [Frame(20, 30, 100, 80), Frame(0, 0, 100, 80), Frame(100, 60, 100, 90), Frame(7, 50, 150, 9)]
    )
    def test_a_drawn_rectangle(self, frame: Frame) -> None:
        assert find_head(rectangle((150, 200), frame)) == frame

    @pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (90, 120)])
    @pytest.mark.parametrize("value", [0, 1, 100, 255])
    def test_one_brightness_keeps_the_whole_slice(self, shape: tuple[int, int], value: int) -> None:
        assert find_head(blank(*shape, value)) == Frame(0, 0, shape[1], shape[0])

    def test_no_dark_background_keeps_the_whole_slice(self) -> None:
        pixels = np.random.default_rng(3).integers(60, 256, (90, 120), np.uint8)
        assert find_head(pixels) == Frame(0, 0, 120, 90)

    def test_a_pixel_of_a_tenth_of_the_maximum_is_background(self) -> None:
        pixels = blank(100, 100, 20)
        pixels[20:80, 30:90] = 200
        assert find_head(pixels) == Frame(30, 20, 60, 60)
        pixels[pixels == 20] = 21
        assert find_head(pixels) == Frame(0, 0, 100, 100)

    def test_a_line_needs_a_25th_of_its_pixels(self) -> None:
        pixels = blank(100, 100)
        pixels[20:80, 30:90] = 200
        pixels[5, 40:43] = 200
        assert find_head(pixels).top == 20
        pixels[5, 43] = 200
        assert find_head(pixels).top == 5

    @pytest.mark.parametrize(("side", "believed"), [(49, False), (50, True)])
    def test_a_tiny_head_is_not_believed(self, side: int, believed: bool) -> None:
        tiny = Frame(60, 20, side, 30)
        assert find_head(rectangle((120, 200), tiny)) == (tiny if believed else Frame(0, 0, 200, 120))
        assert (side >= MINIMUM_HEAD_FRACTION * 200) is believed

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_its_fractions_are_exact_in_float32_too(self, dtype: Any) -> None:
        # What the comments in `find_head` promise to whoever puts it into a graph.
        levels = np.floor(np.arange(256, dtype=dtype) * dtype(FOREGROUND_FRACTION))
        assert np.array_equal(levels, np.arange(256) // 10)
        sides = np.arange(1, 8193)
        assert np.array_equal(np.ceil(sides.astype(dtype) * dtype(LINE_FRACTION)), -(-sides // 25))

    @given(
        st.sampled_from([(1, 8), (3, 7), (40, 48), (300, 41), (520, 64), (2, 2039), (3, 2040), (3, 2056)]),
        st.integers(0, 2**32 - 1),
        st.sampled_from([0.02, 0.05, 0.3, 0.9]),
    )
    def test_it_counts_as_plain_sums_do(self, shape: tuple[int, int], seed: int, share: float) -> None:
        # It counts in bytes and words, which overflow where the slice is longer than they hold.
        pixels = np.where(np.random.default_rng(seed).random(shape) < share, 200, 10).astype(np.uint8)
        mask = pixels > np.floor(int(pixels.max()) * FOREGROUND_FRACTION)
        for counted in (mask, mask[:, ::-1], np.ones_like(mask)):
            assert np.array_equal(bit_exact.row_counts(counted), counted.sum(axis=1))
            assert np.array_equal(bit_exact.column_counts(counted), counted.sum(axis=0))


class TestFrame:
    @pytest.mark.parametrize(
        ("width", "height", "scale", "content"),
        [
            (224, 224, 1.0, (0, 0, 224, 224)),
            (448, 224, 0.5, (0, 56, 224, 112)),
            (56, 112, 2.0, (56, 0, 112, 224)),
            (1, 1, 224.0, (0, 0, 224, 224)),
            (50, 1, 4.48, (0, 110, 224, 4)),
            (1, 5000, 0.0448, (111, 0, 1, 224)),
        ],
    )
    def test_the_aspect_is_kept_and_the_rest_padded(
        self, width: int, height: int, scale: float, content: tuple[int, int, int, int]
    ) -> None:
        frame = Frame(3, 4, width, height)
        assert frame.scale == pytest.approx(scale)
        assert frame.content == content

    @given(st.integers(1, 5000), st.integers(1, 5000))
    def test_the_content_lies_centred_in_the_tensor(self, width: int, height: int) -> None:
        left, top, across, down = Frame(0, 0, width, height).content
        assert max(across, down) == SIZE
        assert 0 <= SIZE - across - 2 * left <= 1
        assert 0 <= SIZE - down - 2 * top <= 1
        assert min(across, down) >= 1


def test_rows_are_resampled_before_columns_by_every_pillow() -> None:
    # Pillow 13 by itself would take the columns first here, and give a 2 in the place of the 3.
    pixels = np.array([[2, 2], [3, 2], [2, 2], [2, 3], [1, 3], [2, 0]], np.uint8)
    out = resized(pixels, (3, 2), Image.Resampling.BILINEAR, (0, 0, 2, 6))
    assert out.tolist() == [[2, 3, 2], [2, 2, 2]]


@given(images, st.data(), st.sampled_from([Image.Resampling.BILINEAR, Image.Resampling.BOX]))
def test_resized_equals_two_passes_over_the_whole_slice(
    pixels: Pixels, data: st.DataObject, resampling: Image.Resampling
) -> None:
    height, width = pixels.shape
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    size = (data.draw(st.integers(1, 80)), data.draw(st.integers(1, 80)))
    rows = Image.fromarray(pixels).resize((size[0], height), resampling, box=(left, 0, right, height))
    plain = rows.resize(size, resampling, box=(0, top, size[0], bottom))
    assert np.array_equal(resized(pixels, size, resampling, (left, top, right, bottom)), np.asarray(plain))


class TestStretch:
    @given(images)
    def test_it_equals_its_definition(self, content: Pixels) -> None:
        ordered = np.sort(content, axis=None)
        dark, bright = (
            int(ordered[int(np.ceil(q * content.size)) - 1])
            for q in (preprocessing.DARK_QUANTILE, preprocessing.BRIGHT_QUANTILE)
        )
        expected = content
        if bright > dark:
            expected = np.rint(((content.astype(float) - dark) * (255.0 / (bright - dark))).clip(0, 255))
        out = stretch(content)
        assert out.dtype == np.uint8
        assert np.array_equal(out, expected)

    def test_the_quantiles_of_a_ramp_land_on_black_and_white(self) -> None:
        # Of 200 grey levels, one pixel each, the 2nd (0.01) becomes 0 and the 199th (0.995) 255.
        ramp = np.arange(200, dtype=np.uint8)
        assert stretch(ramp)[[0, 1, 2, 100, 197, 198, 199]].tolist() == [0, 0, 1, 128, 254, 255, 255]


class TestPrepare:
    @given(images)
    def test_shape_and_type_hold_for_every_slice(self, pixels: Pixels) -> None:
        before = pixels.copy()
        tensor, frame = prepare(pixels)
        assert tensor.shape == (SIZE, SIZE)
        assert tensor.dtype == np.uint8
        assert np.array_equal(pixels, before)
        height, width = pixels.shape
        assert 0 <= frame.left < frame.left + frame.width <= width
        assert 0 <= frame.top < frame.top + frame.height <= height
        left, top, across, down = frame.content
        padding = tensor.copy()
        padding[top : top + down, left : left + across] = 0
        assert not padding.any()

    @pytest.mark.parametrize(
        ("pixels", "rows", "value"),
        [
            (blank(1, 1, 7), slice(0, 224), 7),
            (blank(1, 50, 90), slice(110, 114), 90),
            (blank(1, 5000, 90), slice(111, 112), 90),
            (blank(100, 200, 130), slice(56, 168), 130),
            (blank(100, 200), slice(0, 224), 0),
        ],
    )
    def test_one_brightness_fills_the_content(self, pixels: Pixels, rows: slice, value: int) -> None:
        expected = blank(SIZE, SIZE)
        expected[rows] = value
        assert np.array_equal(prepare(pixels)[0], expected)

    def test_the_frame_says_where_a_rectangle_went(self) -> None:
        frame = Frame(40, 30, 56, 112)
        pixels = rectangle((200, 160), frame)
        tensor, found = prepare(pixels)
        assert found == frame
        assert not tensor[:, :56].any()
        assert not tensor[:, 168:].any()
        # Scale 2: the middle of the dark spot at (60, 70) of the slice is at 2 * (20, 40) of the content.
        pixels[68:73, 58:63] = 0
        row, column = np.unravel_index(int((tensor.astype(int) - prepare(pixels)[0]).argmax()), (SIZE, SIZE))
        assert abs(int(column) - (56 + 2 * 20.5)) <= 5
        assert abs(int(row) - 2 * 40.5) <= 5

    def test_a_slice_of_the_tensors_size_is_only_stretched(self) -> None:
        pixels = np.random.default_rng(3).integers(60, 200, (SIZE, SIZE), np.uint8)
        assert np.array_equal(prepare(pixels)[0], stretch(pixels))


@pytest.mark.parametrize("name", phantom.PHANTOMS)
class TestPadding:
    """Black around a head changes nothing: collections pad differently."""

    def padded(self, name: str, *sides: int) -> tuple[Any, Any]:
        top, bottom, left, right = sides
        pixels = phantom.PHANTOMS[name]()
        return prepare(pixels), prepare(np.pad(pixels, ((top, bottom), (left, right))))

    @given(st.integers(0, 60), st.integers(0, 60))
    def test_right_and_below_it_is_the_same_tensor(self, name: str, bottom: int, right: int) -> None:
        (tensor, frame), (padded, moved) = self.padded(name, 0, bottom, 0, right)
        assert moved == frame
        assert np.array_equal(padded, tensor)

    @given(st.tuples(*[st.integers(0, 130), st.integers(0, 60)] * 2))
    def test_all_around_it_is_within_two_grey_levels(self, name: str, sides: tuple[int, ...]) -> None:
        # Mostly the same, but the resize adds where the head begins to its coordinates, and rounds.
        (tensor, frame), (padded, moved) = self.padded(name, *sides)
        assert moved == Frame(frame.left + sides[2], frame.top + sides[0], frame.width, frame.height)
        assert distance(padded, tensor) <= 2

    @given(st.tuples(*[st.integers(0, 250)] * 4))
    def test_far_around_the_head_shrinks_by_few_pixels(self, name: str, sides: tuple[int, ...]) -> None:
        # A row counts by its share of bright pixels, so a wide slice loses the outermost rows of a head.
        (_, frame), (_, moved) = self.padded(name, *sides)
        assert 0 <= frame.width - moved.width <= 8
        assert 0 <= frame.height - moved.height <= 8
