from __future__ import annotations

import pytest

from falx.errors import UnreadableImage
from falx.reading.damage import no_panics


def raises(error: BaseException) -> None:
    raise error


def test_a_panic_is_a_damaged_image_and_anything_else_is_itself() -> None:
    # As PyO3 makes it: https://pyo3.rs
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    with pytest.raises(UnreadableImage, match="the image is damaged, its decoder gave up: index 8 of 8"):
        no_panics(raises)(panic("index 8 of 8"))
    for error in (KeyboardInterrupt(), SystemExit(), ValueError("mine")):
        with pytest.raises(type(error)):
            no_panics(raises)(error)
