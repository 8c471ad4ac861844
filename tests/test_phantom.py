from __future__ import annotations

import hashlib

import numpy as np
import pytest

from falx import phantom

SHA256 = {
    "clear": "eb58450fabb11cedf2c56206c7b201a9473c90176c9dc8440e149cba59fa0e02",
    "lesion": "d49ec8cbc9cf37324c4ecb03c848dc1f896a64c0b26a27528b4654c8fec3edb9",
}


@pytest.mark.parametrize("name", phantom.PHANTOMS)
def test_a_phantom_is_the_same_pixels_everywhere(name: str) -> None:
    pixels = phantom.PHANTOMS[name]()
    assert pixels.shape == (phantom.SIZE, phantom.SIZE)
    assert pixels.dtype == np.uint8
    # Stored answers in cards belong to these very pixels.
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == SHA256[name]


def test_a_phantom_that_was_changed_is_drawn_as_before() -> None:
    before = phantom.clear()
    phantom.clear()[:] = 0
    assert np.array_equal(phantom.clear(), before)


def test_the_lesion_is_all_that_differs() -> None:
    rows, columns = np.nonzero(phantom.clear() != phantom.lesion())
    assert (rows.min(), rows.max()) >= (60, 140)
    assert columns.min() > 110
    assert int(phantom.lesion()[104, 145]) > int(phantom.clear()[104, 145]) + 50
