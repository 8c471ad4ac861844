"""Measures of difference, and what they are held to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from falx.decision import DEFAULT_THRESHOLDS
from falx_export.errors import ParityError
from falx_export.proof import parity
from falx_export.proof.parity import Parity
from falx_export.proof.tolerance import TOLERANCES, Tolerance

SAME = [[0.1, 0.2, 0.6, 0.1], [0.3, 0.7, 0.0, 0.0]]
BEFORE = np.array([[0.05, 0.9, 0.03, 0.02], [0.86, 0.1, 0.02, 0.02], *SAME], np.float32)
AFTER = np.array([[0.90, 0.05, 0.03, 0.02], [0.84, 0.12, 0.02, 0.02], *SAME], np.float32)


def measured() -> Parity:
    return parity.compare(
        "x.tflite", "litert", {"probabilities": AFTER}, {"probabilities": BEFORE}, DEFAULT_THRESHOLDS
    )


def test_measures_and_their_table() -> None:
    result = measured()
    assert result.largest == pytest.approx(0.85, abs=1e-6)
    assert result.mean == pytest.approx((0.85 + 0.85 + 0.02 + 0.02) / 16, abs=1e-6)
    assert (result.slices, result.differing, result.missed, result.heatmap) == (4, 2, 1, None)
    assert parity.table([result]).splitlines() == [
        "file      engine  largest     mean  decisions differ  tumour to no_tumor  heatmap",
        "x.tflite  litert   0.8500  0.10875            2 of 4                   1        -",
    ]


def test_the_heatmap_is_compared_too() -> None:
    got, expected = (
        {"probabilities": values, "heatmap": np.full((4, 7, 7), heat, np.float32)}
        for values, heat in ((AFTER, 0), (BEFORE, 0.25))
    )
    result = parity.compare("x", "y", got, expected, DEFAULT_THRESHOLDS)
    assert result.heatmap == 0.25
    allowed = Tolerance(largest=1, mean=1, decisions=1, missed=1, heatmap=0.25)
    assert parity.refused([(result, allowed)]) == {}
    with pytest.raises(ParityError, match=r"\nx: heatmap is 0\.25, tolerance 0\.2$"):
        parity.refused([(result, allowed.changed("heatmap", 0.2))])


def test_the_probability_that_there_is_no_brain_is_held_to_the_same_tolerance() -> None:
    known = {"probabilities": BEFORE, "familiarity": np.full((4, 1), 0.5, np.float32)}
    expected, got = (known | {"no_brain": np.full((4, 1), share, np.float32)} for share in (0.5, 0.25))
    assert parity.compare("x", "y", got, expected, DEFAULT_THRESHOLDS).familiarity == 0.25


def test_familiarity_is_compared_and_decides_what_is_rejected() -> None:
    expected = {"probabilities": BEFORE, "familiarity": np.array([[0.9], [0.5], [0.1], [0.6]], np.float32)}
    got = {"probabilities": BEFORE, "familiarity": np.array([[0.9], [0.4], [0.2], [0.6]], np.float32)}
    result = parity.compare("x", "y", got, expected, DEFAULT_THRESHOLDS, 0.5)
    assert result.familiarity == pytest.approx(0.1)
    assert (result.differing, result.missed) == (1, 0)
    assert parity.compare("x", "y", got, expected, DEFAULT_THRESHOLDS).differing == 0
    allowed = Tolerance(largest=0, mean=0, decisions=0.25, missed=0, heatmap=0, familiarity=0.1001)
    assert parity.refused([(result, allowed)]) == {}
    with pytest.raises(ParityError, match=r"\nx: familiarity is 0\.1, tolerance 0\.05$"):
        parity.refused([(result, allowed.changed("familiarity", 0.05))])


def test_a_heatmap_that_is_not_a_number_is_measured_as_that() -> None:
    broken = np.zeros((4, 7, 7), np.float32)
    broken[2, 3, 3] = np.nan
    sound = {"probabilities": BEFORE, "heatmap": np.zeros((4, 7, 7), np.float32)}
    result = parity.compare("x", "y", sound | {"heatmap": broken}, sound, DEFAULT_THRESHOLDS)
    told = f"x: heatmap is nan, tolerance {TOLERANCES['int8'].heatmap:.4g}"
    assert result.beyond(TOLERANCES["int8"]) == [told]
    never = Parity("x", "y", 1, math.nan, math.nan, 0, 0, math.nan)
    assert len(never.beyond(Tolerance(1, 1, 1, 1, 1))) == 3


def test_a_tolerance_may_be_reached_not_passed() -> None:
    reached = Tolerance(largest=0.9, mean=0.2, decisions=0.5, missed=0.25, heatmap=0.2)
    file = replace(measured(), file="x-int8.tflite", slices=400, differing=200, missed=100)
    assert parity.refused([(file, reached)]) == {}
    less = reached.changed("decisions", 0.49).changed("missed", 0.2)
    with pytest.raises(ParityError) as caught:
        parity.refused([(file, less)])
    assert str(caught.value).splitlines()[1:] == [
        "x-int8.tflite: decisions is 0.5, tolerance 0.49",
        "x-int8.tflite: missed is 0.25, tolerance 0.2",
    ]


def test_what_passes_is_not_held_up_by_what_does_not() -> None:
    good, bad = (
        Parity(f"x-{name}.onnx", "onnx", 400, 0.1, 0.001, n, 0, None) for name, n in (("a", 1), ("b", 90))
    )
    found = parity.refused([(good, TOLERANCES["int8"]), (bad, TOLERANCES["int8"])])
    assert found == {"x-b.onnx": ["x-b.onnx: decisions is 0.225, tolerance 0.03"]}


@pytest.mark.parametrize(
    ("slices", "differing"), [(20, 2), (36, 3), (100, 5), (399, 12), (400, 12), (5000, 150)]
)
def test_a_tolerance_knows_how_many_slices_there_are(slices: int, differing: int) -> None:
    def passes(count: int) -> bool:
        return Parity("x", "y", slices, 0, 0, count, 0, None).beyond(TOLERANCES["int8"]) == []

    assert (passes(differing), passes(differing + 1)) == (True, False)


@pytest.mark.parametrize(
    ("largest", "mean", "differing", "beyond"),
    [
        # falx-3, and calibrated on 16 slices; falx-1 not equalised, and not corrected either.
        (0.110, 0.0040, 8, []),
        (0.308, 0.0073, 9, []),
        (0.122, 0.0054, 14, ["decisions"]),
        (0.26, 0.0102, 24, ["mean", "decisions"]),
    ],
)
def test_int8_is_held_to_what_equalised_and_corrected_models_show(
    largest: float, mean: float, differing: int, beyond: list[str]
) -> None:
    result = Parity("x", "y", 400, largest, mean, differing, 0, 0.24, 0.003)
    assert [line.split()[1] for line in result.beyond(TOLERANCES["int8"])] == beyond


@pytest.mark.parametrize(
    ("measure", "value", "message"),
    [
        *(("mean", value, r"tolerance mean must be in 0\.\.1") for value in (-0.1, 1.5, math.nan)),
        ("worst", 0.1, "unknown measure 'worst'; known are largest, mean, decisions, missed, heatmap, "),
    ],
)
def test_a_tolerance_is_a_share_of_a_known_measure(measure: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TOLERANCES["int8"].changed(measure, value)
