"""Intervals of 95 % over what is independent: groups, not slices, are drawn again and again (Efron 1979).

Slices of one patient are alike, so a resample takes a group with all its slices or not at all. All resamples
are one matrix, how often each group is in each; what is added up over slices is added up over groups first,
and a measure of all resamples is then a product of matrices.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from falx_runs.arrays import Floats

RESAMPLES: Final = 2000
SEED: Final = 7

BLOCK: Final = 100
"""Resamples worked on at a time where every slice counts for itself: they fit in the processor's cache."""

PERCENTILES: Final = (0.025, 0.975)

Mask = npt.NDArray[np.bool_]

Interval = list[float]
"""`[value, low, high, slices]`, the first three unrounded, as it stands in `metrics.json`."""


@dataclass(frozen=True)
class Ranking:
    """Area under the ROC curve and average precision of each resample; NaN where it has one kind."""

    area: Floats
    precision: Floats


class Groups:
    """The groups that slices belong to."""

    def __init__(self, names: npt.NDArray[np.str_] | Sequence[str]) -> None:
        """Numbers the groups by the name, `(N,)`, of each slice's."""
        found, self.member = np.unique(np.asarray(names, str), return_inverse=True)
        self.count = len(found)

    def sums(self, values: npt.NDArray[np.generic]) -> Floats:
        """Returns the sums `(RESAMPLES, K)` of values `(N, K)` over the slices in each resample."""
        of_groups = np.zeros((self.count, values.shape[1]))
        np.add.at(of_groups, self.member, values)
        return np.asarray(_drawn(self.count) @ of_groups)

    def ranking(self, scores: Floats, positive: Mask, chosen: Mask) -> Ranking:
        """Measures how well scores `(N,)` rank the positives among the chosen slices, in each resample."""
        area, precision = np.full(RESAMPLES, np.nan), np.full(RESAMPLES, np.nan)
        for rows, _, hits, others in self._levels(scores, positive, chosen):
            above, below = hits.cumsum(axis=1), others.cumsum(axis=1)
            all_hits, all_others = above[:, -1], below[:, -1]
            with np.errstate(divide="ignore", invalid="ignore"):
                # Of pairs of a positive and another: the share in order; of equals, one half.
                ordered = (hits * (all_others[:, np.newaxis] - below + others / 2)).sum(axis=1)
                area[rows] = ordered / (all_hits * all_others)
                precise = np.where(hits > 0, hits * above / (above + below), 0.0).sum(axis=1) / all_hits
                precision[rows] = np.where(all_others > 0, precise, np.nan)
        return Ranking(area, precision)

    def youden(self, scores: Floats, positive: Mask, chosen: Mask) -> Floats:
        """Returns the highest score of the greatest sensitivity + specificity, in each resample."""
        best = np.full(RESAMPLES, np.nan)
        for rows, levels, hits, others in self._levels(scores, positive, chosen):
            above, below = hits.cumsum(axis=1), others.cumsum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                gain = above / above[:, -1:] - below / below[:, -1:]
            known = np.isfinite(gain[:, -1])
            best[rows] = np.where(known, levels[np.nan_to_num(gain).argmax(axis=1)], np.nan)
        return best

    def highest_allowed(self, scores: Floats, chosen: Mask, share: float) -> Floats:
        """Returns the score `(RESAMPLES,)` that no more than a share of the chosen slices, at least one, is
        above.

        A threshold just above it has at most that share at or above it. It is 0 where all may be above, and
        NaN for a resample without such slices.
        """
        highest = np.full(RESAMPLES, np.nan)
        for rows, levels, hits, _ in self._levels(scores, np.ones(len(scores), bool), chosen):
            above = hits.cumsum(axis=1)
            over = above > np.floor(share * above[:, -1:] + 1e-9)
            reached = np.where(over.any(axis=1), levels[over.argmax(axis=1)], 0.0)
            highest[rows] = np.where(above[:, -1] > 0, reached, np.nan)
        return highest

    def interval(self, value: float, samples: Floats, of: Mask) -> Interval:
        """Returns the value over all slices with its interval, from its samples `(RESAMPLES,)` (NaN where a
        resample has none) and the slices that it is measured on.

        Where a share is at its end, 0 or 1, in every resample, resampling cannot tell how far that carries;
        the interval is then the rule of three over the groups (Hanley & Lippman-Hand 1983, doi
        10.1001/jama.1983.03330370053031). One group alone tells nothing of others: 0 to 1.
        """
        groups = len(np.unique(self.member[of]))
        known = samples[np.isfinite(samples)]
        low, high = 0.0, 1.0
        if groups > 1 and value in (0, 1) and bool((known == value).all()):
            reach = min(1.0, 3 / groups)
            low, high = (1 - reach, 1.0) if value else (0.0, reach)
        elif groups > 1:
            low, high = np.quantile(known, PERCENTILES)
        return [float(value), float(low), float(high), int(of.sum())]

    def shares(self, asked: Sequence[tuple[Mask, Mask]]) -> list[Interval | None]:
        """Returns a share's interval, or None, for each pair of which slices count and which are hit."""
        of = np.stack([counted for counted, _ in asked], axis=1)
        hit = np.stack([counted & hits for counted, hits in asked], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            samples = self.sums(hit) / self.sums(of)
        return [
            self.interval(hit[:, index].sum() / of[:, index].sum(), samples[:, index], of[:, index])
            if of[:, index].any()
            else None
            for index in range(len(asked))
        ]

    def _levels(
        self, scores: Floats, positive: Mask, chosen: Mask
    ) -> Iterator[tuple[slice, Floats, Floats, Floats]]:
        """Returns how many positives and others each score has in a block of resamples, highest first."""
        order = np.flatnonzero(chosen)[np.argsort(-scores[chosen], kind="stable")]
        ranked = scores[order]
        starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        member, positives = self.member[order], positive[order]
        drawn = _drawn(self.count)
        for first in range(0, RESAMPLES, BLOCK):
            rows = slice(first, first + BLOCK)
            weights = drawn[rows, member]
            hits = np.add.reduceat(weights * positives, starts, axis=1)
            others = np.add.reduceat(weights * ~positives, starts, axis=1)
            yield rows, ranked[starts], hits, others


@functools.lru_cache(maxsize=4)
def _drawn(groups: int) -> npt.NDArray[np.float64]:
    """Returns how often each group is in each resample, `(RESAMPLES, groups)`."""
    rng = np.random.default_rng(SEED)
    counts = np.empty((RESAMPLES, groups))
    for row in counts:
        row[:] = np.bincount(rng.integers(groups, size=groups), minlength=groups)
    counts.flags.writeable = False
    return counts
