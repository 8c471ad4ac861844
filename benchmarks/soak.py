"""Measures how much memory many predictions take: after the first thousand, and at the end.

    python -m benchmarks.soak --predictions 200000 --out soak.json

One classifier, one thread, one small JPEG after another. What the process holds is read from the system
(`VmRSS` of /proc, so Linux only) at every hundredth part; the report is written each time, so that a run
that is ended early says how far it came.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import figures, turns

import falx

FIRST: Final = 1000
"""Predictions before memory is counted: everything has been loaded, and every cache is warm."""

PARTS: Final = 100
SLICES: Final = 32
SIDE: Final = 128
"""Height and width of a slice, in pixels."""

PACKAGES: Final = ("falx", "numpy", "pillow", "ai-edge-litert", "onnxruntime")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = figures.parser("benchmarks.soak", __doc__)
    parser.add_argument("--predictions", type=int, default=200_000, help="in total (200000)")
    parser.add_argument("--model", help=".tflite or .onnx (the one in Falx)")
    options = parser.parse_args(arguments)
    if options.predictions <= FIRST:
        parser.error(f"--predictions: expected more than {FIRST}, got {options.predictions}")
    classifier = falx.load(options.model)
    setting = {
        **figures.machine(PACKAGES),
        "model": classifier.model.to_dict(),
        "engine": classifier.engine,
        "slice": f"phantom, {SIDE} x {SIDE}, JPEG, {SLICES} different",
    }

    def keep(report: dict[str, Any]) -> None:
        if options.out is not None:
            figures.write(options.out, {**setting, **report})

    report = soak(classifier, options.predictions, keep)
    print("\n".join(figures.lines({**setting, **report})))
    return 0


def soak(
    classifier: falx.Classifier, predictions: int, keep: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """Predicts many times, more than `FIRST`, and watches the memory of this process; `keep` is given the
    report as it is so far.

    The report has the `predictions` made, `seconds`, resident memory in MB after the first thousand and at
    the end, what it grew by, and `curve`, pairs of predictions made and MB.
    """
    with tempfile.TemporaryDirectory() as folder:
        slices = [path.read_bytes() for path in turns.slices(Path(folder), 1, SLICES, SIDE)]
    started = time.perf_counter()
    first, report = 0.0, {}
    curve: list[tuple[int, float]] = []
    for number in range(1, predictions + 1):
        classifier.predict(slices[number % SLICES])
        if number == FIRST:
            first = _resident_mb()
        if number > FIRST and (number % max(1, predictions // PARTS) == 0 or number == predictions):
            curve.append((number, _resident_mb()))
            report = {
                "predictions": number,
                "seconds": round(time.perf_counter() - started, 1),
                "mb_after_1000": first,
                "mb_at_the_end": curve[-1][1],
                "growth_mb": round(curve[-1][1] - first, 2),
                "curve": curve,
            }
            keep(report)
    return report


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 2)


if __name__ == "__main__":
    sys.exit(main())
