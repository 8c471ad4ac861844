"""The numbers that the emulated Pi's benchmark draws from answers and counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmarks import raspberry_pi

import falx
from falx import phantom

THRESHOLDS = falx.load().card.thresholds.to_dict()


def _answers() -> tuple[list[Any], list[dict[str, Any]]]:
    classifier = falx.load()
    here = [classifier.predict(phantom.lesion()), classifier.predict(np.full((200, 200), 90, np.uint8))]
    return here, [answer.to_dict() for answer in here]


def test_equal_answers_do_not_differ_and_others_are_counted() -> None:
    here, there = _answers()
    assert raspberry_pi.compared(here, there, THRESHOLDS).largest == 0
    there[0]["probabilities"]["glioma"] -= 0.25
    there[0]["decision"] = "elsewhere"
    different = raspberry_pi.compared(here, there, THRESHOLDS)
    assert (different.slices, different.decisions, different.rejections) == (2, 1, 0)
    assert different.largest == pytest.approx(0.25, abs=1e-5)
    assert different.differing[0]["there"] == "elsewhere"


def test_what_cannot_be_read_there_is_counted_and_not_compared() -> None:
    here, there = _answers()
    there[0] = {"path": "a.png", "error": {"type": "UnreadableImage", "message": "damaged"}}
    different = raspberry_pi.compared(here, there, THRESHOLDS)
    assert (different.slices, different.unreadable, different.decisions) == (2, 1, 0)


def test_an_estimate_is_bound_by_decoding_or_by_the_multipliers() -> None:
    core = raspberry_pi.CORES["cortex-a72"]
    counts = {"all": 180_000_000, "dot_product": 0, "widening_multiply": 30_000_000}
    expected = {"least_ms": 33.3, "fast_ms": 50.0, "slow_ms": 100.0}
    assert raspberry_pi.estimate(counts, core) == expected
    busy = raspberry_pi.estimate({**counts, "widening_multiply": 90_000_000}, core)
    assert busy == {**expected, "least_ms": 50.0}
