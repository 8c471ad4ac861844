from __future__ import annotations

import sys

import numpy as np
import pytest

from falx.card import Card
from falx.report import card_text, picture


def test_a_card_for_people(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = [line.split("  ", 1) for line in card_text(card, "tiny.tflite").split("\n")]
    rows = {line[0].strip(): line[-1].strip() for line in lines}
    assert rows["model"] == "tiny 1.2.3"
    assert rows["thresholds"] == "no_tumor 0.85, meningioma 0.6, glioma 0.55, pituitary 0.55"
    assert rows["preprocessing"] == "falx-head-1, 224 x 224"
    assert rows["metrics.accuracy"] == "0.5"
    assert rows["metrics.data.name"] == "none"
    assert rows["provenance.seed"] == "7"
    assert rows["heatmap"] == "yes"
    assert "not a medical device" in rows["disclaimer"]


def test_a_picture_in_letters() -> None:
    pixels = np.repeat(np.array([[0, 255]], np.uint8), 2, axis=0)
    assert picture(np.kron(pixels, np.ones((4, 4), np.uint8)), 4) == ["  @@"] * 2


def test_a_picture_in_half_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falx.report.use_colour", lambda stream: stream is sys.stdout)
    (line,) = picture(np.array([[10], [200]], np.uint8), 1)
    assert line == "\x1b[38;2;10;10;10;48;2;200;200;200m▀\x1b[0m"
