"""Numbers as people read them, the same in the page, in the tables and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from falx import words

NONE: Final = "–"
"""This stands where there is nothing to measure."""

NAMES: Final = {
    "no_tumor": "no tumour",
    "meningioma": "meningioma",
    "glioma": "glioma",
    "pituitary": "pituitary tumour",
    "tumor_untyped": "tumour, type unknown",
    "tumor": "any tumour",
    "ambiguous": "ambiguous",
    "rejected": "rejected",
}
"""Labels and decisions in words."""


SPACE: Final = "\N{NO-BREAK SPACE}"

CEILINGS: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def ceiling(share: float) -> float:
    """Returns where the scale of a plot ends that shows shares up to this one."""
    return next(end for end in CEILINGS if share <= end)


def percent(share: float | Sequence[float] | None) -> str:
    """Returns a share, or an interval's value, with one decimal."""
    value = _value(share)
    return NONE if value is None else words.percent(value, space=SPACE)


def percent_range(interval: Sequence[float] | None) -> str:
    """Returns the ends of an interval of shares."""
    return "" if interval is None else f"{interval[1] * 100:.1f}–{words.percent(interval[2], space=SPACE)}"


def decimal(number: float | Sequence[float] | None) -> str:
    """Returns a number, or an interval's value, with three decimals."""
    value = _value(number)
    return NONE if value is None else f"{value:.3f}"


def decimal_range(interval: Sequence[float] | None) -> str:
    """Returns the ends of an interval."""
    return "" if interval is None else f"{interval[1]:.3f}–{interval[2]:.3f}"


def signed(value: float | None, decimals: int, factor: float = 1) -> str:
    """Returns a difference with its sign, as minus and not as hyphen."""
    if value is None:
        return NONE
    return f"{value * factor:+.{decimals}f}".replace("-", "−")


def _value(number: float | Sequence[float] | None) -> float | None:
    return number if number is None or isinstance(number, float | int) else number[0]
