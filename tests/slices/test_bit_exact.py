"""The functions written out for speed give what NumPy and Pillow give, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from tests.pictures import Pixels

from falx.slices import bit_exact, rejection
from falx.slices.preprocessing import resized


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(2, 300))),
    st.sampled_from([rejection.BRIGHT_PERCENTILE, rejection.CORNER_PERCENTILE, 0, 50, 99.9]),
)
def test_percentiles(values: Pixels, percent: float) -> None:
    expected = np.percentile(values, percent, axis=-1)
    assert bit_exact.percentile(values, percent).tolist() == expected.tolist()
    assert float(bit_exact.percentile(values[0], percent)) == expected[0]


@given(arrays.arrays(np.int16, st.integers(1, 99), elements=st.integers(0, 1020)))
def test_the_median(values: npt.NDArray[np.int16]) -> None:
    assert bit_exact.median(values) == np.median(values)


@given(
    arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=20)),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_the_nearest_cell(mask: Any, factors: tuple[int, int], more: tuple[int, int]) -> None:
    height, width = (n * factor + one for n, factor, one in zip(mask.shape, factors, more, strict=True))
    expected = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    assert np.array_equal(bit_exact.nearest(mask, (height, width)), np.asarray(expected))


@pytest.mark.parametrize("factor", rejection.EXACT_FACTORS)
def test_a_mean_of_any_sum_is_rounded_alike(factor: int) -> None:
    # A row for every sum that as many pixels can have.
    sums = np.arange(255 * factor + 1)[:, np.newaxis]
    rows = (sums // factor + (np.arange(factor) < sums % factor)).astype(np.uint8)
    for pixels, size in ((rows, (factor, 1)), (rows.T.copy(), (1, factor))):
        image = Image.fromarray(pixels)
        target = (image.width // size[0], image.height // size[1])
        expected = image.resize(target, Image.Resampling.BOX)
        assert np.array_equal(np.asarray(image.reduce(size)), np.asarray(expected))


def test_means_of_eight_are_those_of_pillow() -> None:
    # A row for every sum that eight pixels can have, and white ones to eight times eight rows.
    sums = np.arange(2048).clip(0, 2040)[:, np.newaxis]
    rows = (sums // 8 + (np.arange(8) < sums % 8)).astype(np.uint8)
    noise = np.random.default_rng(5).integers(0, 256, (64, 512), np.uint8)
    for pixels in (rows, np.tile(rows, 3), noise, np.full((512, 512), 255, np.uint8)):
        expected = Image.fromarray(pixels).reduce((8, 1)).reduce((1, 8))
        assert np.array_equal(bit_exact.means_of_eight(pixels), np.asarray(expected))


@given(
    st.sampled_from([(64, 64), (128, 64), (104, 128), (256, 192), (250, 256), (512, 416), (100, 77)]),
    st.integers(0, 2**32 - 1),
)
def test_the_coarse_grid_is_that_of_one_resize(shape: tuple[int, int], seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    height, width = shape
    cells = rejection._coarse(pixels)
    expected = resized(pixels, (cells.shape[1], cells.shape[0]), Image.Resampling.BOX, (0, 0, width, height))
    assert np.array_equal(cells, expected)
