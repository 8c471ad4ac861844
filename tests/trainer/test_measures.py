from __future__ import annotations

from pathlib import Path

import pytest

from falx_trainer.answers import Answer
from falx_trainer.measures import calibration, measure, rejections, risk_coverage
from falx_trainer.records import Box, Record


def record(label: str, group: str = "", boxes: tuple[Box, ...] = ()) -> Record:
    return Record(Path(f"{label}-{group}.png"), label, source="here", group=group, split="test", boxes=boxes)


def answer(decision: str, *probabilities: float, peak: tuple[float, float] | None = None) -> Answer:
    return Answer(decision, probabilities or None, peak)


def test_measures_of_hand_made_answers() -> None:
    pairs = [
        (record("no_tumor", "a"), answer("no_tumor", 0.9, 0.05, 0.03, 0.02)),
        (record("no_tumor", "b"), answer("ambiguous", 0.6, 0.2, 0.1, 0.1)),
        (record("no_tumor", "c"), answer("rejected")),
        (record("glioma", "d"), answer("no_tumor", 0.95, 0.01, 0.03, 0.01)),
        (record("glioma", "e"), answer("glioma", 0.1, 0.1, 0.7, 0.1)),
        (record("tumor_untyped", "f"), answer("meningioma", 0.1, 0.8, 0.05, 0.05)),
    ]
    measured = measure(pairs)
    first = {
        name: measured[name] and measured[name][0] for name in ("accuracy", "decided", "right_of_decided")
    }
    assert first == {"accuracy": 0.6, "decided": 0.6, "right_of_decided": 0.6667}
    assert measured["missed"][0] == pytest.approx(1 / 3, abs=1e-4)
    assert measured["missed"][3] == 3
    assert measured["cleared"][0] == pytest.approx(1 / 3, abs=1e-4)
    assert measured["rejected"][0] == pytest.approx(1 / 6, abs=1e-4)
    assert measured["peak_in_box"] is None
    assert measured["decisions"]["glioma"] == {
        "no_tumor": 1,
        "meningioma": 0,
        "glioma": 1,
        "pituitary": 0,
        "ambiguous": 0,
        "rejected": 0,
    }


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    sure_and_right = [(record("glioma", str(i)), answer("glioma", 0.0, 0.0, 0.9, 0.1)) for i in range(3)]
    sure_and_wrong = [(record("pituitary", "x"), answer("glioma", 0.0, 0.0, 0.9, 0.1))]
    unsure = [(record("glioma", "y"), answer("ambiguous", 0.3, 0.2, 0.5, 0.0))]
    # Two bins: 4 slices at 0.9, 3 right; 1 slice at 0.5, right.
    expected = (abs(3 - 4 * 0.9) + abs(1 - 0.5)) / 5
    measured = measure(sure_and_right + sure_and_wrong + unsure)["calibration_error"]
    assert measured[0] == pytest.approx(expected)
    assert measured[1] <= measured[0] <= measured[2]
    assert measured[3] == 5
    assert calibration(sure_and_right + sure_and_wrong + unsure) == [
        {"slices": 1, "confidence": 0.5, "right": 1.0},
        {"slices": 4, "confidence": 0.9, "right": 0.75},
    ]


def test_the_calibration_error_has_an_interval_over_groups() -> None:
    # Two patients, each in one bin of its own: one as sure as right, one sure and wrong throughout.
    fine = [(record("glioma", "a"), answer("glioma", 0.0, 0.0, 1.0, 0.0))] * 10
    wrong = [(record("glioma", "b"), answer("meningioma", 0.0, 0.8, 0.2, 0.0))] * 10
    assert measure(fine + wrong)["calibration_error"] == [0.4, 0.0, 0.8, 20]
    assert measure(wrong)["calibration_error"] == [0.8, 0.0, 1.0, 10]


def test_risk_is_of_the_surest_slices_first() -> None:
    pairs = [(record("glioma", str(i)), answer("glioma", 0, 0.1, 0.9 - i / 100, 0)) for i in range(15)]
    pairs += [(record("pituitary", str(i)), answer("ambiguous", 0, 0.3, 0.5, 0.2)) for i in range(5)]
    curve = {row["coverage"]: row["risk"] for row in risk_coverage(pairs)}
    assert len(curve) == 20
    assert (curve[0.05], curve[0.75], curve[0.8], curve[1.0]) == (0.0, 0.0, 0.0625, 0.25)
    assert risk_coverage([(record("tumor_untyped"), answer("glioma", 0, 0, 1, 0))]) == []


def test_variants_of_a_picture_are_one_observation() -> None:
    paths = [Path(f"{name}--{number}.png") for name in ("cat", "dog") for number in range(3)]
    told = [Answer("rejected", None, reason="no_head")] * 2 + [answer("glioma", 0, 0, 1, 0)] * 3 + [None]
    counted = rejections(paths, told)
    # The dog was never rejected, the cat twice of three times: two observations of 2 and 3 pictures.
    assert counted["rejected"] == [0.4, 0.0, 0.6667, 5]
    assert (counted["pictures"], counted["unreadable"]) == (6, 1)
    assert (counted["decisions"]["glioma"], counted["decisions"]["rejected"]) == (3, 2)
    assert counted["reasons"] == {"no_head": 2}


def test_one_group_tells_nothing_of_others() -> None:
    pairs = [
        (record("glioma", "a"), answer(decision, 0.1, 0.1, 0.7, 0.1)) for decision in ("glioma", "no_tumor")
    ]
    assert measure(pairs)["missed"] == [0.5, 0.0, 1.0, 2]
    assert measure(pairs[:1])["missed"] == [0.0, 0.0, 1.0, 1]


def test_the_interval_is_over_groups_not_slices() -> None:
    # Ten slices of one patient missed, ten of another not: two independent observations, not twenty.
    pairs = [(record("glioma", "a"), answer("no_tumor", 1.0, 0.0, 0.0, 0.0))] * 10
    pairs += [(record("glioma", "b"), answer("glioma", 0.0, 0.0, 1.0, 0.0))] * 10
    assert measure(pairs)["missed"] == [0.5, 0.0, 1.0, 20]


@pytest.mark.parametrize(
    ("decision", "expected"), [("glioma", [0.0, 0.0, 0.3, 10]), ("no_tumor", [1.0, 0.7, 1.0, 10])]
)
def test_none_or_all_of_ten_groups_still_has_an_interval(decision: str, expected: list[float]) -> None:
    pairs = [(record("glioma", str(i)), answer(decision, 0.1, 0.1, 0.7, 0.1)) for i in range(10)]
    assert measure(pairs)["missed"] == pytest.approx(expected)


def test_the_peak_counts_for_decided_tumors_with_a_box() -> None:
    box = (Box(0.5, 0.5, 0.2, 0.1),)
    pairs = [
        (record("glioma", "a", box), answer("glioma", 0, 0, 1, 0, peak=(0.59, 0.46))),
        (record("glioma", "b", box), answer("glioma", 0, 0, 1, 0, peak=(0.5, 0.56))),
        (record("glioma", "c", box), answer("ambiguous", 0.4, 0, 0.6, 0, peak=(0.5, 0.5))),
        (record("glioma", "d"), answer("glioma", 0, 0, 1, 0, peak=(0.5, 0.5))),
    ]
    measured = measure(pairs)["peak_in_box"]
    assert (measured[0], measured[3]) == (0.5, 2)
