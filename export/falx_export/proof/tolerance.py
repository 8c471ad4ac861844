"""Limits to the difference of an exported file from Keras."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from scipy.stats import binom

__all__ = ["MEASURES", "TOLERANCES", "Tolerance"]

MEASURES: Final = """\
  largest      difference of any probability on any slice
  mean         of all these differences
  decisions    share of the slices whose decision differs
  missed       share of the slices that go from a tumour to no_tumor
  heatmap      difference of any cell of the heatmap on any slice
  familiarity  difference of the familiarity of any slice"""
"""What a tolerance bounds, for the help of a command."""


MEANT_FOR: Final = 400
"""The slices on which the tolerances were measured."""

PASSES: Final = 0.99
"""The share of exports on few slices that chance alone does not stop."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Limits to the difference of a file; each may be reached, not passed.

    Attributes:
        largest: difference of any probability on any slice, 0..1.
        mean: of all these differences.
        decisions: share of the slices whose decision differs.
        missed: share of the slices that go from a tumour to no_tumor.
        heatmap: difference of any cell of the heatmap on any slice; for models that make one.
        familiarity: difference of the familiarity of any slice; for models that say it.
    """

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
        """This tolerance with another value for one measure.

        Raises:
            ValueError: there is no such measure, or the value is not in 0..1.
        """
        known = [field.name for field in fields(self)]
        if measure not in known:
            raise ValueError(f"unknown measure {measure!r}; known are {', '.join(known)}")
        return replace(self, **{measure: value})


TOLERANCES: Final[Mapping[str, Tolerance]] = {
    "float32": Tolerance(
        largest=0.001, mean=0.0001, decisions=0.005, missed=0.0, heatmap=0.001, familiarity=0.001
    ),
    "float16": Tolerance(largest=0.1, mean=0.005, decisions=0.01, missed=0.0, heatmap=0.1, familiarity=0.1),
    "int8": Tolerance(largest=0.4, mean=0.009, decisions=0.03, missed=0.0, heatmap=0.6, familiarity=0.05),
}
"""By quantization. For int8, measured by the export on its 400 slices, harder than all of val, with
falx-3; and with falx-1, before its channels were equalised and before its biases were corrected
(docs/quantization.md, `falx_export.convert.to_tflite`):

| | largest | mean | decisions | heatmap |
|---|---|---|---|---|
| falx-3, both engines, weights of 8 bits | 0.11 | 0.0040 | 2.0 % | 0.24 |
| falx-4, LiteRT | 0.09 | 0.0037 | 1.0 % | 0.18 |
| falx-4, ONNX Runtime | 0.11 | 0.0049 | 2.3 % | 0.25 |
| the same, weights of 8 bits, on a processor without VNNI | 0.23 | 0.0077 | 3.8 % | 0.27 |
| calibrated on 16 slices, not 100; LiteRT | 0.10 | 0.0038 | 1.5 % | 0.19 |
| the same; ONNX Runtime, weights of 8 bits, without VNNI | 0.31 | 0.0073 | 2.3 % | 0.49 |
| falx-1, not equalised | 0.12 | 0.0054 | 3.5 % | |
| falx-1, not corrected either | 0.26 | 0.0102 | 6 % | |
| falx-5, LiteRT | 0.08 | 0.0046 | 2.0 % | 0.22 |
| falx-5, ONNX Runtime | 0.11 | 0.0050 | 3.0 % | 0.25 |

So 3 % and 0.009 let pass what is as good as falx-3, also calibrated on few slices (on ONNX Runtime measured
with 8 bits alone), and stop what lost equalisation or correction; a single slice or cell may be far off. (The
target is 0.5 % of decisions.) On ONNX Runtime falx-5 is at the limit: its threshold of `no_tumor` lies where
more slices do. Familiarity differed by 0.004 at most with falx-3, by 0.013 with falx-4, 0.012 with
falx-5."""
