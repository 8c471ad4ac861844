from __future__ import annotations

import math

import pytest

from falx import words


def test_the_words_are_those_of_the_design() -> None:
    assert words.LABELS == ("no_tumor", "meningioma", "glioma", "pituitary")
    assert words.LABELS[1:] == words.TUMOR_LABELS
    assert (*words.LABELS, "ambiguous", "rejected") == words.DECISIONS
    assert set(words.RECOMMENDATIONS) == set(words.DECISIONS)
    assert all(text.endswith(".") for text in words.RECOMMENDATIONS.values())
    assert "not a medical device" in words.DISCLAIMER


@pytest.mark.parametrize(
    ("confidence", "name"),
    [
        (1.0, "high"),
        (0.85, "high"),
        (math.nextafter(0.85, 0), "moderate"),
        (0.60, "moderate"),
        (math.nextafter(0.60, 0), "low"),
        (0.0, "low"),
    ],
)
def test_bands(confidence: float, name: str) -> None:
    assert words.band(confidence) == name


def test_one_slice_is_one() -> None:
    assert [words.counted(count) for count in (0, 1, 2)] == ["0 slices", "1 slice", "2 slices"]


@pytest.mark.parametrize(
    ("share", "digits", "shown"),
    [(0.976, 0, "98 %"), (0.976, 1, "97.6 %"), (1.0, 0, "100 %"), (0.0005, 1, "0.1 %")],
)
def test_a_share_is_a_percentage(share: float, digits: int, shown: str) -> None:
    assert words.percent(share, digits) == shown
