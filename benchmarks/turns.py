"""Lets contenders take turns on drawn slices, so that what else the machine does falls on each alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from falx import phantom

SIDE: Final = 512
"""Height and width of the slices, in pixels: what most of the public collections have."""

NOISE: Final = 4.0
"""Standard deviation of the noise drawn over a head, in grey levels, so that no two slices are equal."""

QUALITY: Final = 90
RESAMPLES: Final = 2000
INTERVAL: Final = (2.5, 97.5)

Pixels = npt.NDArray[np.uint8]
Times = npt.NDArray[np.float64]
"""`(turns,)` milliseconds, NaN for turns that were not taken."""

Turn = TypeVar("Turn")


class Ratio(NamedTuple):
    """A contender's time over the first one's: the median over its turns, and the 95 % bootstrap interval."""

    ratio: float
    low: float
    high: float


def noisy(head: Pixels, side: int, random: np.random.Generator, noise: float = NOISE) -> Pixels:
    """Returns a drawn head with noise, black around, `(side, side)`."""
    drawn = Image.fromarray(head).resize((side, side), Image.Resampling.BILINEAR)
    pixels = np.asarray(drawn, np.float64)
    values = np.where(pixels > 0, pixels + random.normal(0, noise, pixels.shape), 0)
    return values.clip(0, 255).astype(np.uint8)


def slices(folder: Path, seed: int, count: int, side: int = SIDE) -> list[Path]:
    """Writes drawn slices as JPEGs that differ in their noise; returns their paths."""
    random = np.random.default_rng(seed)
    paths = [folder / f"{number:04}.jpg" for number in range(count)]
    for path in paths:
        Image.fromarray(noisy(phantom.lesion(), side, random)).save(path, quality=QUALITY)
    return paths


def take_turns(
    contenders: Mapping[str, Callable[[Turn], float]],
    turns: Sequence[Turn],
    takes: Callable[[str, int], bool] = lambda _name, _number: True,
) -> dict[str, Times]:
    """Returns the times of contenders in turn; `takes` says whether one takes the turn of a number."""
    times = {name: np.full(len(turns), np.nan) for name in contenders}
    for number, turn in enumerate(turns):
        for name, run in contenders.items():
            if takes(name, number):
                times[name][number] = run(turn)
    return times


def ratios(times: Mapping[str, Times], seed: int) -> dict[str, Ratio]:
    """Returns how long each takes, as a ratio to the first in the same turn. The first takes every turn."""
    first = next(iter(times.values()))
    found = {}
    for name, own in times.items():
        taken = np.isfinite(own)
        pairs = own[taken] / first[taken]
        picks = np.random.default_rng(seed).integers(0, pairs.size, (RESAMPLES, pairs.size))
        low, high = np.percentile(np.median(pairs[picks], axis=1), INTERVAL)
        found[name] = Ratio(*(round(float(x), 3) for x in (np.median(pairs), low, high)))
    return found
