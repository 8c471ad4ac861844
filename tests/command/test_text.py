from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.heads import CLEAN, SURE, head

from falx.command.text import card_text, picture, study_text
from falx.decision import Thresholds
from falx.model.card import Card, Setting, TensorSpec
from falx.reading.series import Gathering
from falx.slices.limits import Limits
from falx.study import sum_up
from falx.words import LABELS

SCORES = {
    "slices": 740,
    "accuracy": 0.893243,
    "auc_roc": {"no_tumor": 0.98, "macro": 0.983626},
    "report": {label: {"recall": 0.9, "support": 8} for label in LABELS} | {"accuracy": 0.89},
    "confusion": [[1, 2], [3, 4]],
}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def rows_of(card: Card) -> dict[str, str]:
    lines = [line.split("  ", 1) for line in card_text(card, "tiny.tflite").split("\n")]
    return {line[0].strip(): line[-1].strip() for line in lines}


def test_a_card_for_people(card: Card) -> None:
    rows = rows_of(card)
    assert rows["model"] == "tiny 1.2.3"
    assert rows["thresholds"] == "no_tumor 0.85, meningioma 0.6, glioma 0.55, pituitary 0.55"
    assert rows["preprocessing"] == "falx-head-1, 224 x 224"
    assert rows["metrics.accuracy"] == "0.5"
    assert rows["metrics.data.name"] == "none"
    assert rows["trained with"] == "seed 7"
    assert rows["heatmap"] == "yes"
    assert rows["familiarity"] == rows["self-contained"] == "no"
    assert "earlier thresholds" not in rows
    assert "not a medical device" in rows["disclaimer"]


def test_a_card_with_a_past(card: Card) -> None:
    outputs = {**card.outputs, "familiarity": TensorSpec("familiarity", "float32", (1, 1))}
    earlier = (Setting(Thresholds(0.9, 0.8, 0.7, 0.6)), Setting(Thresholds(0.95, 0.8, 0.7, 0.6)))
    rows = rows_of(replace(card, outputs=outputs, rejection=Limits(least_familiarity=0.4), history=earlier))
    assert rows["familiarity"] == "rejected below 0.4"
    telling = outputs | {"no_brain": TensorSpec("no_brain", "float32", (1, 1))}
    told = rows_of(replace(card, outputs=telling, rejection=Limits(least_familiarity=0.4)))
    assert told["familiarity"] == "rejected below 0.4, heads without brain told apart"
    assert rows["earlier thresholds"] == (
        "no_tumor 0.9, meningioma 0.8, glioma 0.7, pituitary 0.6; "
        "no_tumor 0.95, meningioma 0.8, glioma 0.7, pituitary 0.6"
    )


def test_metrics_and_provenance_of_the_trainer_are_short(card: Card) -> None:
    provenance = {
        "trainer": "0.1.0",
        "preset": "default",
        "seed": 7,
        "data": {"fingerprint": "ab" * 32, "sources": {"figshare": 1680, "br35h": 573}},
        "versions": {"keras": "3.15.1"},
    }
    rows = rows_of(replace(card, metrics={"val": SCORES, "note": "x"}, provenance=provenance))
    assert rows["metrics, val"] == (
        "accuracy 0.893 over 740 slices; AUC-ROC 0.984; "
        "recall: no_tumor 0.900, meningioma 0.900, glioma 0.900, pituitary 0.900"
    )
    assert rows["metrics.note"] == "x"
    assert rows["trained with"] == "preset default, seed 7, trainer 0.1.0"
    assert rows["trained on"] == "figshare 1680, br35h 573"
    assert not [name for name in rows if name.startswith(("metrics.val", "provenance"))]


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        ({"accuracy": 1}, "accuracy 1.000"),
        ({"accuracy": 0.5, "slices": 2, "auc_roc": {"macro": None}}, "accuracy 0.500 over 2 slices"),
        ({"accuracy": 0.5, "report": {"glioma": {"recall": 1}}}, "accuracy 0.500; recall: glioma 1.000"),
        ({"accuracy": 0.5, "auc_roc": 3, "report": [1]}, "accuracy 0.500"),
    ],
)
def test_metrics_that_lack_something(card: Card, scores: dict[str, Any], text: str) -> None:
    assert rows_of(replace(card, metrics={"val": scores}))["metrics, val"] == text


def test_unknown_metrics_and_provenance_end_at_a_limit(card: Card) -> None:
    many = {f"m{number}": number for number in range(20)}
    rows = rows_of(replace(card, metrics={"accuracy": None, "val": many}, provenance={"by": {"hand": True}}))
    assert rows["metrics.accuracy"] == "None"
    assert rows["metrics.val.m10"] == "10"
    assert "metrics.val.m11" not in rows
    assert rows["metrics, more"] == "9 values; --json prints all"
    assert rows["provenance.by.hand"] == "True"


def test_a_picture_in_letters() -> None:
    pixels = np.repeat(np.array([[0, 255]], np.uint8), 2, axis=0)
    assert picture(np.kron(pixels, np.ones((4, 4), np.uint8)), 4) == ["  @@"] * 2


def test_a_picture_in_half_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falx.command.text.use_colour", lambda stream: stream is sys.stdout)
    (line,) = picture(np.array([[10], [200]], np.uint8), 1)
    assert line == "\x1b[38;2;10;10;10;48;2;200;200;200m▀\x1b[0m"


def test_a_study_of_one_series_gives_its_reason_once() -> None:
    series, results = head(dict.fromkeys((10, 11, 12), SURE))
    one = sum_up(Gathering((series,)), results)
    lines = dict(line.split("  ", 1) for line in study_text(one).split("\n")[:-1])
    rows = {name.strip(): text.strip() for name, text in lines.items()}
    assert rows["reason"] == one.verdict.reason
    assert rows["series 1"] == "axial, 28 slices."
    assert rows["strength"] == (
        "13.5 mm: how far the region reaches through neighbouring slices, times how surely it is marked. A "
        "tumour has 10 mm or more, a clear study less than 3 mm."
    )
    both = study_text(sum_up(Gathering((series, series)), [*results, *results]))
    assert both.count("axial, 28 slices: tumor 90.0 % high (likeliest glioma). A region is marked") == 2
    clear = study_text(sum_up(Gathering((series,)), [CLEAN] * 28))
    assert "strength" not in clear
