"""Resampled measures are those of scikit-learn with each slice as often as its group was drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from tests.trainer.evaluation.resamples import resamples

from falx_trainer.evaluation import bootstrap
from falx_trainer.evaluation.bootstrap import Groups


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    with resamples(12):
        yield


ranked = st.lists(
    # Few levels, so that scores tie; and a slice that does not count now and then.
    st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 5), st.integers(0, 9)),
    min_size=2,
    max_size=40,
)


def arrays(
    rows: list[tuple[int, bool, int, int]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], Groups, npt.NDArray[np.bool_]]:
    score, positive, group, counts = (np.array(column) for column in zip(*rows, strict=True))
    chosen = counts > 0
    chosen[0] = True
    return score / 12, positive, Groups(group.astype(str)), chosen


@given(rows=ranked)
def test_ranking_is_that_of_scikit_learn(rows: list[tuple[int, bool, int, int]]) -> None:
    scores, positive, groups, chosen = arrays(rows)
    found = groups.ranking(scores, positive, chosen)
    best = groups.youden(scores, positive, chosen)
    for index, drawn in enumerate(bootstrap._drawn(groups.count)):
        weights = drawn[groups.member]
        there = chosen & (weights > 0)
        if not positive[there].any() or positive[there].all():
            assert math.isnan(found.area[index])
            assert math.isnan(found.precision[index])
            assert math.isnan(best[index])
            continue
        true, score, weight = positive[there], scores[there], weights[there]
        assert found.area[index] == pytest.approx(roc_auc_score(true, score, sample_weight=weight))
        precision = average_precision_score(true, score, sample_weight=weight)
        assert found.precision[index] == pytest.approx(precision)
        false_rate, true_rate, cuts = roc_curve(true, score, sample_weight=weight, drop_intermediate=False)
        gains = true_rate - false_rate
        # Equal ones may differ in their last bit.
        assert gains[cuts == best[index]] == pytest.approx(gains.max())


@given(rows=ranked, share=st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0]))
def test_no_more_are_above_than_allowed(rows: list[tuple[int, bool, int, int]], share: float) -> None:
    scores, _, groups, chosen = arrays(rows)
    found = groups.highest_allowed(scores, chosen, share)
    for index, drawn in enumerate(bootstrap._drawn(groups.count)):
        weights = drawn[groups.member] * chosen
        if not weights.sum():
            assert math.isnan(found[index])
            continue
        allowed = share * weights.sum() + 1e-9
        assert weights[scores > found[index]].sum() <= allowed
        if found[index] > 0:
            assert weights[scores >= found[index]].sum() > allowed


def test_shares_of_resamples_are_ratios_of_their_sums() -> None:
    groups = Groups(["a", "a", "b", "c"])
    of = np.array([True, True, True, False])
    hit = np.array([True, False, True, True])
    (found,) = groups.shares([(of, hit)])
    counts = bootstrap._drawn(3)
    known = counts[:, 0] * 2 + counts[:, 1] > 0
    shares = (counts[:, 0] + counts[:, 1])[known] / (counts[:, 0] * 2 + counts[:, 1])[known]
    assert found == [2 / 3, *np.quantile(shares, [0.025, 0.975]), 3]
    assert groups.shares([(~of & of, hit)]) == [None]


def test_a_resample_takes_a_group_whole() -> None:
    groups = Groups(["a"] * 3 + ["b"])
    sums = groups.sums(np.ones((4, 1)))[:, 0]
    assert set(sums.tolist()) == {2.0, 4.0, 6.0}  # b twice; each once; a twice


def test_the_same_draws_every_time() -> None:
    bootstrap._drawn.cache_clear()
    first = bootstrap._drawn(5)
    bootstrap._drawn.cache_clear()
    assert (first == bootstrap._drawn(5)).all()
    assert (first.sum(axis=1) == 5).all()
