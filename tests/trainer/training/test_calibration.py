from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax

from falx.decision import DEFAULT_THRESHOLDS
from falx.words import TUMOR_LABELS
from falx_runs.run_folder import Calibration
from falx_trainer.training.calibration import (
    choose_least_familiarity,
    choose_thresholds,
    fit,
    probabilities,
)

Floats = npt.NDArray[np.float64]


def simulated(fitted: Calibration, untyped: float = 0.0, count: int = 20_000) -> tuple[Floats, Floats]:
    """Logits whose probabilities are honest after this calibration, and the targets drawn from them."""
    rng = np.random.default_rng(11)
    kinds = rng.normal(0, 2, (count, 3)) * fitted.kind_temperature
    odds = (rng.normal(0, 2, count) - fitted.offset) * fitted.temperature
    logits = np.concatenate([(odds + logsumexp(kinds, axis=1))[:, None], kinds], axis=1)
    cumulative = probabilities(logits, fitted).cumsum(axis=1)
    drawn = (rng.random((count, 1)) > cumulative).sum(axis=1).clip(max=3)
    targets = np.eye(4)[drawn]
    hidden = (rng.random(count) < untyped) & (drawn > 0)
    targets[hidden] = [0, 1, 1, 1]
    return logits, targets


@pytest.mark.parametrize(
    "fitted",
    [Calibration(1.0, 0.0, 1.0), Calibration(0.5, -1.0, 4.0), Calibration(1.7, 0.8, 0.7)],
)
@pytest.mark.parametrize("untyped", [0.0, 0.5])
def test_a_known_calibration_is_found(fitted: Calibration, untyped: float) -> None:
    found = fit(*simulated(fitted, untyped))
    assert found.temperature == pytest.approx(fitted.temperature, rel=0.03)
    assert found.offset == pytest.approx(fitted.offset, abs=0.05)
    assert found.kind_temperature == pytest.approx(fitted.kind_temperature, rel=0.03)


def test_a_calibration_stays_in_its_range() -> None:
    logits, always = np.eye(4) * 3, np.eye(4)
    sure = fit(logits, always)  # always right: as sure as may be
    assert sure.temperature == pytest.approx(0.25, rel=0.01)
    assert sure.kind_temperature == pytest.approx(0.25, rel=0.01)
    assert fit(logits, np.roll(always, 1, axis=0)).kind_temperature == pytest.approx(8, rel=0.01)
    extreme = np.array([[1e4, -1e4, 0, 0], [-1e4, 1e4, 0, 0], [0, 1e4, 0, 0]])
    wrong = fit(extreme, np.array([[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]))
    assert wrong.temperature == pytest.approx(8, rel=0.01)
    assert abs(wrong.offset) <= 4


def test_kinds_of_which_none_is_known_keep_their_logits() -> None:
    logits, targets = simulated(Calibration(1.0, 0.0, 1.0), untyped=1.0)
    assert fit(logits, targets).kind_temperature == 1.0


def test_probabilities_by_hand() -> None:
    logits = np.array([[1.0, 0.0, 2.0, 0.0]])
    odds = 1.0 - math.log(math.exp(0) + math.exp(2) + math.exp(0))
    healthy = 1 / (1 + math.exp(-(odds / 1.5 + 0.3)))
    kinds = softmax([0.0, 2.0 / 4, 0.0])
    expected = [[healthy, *((1 - healthy) * kinds)]]
    np.testing.assert_allclose(probabilities(logits, Calibration(1.5, 0.3, 4.0)), expected, rtol=1e-12)


def test_without_calibration_probabilities_are_the_softmax() -> None:
    logits = np.random.default_rng(2).normal(0, 3, (50, 4)).astype(np.float32)
    expected = softmax(logits.astype(np.float64), axis=1)
    np.testing.assert_allclose(probabilities(logits, Calibration(1.0, 0.0, 1.0)), expected, rtol=1e-12)


def chosen(values: list[float], most_missed: float) -> float:
    """The threshold of no_tumor for tumours of which these are P(no_tumor), beside healthy slices of 0.99."""
    healthy = [0.99] * 5
    first = np.array(values + healthy)
    probabilities = np.stack([first, 1 - first, 0 * first, 0 * first], axis=1)
    tumor = np.array([True] * len(values) + [False] * len(healthy))
    thresholds = choose_thresholds(probabilities, tumor, ~tumor, most_missed=most_missed, most_alarms=0.0)
    assert thresholds.to_dict() | {"no_tumor": 0} == DEFAULT_THRESHOLDS.to_dict() | {"no_tumor": 0}
    return thresholds.no_tumor


@pytest.mark.parametrize(
    ("values", "most_missed", "expected"),
    [
        ([0.1] * 99 + [0.834], 0.0, 0.84),  # none may be missed
        ([0.1] * 99 + [0.834], 0.01, 0.75),  # one of a hundred may
        ([0.1] * 98 + [0.91, 0.834], 0.01, 0.84),
        ([0.1] * 98 + [0.8, 0.8], 0.01, 0.81),  # a tie: both would be missed
        ([0.1] * 97 + [0.9, 0.8, 0.8], 0.02, 0.81),
        ([0.1] * 98 + [0.834], 0.01, 0.84),  # 99 tumours: one would be more than 1 %
        ([0.8, 0.2], 0.01, 0.81),  # few
        ([0.8], 0.01, 0.81),
        ([0.2, 0.1], 0.01, 0.75),  # never below three quarters
        ([0.9], 1.0, 0.75),  # all may be missed
        ([1.0], 0.0, 1.00),  # cannot be helped
        ([0.999], 0.0, 1.00),
    ],
)
def test_threshold_of_no_tumor(values: list[float], most_missed: float, expected: float) -> None:
    assert chosen(values, most_missed) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("hundredth", range(75, 100))
def test_a_tumor_at_a_threshold_is_not_missed(hundredth: int) -> None:
    """0.57 * 100 is 56.99999999999999: rounding must not let that tumour through."""
    assert chosen([hundredth / 100], 0.0) == (hundredth + 1) / 100


@given(
    values=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=300),
    most_missed=st.floats(0, 1),
)
def test_no_more_are_missed_than_allowed_and_no_lower_threshold_would_do(
    values: list[float], most_missed: float
) -> None:
    threshold = chosen(values, most_missed)
    assert threshold >= 0.75
    allowed = math.floor(most_missed * len(values) + 1e-9)
    assert sum(value >= threshold for value in values) <= allowed
    if threshold > 0.75:
        assert sum(value >= round(threshold - 0.01, 2) for value in values) > allowed


def test_without_a_tumor_to_measure_on_the_built_in_threshold_stays() -> None:
    assert chosen([], 0.01) == DEFAULT_THRESHOLDS.no_tumor


def of_tumors(healthy: list[list[float]], most_alarms: float) -> dict[str, float]:
    """The thresholds chosen where these are the probabilities of the healthy slices."""
    probabilities = np.array([*healthy, [0.1, 0.0, 0.9, 0.0]])
    tumor = np.array([False] * len(healthy) + [True])
    chosen = choose_thresholds(probabilities, tumor, ~tumor, most_missed=1.0, most_alarms=most_alarms)
    return {label: chosen[label] for label in TUMOR_LABELS}


BUILT_IN = {label: DEFAULT_THRESHOLDS[label] for label in TUMOR_LABELS}

CLEARED, OPEN = [0.9, 0.1, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("alarm", "most_alarms", "expected"),
    [
        ([0.3, 0.7, 0.0, 0.0], 1.0, BUILT_IN),
        ([0.3, 0.7, 0.0, 0.0], 0.1, BUILT_IN),  # one of ten is allowed
        ([0.3, 0.7, 0.0, 0.0], 0.09, dict.fromkeys(TUMOR_LABELS, 0.71)),
        ([0.35, 0.0, 0.65, 0.0], 0.0, dict.fromkeys(TUMOR_LABELS, 0.66)),
        ([0.42, 0.58, 0.0, 0.0], 0.0, BUILT_IN),  # below the meningioma's own 0.6
        ([0.42, 0.0, 0.58, 0.0], 0.0, BUILT_IN | {"glioma": 0.59, "pituitary": 0.59}),
        ([0.01, 0.99, 0.0, 0.0], 0.0, dict.fromkeys(TUMOR_LABELS, 0.75)),  # no further
    ],
)
def test_few_healthy_slices_are_decided_to_be_a_tumor(
    alarm: list[float], most_alarms: float, expected: dict[str, float]
) -> None:
    assert of_tumors([alarm, *[CLEARED] * 5, *[OPEN] * 4], most_alarms) == pytest.approx(expected)


def test_without_a_healthy_slice_the_thresholds_of_tumors_stay() -> None:
    assert of_tumors([], 0.0) == BUILT_IN


@pytest.mark.parametrize(
    ("familiarity", "least"),
    [
        (np.full(100, 0.99), 0.95),
        (np.array([0.301] + [0.99] * 198), 0.3),  # none of 199 may go
        (np.array([0.301] + [0.99] * 199), 0.95),  # one of 200
        (np.array([0.001] * 5 + [0.956] + [0.99] * 994), 0.95),  # five of a thousand
        (np.array([0.001] * 5 + [0.456] + [0.99] * 994), 0.45),
        (np.array([0.001] * 6 + [0.99] * 994), 0.0),
        (np.zeros(10), 0.0),
    ],
)
def test_few_heads_are_unfamiliar(familiarity: npt.NDArray[np.float64], least: float) -> None:
    found = choose_least_familiarity(familiarity)
    assert found == pytest.approx(least)
    assert (familiarity < found).sum() <= 0.005 * len(familiarity)
