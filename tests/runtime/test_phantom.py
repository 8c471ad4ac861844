from __future__ import annotations

import hashlib

import numpy as np
import pytest

from falx import phantom

SHA256 = {
    "clear": "87c305bf6c48e5978c3f24101e30b4e0952436bf8c7e5a0c34a7eaf80a2f5837",
    "lesion": "7c652d3355f48d2b8c6a422d8b73a2f72cc1f4b4d7ae15871900fd10e4927daf",
}


@pytest.mark.parametrize("name", phantom.PHANTOMS)
def test_a_phantom_is_the_same_pixels_everywhere(name: str) -> None:
    pixels = phantom.PHANTOMS[name]()
    assert pixels.shape == (phantom.SIZE, phantom.SIZE)
    assert pixels.dtype == np.uint8
    # Stored answers in cards belong to these very pixels.
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == SHA256[name]


def test_the_lesion_is_all_that_differs() -> None:
    rows, columns = np.nonzero(phantom.clear() != phantom.lesion())
    assert (rows.min(), rows.max()) >= (60, 140)
    assert columns.min() > 110
    assert int(phantom.lesion()[104, 145]) > int(phantom.clear()[104, 145]) + 50
