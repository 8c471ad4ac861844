from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve
from tests.trainer.evaluation.resamples import resamples

from falx.decision import DEFAULT_THRESHOLDS, Thresholds, decide
from falx.words import LABELS
from falx_runs.manifest import UNTYPED, Record
from falx_trainer.evaluation import thresholds
from falx_trainer.evaluation.answers import ModelAnswer
from falx_trainer.evaluation.measures import Pairs, shares

CURRENT = dataclasses.replace(DEFAULT_THRESHOLDS, no_tumor=0.9, glioma=0.7)


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    with resamples(100):
        yield


def pair(label: str, healthy: float, group: str, **others: float) -> tuple[Record, ModelAnswer]:
    rest = {name: others.get(name, (1 - healthy - sum(others.values())) / 3) for name in LABELS[1:]}
    probabilities = (healthy, *rest.values())
    return Record(Path(f"{group}.png"), label, group=group), ModelAnswer(
        decide(probabilities, CURRENT), probabilities
    )


def test_the_threshold_of_a_stated_sensitivity() -> None:
    tumors = [pair("glioma", value, f"t{n}") for n, value in enumerate([0.834, 0.62, *[0.1] * 98])]
    healthy = [pair("no_tumor", 0.7, f"h{n}") for n in range(40)]
    found = thresholds.choose(tumors + healthy, CURRENT, 0.99)
    # One of a hundred may be missed: that with 0.834, and not that with 0.62.
    assert found["thresholds"] == CURRENT.to_dict() | {"no_tumor": 0.63}
    chosen = found["choices"]["sensitivity"]
    assert chosen["thresholds"] == found["thresholds"]
    assert chosen["stated"] == 0.99
    assert {name: value for name, value in chosen["no_tumor"].items() if name != "interval"} == {
        "threshold": 0.63,
        "reached": 0.99,
        "tumors": 100,
        "tumor_groups": 100,
        "missed": 1,
        "groups_needed": 300,
    }
    low, high = chosen["no_tumor"]["interval"]
    assert low <= 0.63 <= high <= 1
    assert chosen["measured"]["missed"][0] == 0.01
    assert chosen["measured"]["cleared"][0] == 1.0
    assert found["choices"]["current"]["measured"]["cleared"][0] == 0.0
    assert found["warnings"][0] == (
        "Too few for a sensitivity of 99 %: with none missed it takes 300 patients (or other groups) with a "
        "tumour to show it, by the rule of three; here are 100."
    )
    assert json.loads(json.dumps(found)) == found


def test_enough_patients_are_enough() -> None:
    tumors = [pair("glioma", 0.1 + n / 1000, f"t{n}") for n in range(60)]
    found = thresholds.choose([*tumors, pair("no_tumor", 0.9, "h")], CURRENT, 0.95)
    assert found["choices"]["sensitivity"]["no_tumor"]["groups_needed"] == 60
    assert not any("Too few" in warning for warning in found["warnings"])
    every = thresholds.choose([*tumors, pair("no_tumor", 0.9, "h")], CURRENT, 1)
    assert every["thresholds"]["no_tumor"] == 0.16
    assert "No number of slices shows that no tumour at all is missed." in every["warnings"]


def test_slices_of_one_patient_are_not_many_patients() -> None:
    pairs = [pair("glioma", 0.1, "one")] * 400 + [pair("no_tumor", 0.9, "h")]
    found = thresholds.choose(pairs, CURRENT, 0.99)
    assert "here are 1." in found["warnings"][0]
    assert found["choices"]["sensitivity"]["no_tumor"]["interval"] is None


def test_what_is_rejected_is_not_missed() -> None:
    rejected = [(Record(Path("r.png"), "glioma"), ModelAnswer("rejected", None, reason="no_head"))] * 9
    found = thresholds.choose([*rejected, pair("glioma", 0.8, "a"), pair("no_tumor", 0.9, "h")], CURRENT, 0.9)
    # One of ten may be missed.
    assert found["thresholds"]["no_tumor"] == 0.01
    assert found["choices"]["sensitivity"]["no_tumor"]["missed"] == 1


def test_youden_balances_and_says_what_that_costs() -> None:
    tumors = [pair("glioma", 0.6, f"t{n}", glioma=0.36) for n in range(10)]
    tumors += [pair("glioma", 0.05, f"s{n}", glioma=0.8) for n in range(90)]
    healthy = [pair("no_tumor", 0.5, f"h{n}", glioma=0.1) for n in range(100)]
    found = thresholds.choose(tumors + healthy, CURRENT, 0.99)
    youden = found["choices"]["youden"]
    # All 100 healthy for 10 missed tumours; between 0.05 and 0.5, and between 0.1 and 0.36.
    assert youden["thresholds"]["no_tumor"] == 0.28
    assert youden["thresholds"]["glioma"] == 0.23
    assert youden["classes"]["no_tumor"] == {
        "threshold": 0.28,
        "interval": [0.28, 0.28],
        "index": pytest.approx(0.9),
        "sensitivity": 1.0,
        "specificity": 0.9,
        "slices": 100,
        "groups": 100,
        "other_slices": 100,
        "other_groups": 100,
    }
    assert youden["classes"]["meningioma"] is None
    assert youden["thresholds"]["meningioma"] == CURRENT.meningioma
    assert (
        "No slices of meningioma, so Youden's index chooses no threshold; meningioma stays."
        in (found["warnings"])
    )
    assert found["warnings"][-1] == (
        "Youden's index counts a missed tumour and a false alarm as equally bad: by its thresholds 10 % of "
        "the tumours here are decided no_tumor, now 0 %."
    )


def test_what_is_no_better_than_chance_chooses_nothing() -> None:
    # P(pituitary) is 0 throughout: the only level, and no threshold.
    pairs = [pair(label, 0.5, label, meningioma=0.0, glioma=0.5) for label in ("no_tumor", "pituitary")]
    found = thresholds.choose(pairs, CURRENT, 0.99)
    assert found["choices"]["youden"]["classes"]["pituitary"] is None
    assert found["choices"]["youden"]["thresholds"]["pituitary"] == CURRENT.pituitary
    warning = "No threshold of pituitary is better than chance by Youden's index; pituitary stays."
    assert warning in found["warnings"]


def test_few_groups_do_not_fix_a_threshold() -> None:
    pairs = [pair("glioma", 0.1, f"t{n % 3}", glioma=0.5 + 0.04 * n) for n in range(9)]
    pairs += [pair("no_tumor", 0.9, f"h{n}", glioma=0.05) for n in range(50)]
    found = thresholds.choose(pairs, CURRENT, 0.99)
    (warning,) = [warning for warning in found["warnings"] if "threshold of glioma" in warning]
    assert warning.startswith(
        "The threshold of glioma by Youden's index is not fixed by these data: 3 patients (or other groups) "
        "with it and 50 without; drawn again, they put it between 0.28"
    )


def test_without_tumors_all_stays() -> None:
    found = thresholds.choose([pair("no_tumor", 0.9, "a"), pair("no_tumor", 0.8, "b")], CURRENT, 0.99)
    assert found["thresholds"] == CURRENT.to_dict()
    assert found["choices"]["youden"]["thresholds"] == CURRENT.to_dict()
    assert found["choices"]["sensitivity"]["no_tumor"] is None
    assert found["warnings"][:2] == [
        "No slice has a tumour, so no threshold keeps a sensitivity; no_tumor stays.",
        "No other slices of no_tumor, so Youden's index chooses no threshold; no_tumor stays.",
    ]


@st.composite
def slices(draw: st.DrawFn) -> Pairs:
    pairs = []
    for number in range(draw(st.integers(2, 40))):
        label = draw(st.sampled_from([*LABELS, UNTYPED]))
        cuts = sorted(draw(st.tuples(*[st.integers(0, 256)] * 3)))
        parts = tuple(float(p) for p in np.diff([0, *cuts, 256]) / 256)
        pairs.append((Record(Path(f"{number}.png"), label), ModelAnswer(decide(parts, CURRENT), parts)))
    return pairs


@given(pairs=slices(), sensitivity=st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_any_data_give_thresholds_that_hold(pairs: Pairs, sensitivity: float) -> None:
    found = thresholds.choose(pairs, CURRENT, sensitivity)
    for choice in found["choices"].values():
        Thresholds.from_mapping(choice["thresholds"])
    tumors = [a.probabilities[0] for r, a in pairs if r.label != "no_tumor" and a.probabilities]
    if tumors:
        allowed = math.floor((1 - sensitivity) * len(tumors) + 1e-9)
        stated = found["thresholds"]["no_tumor"]
        # Where P(no_tumor) is 1, no threshold helps.
        assert sum(p >= stated for p in tumors) <= max(allowed, sum(p == 1 for p in tumors))
        if stated > 0.01:
            assert sum(p >= round(stated - 0.01, 2) for p in tumors) > allowed
    for index, label in enumerate(LABELS):
        counted = [
            (r.label == label, a.probabilities[index])
            for r, a in pairs
            if a.probabilities and (label == "no_tumor" or r.label != UNTYPED)
        ]
        chosen = found["choices"]["youden"]["classes"][label]
        if len({positive for positive, _ in counted}) < 2:
            assert chosen is None
            continue
        true, scores = (np.array(column) for column in zip(*counted, strict=True))
        false_rate, true_rate, _ = roc_curve(true, scores, drop_intermediate=False)
        best = (true_rate - false_rate).max()
        if best <= 1e-9:
            assert chosen is None
            continue
        assert chosen["index"] == pytest.approx(best)
        reached = (scores[true] >= chosen["threshold"]).mean() - (scores[~true] >= chosen["threshold"]).mean()
        assert chosen["index"] == pytest.approx(reached)
        assert chosen["sensitivity"] + chosen["specificity"] - 1 == pytest.approx(chosen["index"])


@given(ends=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_between_is_between(ends: tuple[float, float]) -> None:
    low, high = sorted(ends)
    assume(low < high)
    assert low < thresholds.between(low, high) <= high


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 0.9, 0.5), (0.05, 0.5, 0.28), (0.333, 0.3337, 0.3334), (0.0, 0.004, 0.002), (0.99, 1.0, 1.0)],
)
def test_between_has_few_decimals(low: float, high: float, expected: float) -> None:
    assert thresholds.between(low, high) == expected


def test_what_a_choice_would_decide_is_what_it_decides() -> None:
    pairs = [pair("glioma", 0.5, "a", glioma=0.3), pair("no_tumor", 0.5, "b", glioma=0.2)]
    found = thresholds.choose(pairs, CURRENT, 0.99)
    chosen = Thresholds.from_mapping(found["choices"]["youden"]["thresholds"])
    decided = [
        (record, dataclasses.replace(answer, decision=decide(answer.probabilities or (), chosen)))
        for record, answer in pairs
    ]
    expected = shares(decided)
    measured = found["choices"]["youden"]["measured"]
    assert measured == {name: expected[name] for name in measured}
