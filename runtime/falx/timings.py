"""Where the time of an answer goes, for who asks: step by step, in milliseconds.

| step | what |
|---|---|
| `read` | opening the file and reading its bytes; 0 for what is in memory |
| `decode` | from the bytes, or what else was given, to one grey slice |
| `prepare` | from the slice to the tensor |
| `infer` | running the graph, and waiting for an engine where all are busy |
| `decide` | the checks before the graph and the thresholds behind it |

A picture that the checks reject was not prepared and not run, so that these two are 0.
"""

from __future__ import annotations

import io
import time
from dataclasses import asdict, dataclass
from typing import Any

from falx.words import STEPS

__all__ = ["Stopwatch", "TimedFile", "Timings"]


@dataclass(frozen=True, slots=True)
class Timings:
    """What each step took, in milliseconds; see the table of this module."""

    read_ms: float
    decode_ms: float
    prepare_ms: float
    infer_ms: float
    decide_ms: float

    def to_dict(self) -> dict[str, float]:
        """The steps as plain JSON values, in milliseconds to three places."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


class Stopwatch:
    """Runs from when it is made. Each moment counts for one step."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(STEPS, 0)
        self._last = time.perf_counter_ns()

    def lap(self, step: str) -> None:
        """Count the time since the last lap, or the beginning, for a step of `STEPS`."""
        now = time.perf_counter_ns()
        self._spent[step] += now - self._last
        self._last = now

    def timings(self) -> Timings:
        """What each step took until the last lap."""
        return Timings(**{f"{step}_ms": spent / 1e6 for step, spent in self._spent.items()})


class TimedFile(io.FileIO):
    """A file that counts for `read` what it takes to open and read it, and for `decode` what lies between."""

    def __init__(self, path: Any, watch: Stopwatch) -> None:
        super().__init__(path)
        self._watch = watch
        watch.lap("read")

    def readinto(self, buffer: Any, /) -> int | None:
        """Read into a buffer; see `io.RawIOBase.readinto`."""
        self._watch.lap("decode")
        count = super().readinto(buffer)
        self._watch.lap("read")
        return count

    def readall(self) -> bytes:
        """Read all that is left; see `io.RawIOBase.readall`."""
        self._watch.lap("decode")
        data = super().readall()
        self._watch.lap("read")
        return data
