"""Limits to the difference of an exported file from Keras."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from scipy.stats import binom

MEASURES: Final = """\
  largest      difference of any probability on any slice
  mean         of all these differences
  decisions    share of the slices whose decision differs
  missed       share of the slices that go from a tumour to no_tumor
  heatmap      difference of any cell of the heatmap on any slice
  familiarity  difference of the familiarity of any slice, and of no_brain"""
"""The measures that a tolerance bounds, for the help of a command."""


MEANT_FOR: Final = 400
"""The slices on which the tolerances were measured."""

PASSES: Final = 0.99
"""The share of exports on few slices that chance alone does not stop."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Limits to the difference of a file, 0..1, which may be reached; `MEASURES` says what they are."""

    largest: float
    mean: float
    decisions: float
    missed: float
    heatmap: float
    familiarity: float = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or not 0 <= value <= 1:
                raise ValueError(f"tolerance {field.name} must be in 0..1, got {value}")

    def among(self, slices: int) -> Tolerance:
        """Returns this tolerance for a number of slices; from `MEANT_FOR` on, it is the same.

        On fewer slices chance moves the share of decisions that differ. A file at half of the tolerance in
        the long run, as falx-3 to falx-5 were, still passes 99 of 100 times (a binomial quantile).
        """
        if slices >= MEANT_FOR:
            return self
        chance = float(binom.ppf(PASSES, slices, self.decisions / 2)) / slices
        return replace(self, decisions=max(self.decisions, chance))

    def changed(self, measure: str, value: float) -> Tolerance:
        """Returns this tolerance with another value for one measure."""
        known = [field.name for field in fields(self)]
        if measure not in known:
            raise ValueError(f"unknown measure {measure!r}; known are {', '.join(known)}")
        return replace(self, **{measure: value})


TOLERANCES: Final[Mapping[str, Tolerance]] = {
    "float32": Tolerance(
        largest=0.001, mean=0.0001, decisions=0.005, missed=0.0, heatmap=0.001, familiarity=0.001
    ),
    "float16": Tolerance(largest=0.1, mean=0.005, decisions=0.01, missed=0.0, heatmap=0.1, familiarity=0.1),
    "int8": Tolerance(largest=0.4, mean=0.009, decisions=0.03, missed=0.0, heatmap=0.6, familiarity=0.2),
}
"""Tolerances by quantization.

That of int8 lets pass what is as good as falx-3 to falx-5 were on the export's 400 slices, which are harder
than all of val (mean 0.004 to 0.005, 1 to 3 % of decisions; 0.0073 calibrated on 16 slices), and stops what
lost equalisation or correction of biases (falx-1: 3.5 % and 6 %). A single slice or cell may be far off;
a model of few slices is less sure of what it sees (165 slices: familiarity 0.08, and no decision differs).
docs/quantization.md has the measurements.
"""
