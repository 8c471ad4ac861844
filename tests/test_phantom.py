from __future__ import annotations

import hashlib

import numpy as np
import pytest

from falx import phantom

SHA256 = {
    "clear": "5b42e97d4e68ef402c418119baa02bd8ea9b3aca1aa028cbcad8a12fde0fd651",
    "lesion": "1a2f2534f97139cb013d35d0413e97fe453f85d2d161560be38346b5b456c46a",
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
    # The rim, and the centre.
    assert int(phantom.lesion()[102, 179]) > int(phantom.clear()[102, 179]) + 50
    assert int(phantom.lesion()[106, 155]) < int(phantom.clear()[106, 155]) - 50
