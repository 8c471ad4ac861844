"""The drawn heads whose answers a card stores, so that an installation can be proved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from falx import phantom
from falx.model.card import SelfTest
from falx.slices.preprocessing import prepare


def answers(infer: Callable[[npt.NDArray[np.uint8]], Sequence[float]]) -> tuple[SelfTest, ...]:
    """Returns what a model answers for every phantom, to be stored in its card.

    `infer` takes a tensor, `(224, 224)` uint8, to the probabilities of the four labels.
    """
    return tuple(
        SelfTest(name, tuple(float(p) for p in infer(prepare(draw())[0])))
        for name, draw in phantom.PHANTOMS.items()
    )
