"""Contenders take turns, and are compared turn by turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from benchmarks import turns
from PIL import Image


def test_contenders_take_turns_and_the_slow_ones_fewer() -> None:
    calls: list[tuple[str, str]] = []

    def clock(name: str) -> Callable[[str], float]:
        def take(turn: str) -> float:
            calls.append((name, turn))
            return float(len(calls))  # each takes a millisecond longer than the last of anyone

        return take

    times = turns.take_turns(
        {name: clock(name) for name in ("quick", "slow")},
        ["a", "b", "c"],
        lambda name, number: name == "quick" or number % 2 == 0,
    )
    assert calls == [("quick", "a"), ("slow", "a"), ("quick", "b"), ("quick", "c"), ("slow", "c")]
    np.testing.assert_array_equal(times["quick"], [1, 3, 4])
    np.testing.assert_array_equal(times["slow"], [2, np.nan, 5])


def test_ratios_are_of_the_same_turn() -> None:
    # The machine is ten times slower in the second half, for everybody: the ratio does not move.
    drift = np.repeat([1.0, 10.0], 50)
    first = drift * 4
    other = drift * np.tile([6.0, 8.0, 10.0, 8.0], 25)
    other[1::2] = np.nan
    found = turns.ratios({"first": first, "other": other}, seed=1)
    assert list(found["first"]) == [1, 1, 1]
    ratio, low, high = found["other"]
    assert ratio in (1.5, 2, 2.5)
    assert 1.5 <= low <= ratio <= high <= 2.5


@pytest.mark.parametrize("side", [128, 512])
def test_the_slices_differ_in_their_noise_alone(side: int, tmp_path: Path) -> None:
    files = turns.slices(tmp_path, 7, 2, side)
    before = [file.read_bytes() for file in files]
    pixels = [np.asarray(Image.open(file)).astype(int) for file in files]
    assert [image.shape for image in pixels] == [(side, side)] * 2
    middle = slice(side * 2 // 5, side * 3 // 5)
    assert 2 < np.abs(pixels[0] - pixels[1])[middle, middle].mean() < 8
    assert not pixels[0][:4, :4].any()
    again = turns.slices(tmp_path, 7, 2, side)
    assert [file.read_bytes() for file in again] == before
