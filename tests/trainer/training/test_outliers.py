from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.trainer.conftest import DrawHead, Pixels

from falx.slices.preprocessing import prepare
from falx_trainer.training import outliers
from falx_trainer.training.outliers import KINDS, draw_outlier


@pytest.fixture(scope="module")
def slice_(head: DrawHead) -> Pixels:
    return prepare(head(3)[0])[0]


@pytest.mark.parametrize("kind", list(dict.fromkeys(KINDS)))
def test_every_kind_draws_other_pictures_of_one_size(
    kind: Callable[[Pixels, np.random.Generator], Pixels], slice_: Pixels
) -> None:
    before = slice_.copy()
    pictures = [kind(slice_, np.random.default_rng(seed)) for seed in range(12)]
    for seed, picture in enumerate(pictures):
        assert picture.shape == (224, 224)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(kind(slice_, np.random.default_rng(seed)), picture)
    assert len({picture.tobytes() for picture in pictures}) >= 11
    # Something is to be seen on them.
    assert np.median([int(np.ptp(picture)) for picture in pictures]) > 60
    np.testing.assert_array_equal(slice_, before)


def test_an_outlier_is_prepared_and_no_copy_of_the_slice(slice_: Pixels) -> None:
    pictures = [draw_outlier(slice_, np.random.default_rng(seed)) for seed in range(150)]
    for picture in pictures:
        assert picture.shape == (224, 224)
        assert picture.dtype == np.uint8
        if picture.std() > 0:
            assert abs(np.corrcoef(picture.ravel(), slice_.ravel())[0, 1]) < 0.85
    # Some are cut to an ellipse on black: a dark surround is no mark of a head.
    corners = [picture[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0 for picture in pictures]
    assert 0.3 < np.mean(corners) < 0.9


def test_noise_has_the_spectrum_it_was_given(slice_: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    class Rng:
        """Real chance, and a power of 1."""

        def __init__(self) -> None:
            self.standard_normal = np.random.default_rng(1).standard_normal

        def uniform(self, *_: float) -> float:
            return 1.0

    picture = outliers._noise(slice_, Rng()).astype(float)  # type: ignore[arg-type]
    amplitude = np.abs(np.fft.rfft2(picture - picture.mean()))
    frequency = np.hypot(np.fft.rfftfreq(224)[None, :], np.fft.fftfreq(224)[:, None])
    near, far = ((amplitude[(frequency > f) & (frequency < 1.2 * f)]).mean() for f in (0.03, 0.24))
    assert near / far == pytest.approx(8, rel=0.15)
