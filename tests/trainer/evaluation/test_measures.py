from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)
from tests.trainer.evaluation.resamples import resamples

from falx.decision import decide
from falx.words import DECISIONS, LABELS
from falx_runs.manifest import UNTYPED, Box, Outlier, Record
from falx_trainer.evaluation.answers import ModelAnswer
from falx_trainer.evaluation.measures import Pairs, calibration, curves, measure, rejections, risk_coverage
from falx_trainer.evaluation.report.numbers import decimal, percent


def record(label: str, group: str = "", boxes: tuple[Box, ...] = ()) -> Record:
    return Record(Path(f"{label}-{group}.png"), label, source="here", group=group, split="test", boxes=boxes)


def answer(decision: str, *probabilities: float, peak: tuple[float, float] | None = None) -> ModelAnswer:
    return ModelAnswer(decision, probabilities or None, peak)


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
    expected = {"accuracy": 0.6, "decided": 0.6, "right_of_decided": 2 / 3}
    assert {name: measured[name] and measured[name][0] for name in expected} == expected
    shares = {"missed": 1 / 3, "cleared": 1 / 3, "rejected": 1 / 6}
    assert {name: measured[name][0] for name in shares} == pytest.approx(shares, abs=1e-4)
    assert measured["missed"][3] == 3
    assert measured["peak_in_box"] is None
    assert measured["decisions"]["glioma"] == dict.fromkeys(DECISIONS, 0) | {"no_tumor": 1, "glioma": 1}


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
    assert measure(fine + wrong)["calibration_error"] == pytest.approx([0.4, 0.0, 0.8, 20])
    assert measure(wrong)["calibration_error"] == pytest.approx([0.8, 0.0, 1.0, 10])


def test_risk_is_of_the_surest_slices_first() -> None:
    pairs = [(record("glioma", str(i)), answer("glioma", 0, 0.1, 0.9 - i / 100, 0)) for i in range(15)]
    pairs += [(record("pituitary", str(i)), answer("ambiguous", 0, 0.3, 0.5, 0.2)) for i in range(5)]
    curve = {row["coverage"]: row["risk"] for row in risk_coverage(pairs)}
    assert len(curve) == 20
    assert (curve[0.05], curve[0.75], curve[0.8], curve[1.0]) == (0.0, 0.0, 0.0625, 0.25)
    assert risk_coverage([(record("tumor_untyped"), answer("glioma", 0, 0, 1, 0))]) == []


def test_pictures_of_a_group_are_one_observation() -> None:
    pictures = [
        Outlier(Path(f"{name}{number}.png"), "photo", group=name)
        for name in ("cat", "dog")
        for number in range(3)
    ]
    told = [ModelAnswer("rejected", None, reason="no_head")] * 2 + [answer("glioma", 0, 0, 1, 0)] * 3 + [None]
    counted = rejections(pictures, told)
    # The dog was never rejected, the cat twice of three times: two observations of 2 and 3 pictures.
    assert counted["rejected"] == [0.4, 0.0, 2 / 3, 5]
    assert (counted["pictures"], counted["unreadable"]) == (6, 1)
    assert (counted["decisions"]["glioma"], counted["decisions"]["rejected"]) == (3, 2)
    assert counted["reasons"] == {"no_head": 2}
    assert counted["rejected_or_no_tumor"] == counted["rejected"]
    cleared = rejections(pictures, [*told[:2], *[answer("no_tumor", 1, 0, 0, 0)] * 2, *told[4:]])
    assert (cleared["rejected"][0], cleared["rejected_or_no_tumor"][0]) == (0.4, 0.8)
    alone = rejections([Outlier(one.path, "photo") for one in pictures], told)
    # Five observations now, not two.
    assert alone["rejected"][2] > counted["rejected"][2]
    unread = rejections(pictures[:1], [None])
    assert (unread["rejected"], unread["rejected_or_no_tumor"]) == (None, None)


def test_healthy_slices_that_are_called_a_tumor_are_false_alarms() -> None:
    pairs = [
        (record("no_tumor", str(index)), answer(decision, 0.4, 0.3, 0.2, 0.1))
        for index, decision in enumerate(("no_tumor", "glioma", "ambiguous", "pituitary"))
    ]
    pairs.append((record("glioma", "t"), answer("glioma", 0, 0, 1, 0)))
    assert (measure(pairs)["false_alarm"][0], measure(pairs)["false_alarm"][3]) == (0.5, 4)
    assert measure(pairs[-1:])["false_alarm"] is None


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        # Ten slices of one patient missed, ten of another not: two independent observations, not twenty.
        ([("a", "no_tumor")] * 10 + [("b", "glioma")] * 10, [0.5, 0.0, 1.0, 20]),
        # None or all of ten.
        ([(str(group), "glioma") for group in range(10)], [0.0, 0.0, 0.3, 10]),
        ([(str(group), "no_tumor") for group in range(10)], [1.0, 0.7, 1.0, 10]),
    ],
)
def test_the_interval_is_over_groups_not_slices(
    answers: list[tuple[str, str]], expected: list[float]
) -> None:
    pairs = [(record("glioma", group), answer(said, 0.1, 0.1, 0.7, 0.1)) for group, said in answers]
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


@pytest.fixture(scope="class")
def few() -> Iterator[None]:
    with resamples(20):
        yield


@st.composite
def predictions(draw: st.DrawFn) -> Pairs:
    """Slices of any labels, typed or not, with probabilities in 1/256 as int8 graphs have them, so that they
    tie; a few rejected.
    """
    pairs = []
    for number in range(draw(st.integers(1, 40))):
        label = draw(st.sampled_from([*LABELS, UNTYPED]))
        name = str(draw(st.integers(0, 6)))
        cuts = sorted(draw(st.tuples(*[st.integers(0, 256)] * 3)))
        parts = tuple(float(p) for p in np.diff([0, *cuts, 256]) / 256)
        told = (
            ModelAnswer("rejected", None, reason="no_head")
            if number % 9 == 8
            else answer(decide(parts), *parts)
        )
        pairs.append((Record(Path(f"{number}.png"), label, group=name), told))
    return pairs


@pytest.mark.usefixtures("few")
class TestAsScikitLearn:
    """The numbers of hypothesis-made predictions agree to the last digit shown."""

    @given(pairs=predictions())
    def test_labels(self, pairs: Pairs) -> None:
        typed = [(r.label, a.probabilities) for r, a in pairs if r.label != UNTYPED]
        found = measure(pairs)
        if not typed:
            assert found["accuracy"] is None
            assert found["averages"] == {}
            return
        true = [label for label, _ in typed]
        said = ["rejected" if p is None else LABELS[int(np.argmax(p))] for _, p in typed]
        occurring = [label for label in LABELS if label in true]
        assert percent(found["accuracy"]) == f"{accuracy_score(true, said) * 100:.1f}\xa0%"
        columns = [*LABELS, "rejected"]
        table = confusion_matrix(true, said, labels=columns)
        assert found["confusion"] == {
            label: dict(zip(columns, table[LABELS.index(label)].tolist(), strict=True)) for label in occurring
        }
        for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
            each = score(true, said, labels=occurring, average=None, zero_division=0)
            for label, value in zip(occurring, each, strict=True):
                shown = decimal(found["classes"][label][name])
                assert shown == ("–" if name == "precision" and label not in said else f"{value:.3f}")
            for average in ("macro", "weighted"):
                value = score(true, said, labels=occurring, average=average, zero_division=0)
                assert decimal(found["averages"][average][name]) == f"{value:.3f}"

    @given(pairs=predictions())
    def test_ranking(self, pairs: Pairs) -> None:
        found, drawn = measure(pairs), curves(pairs)
        answered = [(r.label, np.array(a.probabilities)) for r, a in pairs if a.probabilities is not None]
        typed = [(label, p) for label, p in answered if label != UNTYPED]
        areas = {}
        asked: dict[str, tuple[list[bool], list[float]]] = {
            label: ([name == label for name, _ in typed], [p[index] for _, p in typed])
            for index, label in enumerate(LABELS)
        }
        asked["tumor"] = ([name != "no_tumor" for name, _ in answered], [1 - p[0] for _, p in answered])
        for kind, (true, scores) in asked.items():
            told = found["tumor"] if kind == "tumor" else found["classes"][kind]
            if len(set(true)) < 2:
                assert told["auc_roc"] is None
                assert told["average_precision"] is None
                assert kind not in drawn
                continue
            areas[kind] = roc_auc_score(true, scores)
            assert decimal(told["auc_roc"]) == f"{areas[kind]:.3f}"
            assert decimal(told["average_precision"]) == f"{average_precision_score(true, scores):.3f}"
            assert told["auc_roc"][3] == len(true)
            false_rate, true_rate, _ = roc_curve(true, scores)
            assert drawn[kind]["roc"]["false_positive_rate"] == false_rate.tolist()
            assert drawn[kind]["roc"]["true_positive_rate"] == true_rate.tolist()
            assert drawn[kind]["roc"]["threshold"][0] is None
            precision, recall, _ = precision_recall_curve(true, scores, drop_intermediate=True)
            assert drawn[kind]["precision_recall"]["precision"] == precision.tolist()
            assert drawn[kind]["precision_recall"]["recall"] == recall.tolist()
        if {label for label, _ in typed} == set(LABELS):
            true_labels, probabilities = [label for label, _ in typed], np.stack([p for _, p in typed])
            order = np.argsort(LABELS)
            macro = roc_auc_score(
                true_labels,
                probabilities[:, order],
                multi_class="ovr",
                average="macro",
                labels=sorted(LABELS),
            )
            assert decimal(found["averages"]["macro"]["auc_roc"]) == f"{macro:.3f}"

    @given(pairs=predictions())
    def test_calibration(self, pairs: Pairs) -> None:
        known = [
            (max(a.probabilities), LABELS[int(np.argmax(a.probabilities))] == r.label)
            for r, a in pairs
            if a.probabilities is not None and r.label != UNTYPED
        ]
        found = calibration(pairs)
        if not known:
            assert found == []
            return
        confidence, right = (np.array(column) for column in zip(*known, strict=True))
        # Its bins are closed above, ours below; of these probabilities only 1 lies on a limit of 15 bins.
        apart = np.where(confidence == 1, 1, confidence + 1e-12)
        share, mean = calibration_curve(right, apart, n_bins=15)
        assert [row["right"] for row in found] == pytest.approx(share.tolist())
        assert [row["confidence"] for row in found] == pytest.approx(mean.tolist())
        gap = sum(row["slices"] * abs(row["right"] - row["confidence"]) for row in found) / len(known)
        assert measure(pairs)["calibration_error"][0] == pytest.approx(gap)


def test_untyped_tumors_count_where_they_can_and_nowhere_else() -> None:
    typed: list[tuple[Record, ModelAnswer]] = [
        (record("no_tumor", "a"), answer("no_tumor", 0.9, 0.05, 0.03, 0.02)),
        (record("glioma", "b"), answer("glioma", 0.1, 0.1, 0.7, 0.1)),
    ]
    untyped = (record(UNTYPED, "c"), answer("no_tumor", 0.95, 0.01, 0.03, 0.01))
    without, found = _values(measure(typed)), _values(measure([*typed, untyped]))
    assert {name for name in without if without[name] != found[name]} == {
        *("slices", "groups", "missed", "right_of_cleared", "ambiguous", "rejected", "tumor", "decisions")
    }
    assert (without["missed"], found["missed"]) == ([0, 1], [0.5, 2])
    assert (without["right_of_cleared"], found["right_of_cleared"]) == ([1, 1], [0.5, 2])
    assert (without["tumor"]["auc_roc"], found["tumor"]["auc_roc"]) == ([1, 2], [0.5, 3])


def _values(tree: Any) -> Any:
    """Nested measures without their intervals."""
    if isinstance(tree, dict):
        return {name: _values(value) for name, value in tree.items()}
    return [tree[0], tree[3]] if isinstance(tree, list) else tree
