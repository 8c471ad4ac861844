from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falx import phantom
from falx.decision import DEFAULT_THRESHOLDS, Refusal, Thresholds, after, before, decide
from falx.errors import NotASlice, ThresholdError
from falx.slices.limits import Limits
from falx.slices.reasons import Reason
from falx.slices.slice import Slice
from falx.words import LABELS, TUMOR_LABELS

YOUDEN = Thresholds(no_tumor=0.31, meningioma=0.2, glioma=0.4, pituitary=0.27)
SETS = [DEFAULT_THRESHOLDS, YOUDEN, Thresholds(1.0, 1.0, 1.0, 1.0), Thresholds(1e-9, 1e-9, 1e-9, 1e-9)]
unit = st.floats(0, 1)


def with_value(label: str, value: float, other: float = 0.0) -> list[float]:
    return [value if name == label else other for name in LABELS]


def around(value: float) -> list[float]:
    return [math.nextafter(value, 0), value, min(1.0, math.nextafter(value, 2))]


@pytest.mark.parametrize("thresholds", SETS)
@pytest.mark.parametrize("label", LABELS)
def test_a_label_is_decided_at_its_threshold_and_not_just_below(thresholds: Thresholds, label: str) -> None:
    least = thresholds[label]
    below, at, above = (decide(with_value(label, p), thresholds) for p in around(least))
    assert (below, at, above) == ("ambiguous", label, label)


@pytest.mark.parametrize("thresholds", SETS)
def test_every_combination_around_every_threshold(thresholds: Thresholds) -> None:
    for values in product(*(around(thresholds[label]) for label in LABELS)):
        by_label = dict(zip(LABELS, values, strict=True))
        if by_label["no_tumor"] >= thresholds.no_tumor:
            expected = "no_tumor"
        else:
            best = max(values[1:])
            tumor = LABELS[1 + values[1:].index(best)]
            expected = tumor if best >= thresholds[tumor] else "ambiguous"
        assert decide(values, thresholds) == expected


@pytest.mark.parametrize(
    ("values", "decision"),
    [
        # Glioma leads but fails its own threshold; meningioma would pass its lower one, and is not taken.
        ([0.0, 0.25, 0.39, 0.0], "ambiguous"),
        # No tumour comes first even where a tumour is more probable; of equal tumours the first is meant.
        ([0.31, 0.0, 0.69, 0.0], "no_tumor"),
        ([0.0, 0.5, 0.5, 0.0], "meningioma"),
    ],
)
def test_which_label_is_meant(values: list[float], decision: str) -> None:
    assert decide(values, YOUDEN) == decision


def test_float32_probabilities_are_compared_as_doubles() -> None:
    just_below = float(np.nextafter(np.float32(0.55), np.float32(0)))
    assert decide(np.array([0.0, 0.0, just_below, 0.0], np.float32).tolist()) == "ambiguous"
    assert decide(np.array([0.0, 0.0, 0.55, 0.0], np.float32).tolist()) == "glioma"


@given(st.tuples(unit, unit, unit, unit))
def test_a_decided_label_has_reached_its_threshold(values: tuple[float, ...]) -> None:
    decision = decide(values)
    if decision in LABELS:
        assert values[LABELS.index(decision)] >= DEFAULT_THRESHOLDS[decision]
    else:
        assert decision == "ambiguous"
        assert values[0] < 0.85


@given(unit, st.lists(unit, min_size=3, max_size=3, unique=True), st.permutations(range(3)))
def test_the_order_of_tumours_does_not_matter(none: float, tumors: list[float], order: list[int]) -> None:
    same = Thresholds(0.5, 0.5, 0.5, 0.5)
    expected = decide([none, *tumors], same)
    got = decide([none, *(tumors[i] for i in order)], same)
    if expected in TUMOR_LABELS:
        assert got == TUMOR_LABELS[order.index(TUMOR_LABELS.index(expected))]
    else:
        assert got == expected


@pytest.mark.parametrize(
    "values", [[], [0.5, 0.5], [0.1] * 5, [math.nan, 0, 0, 0], [-0.1, 0, 0, 0], [1.1, 0, 0, 0]]
)
def test_what_are_no_probabilities_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"expected 4 probabilities in 0\.\.1"):
        decide(values)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(
    "value", [0, 0.0, -0.1, 1.0000001, 2, 10**400, math.nan, math.inf, "0.5", None, True]
)
def test_a_threshold_outside_its_range_is_an_error(label: str, value: Any) -> None:
    with pytest.raises(ThresholdError, match=rf"threshold of {label} must be .*in \(0, 1\], got"):
        Thresholds(**{**DEFAULT_THRESHOLDS.to_dict(), label: value})


def test_the_ends_of_the_range_and_the_defaults() -> None:
    assert Thresholds(1, 1, 1, 1)["glioma"] == 1.0
    assert Thresholds(5e-324, 1, 1, 1).no_tumor == 5e-324
    built_in = {"no_tumor": 0.85, "meningioma": 0.60, "glioma": 0.55, "pituitary": 0.55}
    assert DEFAULT_THRESHOLDS.to_dict() == built_in


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"glioma": 0.7}, r"no threshold for no_tumor, meningioma, pituitary; give all"),
        (DEFAULT_THRESHOLDS.to_dict() | {"gliom": 0.7}, "threshold for gliom, which is none of no_tumor"),
        (0.5, "or a mapping of every label, not float"),
    ],
    ids=["missing, never a default", "unknown label", "no mapping"],
)
def test_what_is_no_mapping_of_every_label_is_an_error(mapping: Any, message: str) -> None:
    with pytest.raises(ThresholdError, match=message):
        Thresholds.from_mapping(mapping)


def test_indexing_by_label() -> None:
    assert [YOUDEN[label] for label in LABELS] == [0.31, 0.2, 0.4, 0.27]
    with pytest.raises(KeyError, match="to_dict"):
        YOUDEN["to_dict"]


UNSURE = Limits(least_familiarity=0.5)
KNEE = Reason("other_body_part", "The tags say KNEE.")


@pytest.mark.parametrize(
    ("familiarity", "doubt", "probabilities", "decision", "code", "margin"),
    [
        (None, None, (0.9, 0.05, 0.03, 0.02), "no_tumor", None, 0.05),
        (0.99, None, (0.9, 0.05, 0.03, 0.02), "no_tumor", None, 0.05),
        (0.52, None, (0.0, 0.0, 1.0, 0.0), "glioma", None, 0.02),
        (0.49, None, (0.0, 0.0, 1.0, 0.0), "rejected", "unfamiliar", 0.01),
        # Tags are asked only where the model is not sure, and familiarity is asked before tags.
        (0.97, KNEE, (0.0, 0.0, 1.0, 0.0), "rejected", "other_body_part", 0.47),
        (0.99, KNEE, (0.0, 0.0, 1.0, 0.0), "glioma", None, 0.45),
        (None, KNEE, (0.0, 0.0, 1.0, 0.0), "glioma", None, 0.45),
        (0.10, KNEE, (0.0, 0.0, 1.0, 0.0), "rejected", "unfamiliar", 0.40),
        (None, None, (0.2, 0.3, 0.3, 0.2), "ambiguous", None, 0.3),
    ],
)
def test_the_order_after_the_model(
    familiarity: float | None,
    doubt: Reason | None,
    probabilities: tuple[float, ...],
    decision: str,
    code: str | None,
    margin: float,
) -> None:
    outcome = after(probabilities, familiarity, doubt, UNSURE, DEFAULT_THRESHOLDS)
    assert (outcome.decision, outcome.reason and outcome.reason.code) == (decision, code)
    assert outcome.margin == pytest.approx(margin)


@pytest.mark.parametrize(
    ("familiarity", "no_brain", "code"),
    [
        (0.49, 0.26, "no_brain"),
        (0.0, 1.0, "no_brain"),
        (0.5, 0.5, None),
        # As probable as anything else, or less.
        (0.25, 0.375, "unfamiliar"),
        (0.49, 0.0, "unfamiliar"),
        (0.49, None, "unfamiliar"),
        (None, 1.0, None),
    ],
)
def test_a_head_without_brain_is_told_from_anything_else(
    familiarity: float | None, no_brain: float | None, code: str | None
) -> None:
    tumor = (0.0, 0.0, 1.0, 0.0)
    outcome = after(tumor, familiarity, None, UNSURE, DEFAULT_THRESHOLDS, no_brain=no_brain)
    assert (outcome.decision, outcome.reason and outcome.reason.code) == (
        "rejected" if code else "glioma",
        code,
    )


def test_tags_come_before_pixels() -> None:
    def tagged() -> Slice:
        raise NotASlice("a.dcm: is a CT", Reason("not_mr", "It is a CT."), None)

    assert before(tagged, Limits()) == Refusal(Reason("not_mr", "It is a CT."), None)


def test_pixels_come_before_the_model() -> None:
    seen = before(lambda: Slice(np.zeros((100, 100), np.uint8)), Limits())
    assert isinstance(seen, Refusal)
    assert seen.reason.code == "blank"
    image = Slice(phantom.clear())
    assert before(lambda: image, Limits()) is image
