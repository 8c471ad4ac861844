"""Measures reading: the time of a study, and of gathering headers.

    python -m benchmarks.reading --out reading.json

- `study`: processor time from the folder to the decision, 200 slices of 512 x 512 in 16 bits (DICOM), two
  workers. The promise: at most 4 s. Beside it stands the time on the clock, which a busy machine draws out.
- `gather`: processor time of reading the headers of 5,000 files and putting them in order, beside a bare loop
  of pydicom that reads the same tags of the same files, and their values. The promise: at most 1.2 times.

The exit status is 0 where each promise was kept, 1 where one was broken.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pydicom
from benchmarks import figures
from benchmarks.workstation import write_study

import falx
from falx.reading import tags
from falx.reading.series import gather

PROMISES: Final = {"study": 4.0, "gather": 1.2}
PACKAGES: Final = ("falx", "numpy", "pydicom")
SLICES: Final = 200
HEADERS: Final = 5_000
LAPS: Final = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; see the module."""
    options = figures.parser("benchmarks.reading", __doc__).parse_args(arguments)
    setting = figures.machine(PACKAGES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [_study(folder), _gather(folder)]
    figures.tell(setting, rows, options.out)
    return int(any(row["measured"] > row["promised"] for row in rows))


def _row(what: str, measured: float, unit: str) -> figures.Row:
    return {"what": what, "measured": round(measured, 2), "unit": unit, "promised": PROMISES[what]}


def _study(folder: Path) -> figures.Row:
    """Measures the time of a study from a folder to its decision."""
    write_study(folder / "study", SLICES)
    classifier = falx.load()
    times = []
    for _ in range(LAPS):
        started, used = time.perf_counter(), time.process_time()
        classifier.predict_study(folder / "study", workers=2)
        times.append((time.perf_counter() - started, time.process_time() - used))
    seconds, used = map(min, zip(*times, strict=True))
    return _row("study", used, f"s of the processor, {seconds:.2f} s on the clock")


def _gather(folder: Path) -> figures.Row:
    """Measures gathering beside a bare loop, in turns, so that a busy machine slows both."""
    _, paths = write_study(folder / "headers", HEADERS, side=64)

    def bare() -> None:
        for path in paths:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags.TAGS))
            for element in header:
                element.value  # noqa: B018 - pydicom converts a value when it is asked for

    def ours() -> None:
        gather(os.fspath(folder / "headers"))

    bare()
    ours()
    laps = [(_seconds(bare), _seconds(ours)) for _ in range(LAPS)]
    return _row(
        "gather", min(mine for _, mine in laps) / min(rival for rival, _ in laps), "times a bare loop"
    )


def _seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
