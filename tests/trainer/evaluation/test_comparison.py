from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from falx_runs.manifest import UNTYPED, Record
from falx_trainer.evaluation.answers import ModelAnswer
from falx_trainer.evaluation.comparison import compare
from falx_trainer.evaluation.measures import Pairs

SURE = {
    "no_tumor": (0.9, 0.05, 0.03, 0.02),
    "glioma": (0.05, 0.1, 0.8, 0.05),
    "meningioma": (0.05, 0.8, 0.1, 0.05),
}


def said(labels: list[str], decisions: list[str], group: int = 1) -> Pairs:
    """Slices, `group` of a group, with a sure answer each."""
    return [
        (Record(Path(f"{n}.png"), label, group=str(n // group)), ModelAnswer(decision, SURE.get(decision)))
        for n, (label, decision) in enumerate(zip(labels, decisions, strict=True))
    ]


def test_mcnemar_counts_the_slices_where_one_alone_is_right() -> None:
    # Both right on 10, only the first on 8, only the second on 2, none on 5.
    labels = ["glioma"] * 25
    right, wrong = "glioma", "meningioma"
    first = said(labels, [right] * 18 + [wrong] * 7)
    second = said(labels, [right] * 10 + [wrong] * 8 + [right] * 2 + [wrong] * 5)
    found = compare(first, second)
    row = found["accuracy"]
    assert (row["only_first"], row["only_second"]) == (8, 2)
    # Twice the chance of 0, 1 or 2 heads of 10: 2 (1 + 10 + 45) / 1024.
    assert row["p"] == pytest.approx(2 * 56 / 1024)
    assert (row["first"], row["second"]) == (18 / 25, 12 / 25)
    value, low, high, slices = row["difference"]
    assert (value, slices) == (pytest.approx(6 / 25), 25)
    assert 0 <= low < value < high < 0.5
    assert found["right"] == row
    assert found["cleared"] is None
    assert found["tumor_auc_roc"] is None


def test_the_same_model_does_not_differ() -> None:
    labels = ["glioma", "no_tumor", UNTYPED, "meningioma", "no_tumor"]
    pairs = said(labels, ["glioma", "no_tumor", "no_tumor", "glioma", "glioma"])
    found = compare(pairs, pairs)
    for name, row in found.items():
        assert row["difference"][:3] == [0, 0, 0], name
        assert row.get("p", 1.0) == 1.0
    assert found["missed"]["difference"][3] == 3
    assert found["accuracy"]["difference"][3] == 4


def test_slices_of_one_group_say_nothing_of_others() -> None:
    first = said(["glioma"] * 6, ["glioma"] * 6, group=6)
    second = said(["glioma"] * 6, ["no_tumor"] * 6, group=6)
    assert compare(first, second)["missed"]["difference"] == [-1.0, None, None, 6]


def test_differences_are_drawn_by_group() -> None:
    # Two groups of ten: in one the models differ everywhere, in the other nowhere.
    labels = ["glioma"] * 20
    first, second = said(labels, ["glioma"] * 20, 10), said(labels, ["no_tumor"] * 10 + ["glioma"] * 10, 10)
    assert compare(first, second)["missed"]["difference"] == [-0.5, -1.0, 0.0, 20]


def test_areas_are_of_the_slices_both_answered() -> None:
    labels = ["glioma", "no_tumor", "glioma", "no_tumor", "glioma"]
    first = said(labels, ["glioma", "no_tumor", "no_tumor", "glioma", "rejected"])
    second = said(labels, ["glioma", "no_tumor", "glioma", "rejected", "glioma"])
    row = compare(first, second)["tumor_auc_roc"]
    assert row["first"] == roc_auc_score([1, 0, 1], [0.95, 0.1, 0.1])
    assert row["second"] == 1.0
    assert row["difference"][3] == 3
