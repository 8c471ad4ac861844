"""The time of an answer, step by step, in milliseconds.

| step | from and to |
|---|---|
| `read` | from what was given to one grey slice that may show a head |
| `prepare` | from the slice to the tensor |
| `infer` | running the graph, and waiting for an engine where all are busy |
| `decide` | from the probabilities to the decision |

A picture that is rejected before the model was only read: the other steps are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

__all__ = ["Timings"]


@dataclass(frozen=True, slots=True)
class Timings:
    """The time that each step took, in milliseconds; see the table of this module."""

    read_ms: float
    prepare_ms: float = 0.0
    infer_ms: float = 0.0
    decide_ms: float = 0.0

    @classmethod
    def between(cls, moments_ns: Sequence[int]) -> Timings:
        """Returns the timings between moments of one clock, in nanoseconds; a step not taken is 0."""
        return cls(*((now - last) / 1e6 for last, now in pairwise(moments_ns)))

    def to_dict(self) -> dict[str, float]:
        """Returns the steps as plain JSON values, in milliseconds to three places."""
        return {name: round(value, 3) for name, value in asdict(self).items()}
