"""How much memory many predictions take: after the first thousand, and at the end.

    python -m benchmarks.soak --predictions 200000 --out soak.json

One classifier, one thread, one small JPEG after another. What the process holds is read from the system
(`VmRSS` of /proc, so Linux only) at every hundredth part; the report is written each time, so that a run
that is ended early says how far it came.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks import machine
from PIL import Image

import falx
from falx import phantom

__all__ = ["main", "soak"]

FIRST: Final = 1000
"""Predictions before memory is counted: everything has been loaded, and every cache is warm."""

PARTS: Final = 100
SLICES: Final = 32
SIDE: Final = 128
"""Height and width of a slice, in pixels."""

PACKAGES: Final = ("falx", "numpy", "pillow", "ai-edge-litert", "onnxruntime")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    parser = argparse.ArgumentParser("benchmarks.soak", description="Memory over many predictions.")
    parser.add_argument("--predictions", type=int, default=200_000, help="in total (200000)")
    parser.add_argument("--model", help=".tflite or .onnx (the one in Falx)")
    parser.add_argument("--out", type=Path, metavar="JSON", help="also write the report here, as it grows")
    options = parser.parse_args(arguments)
    if options.predictions <= FIRST:
        parser.error(f"--predictions: expected more than {FIRST}, got {options.predictions}")
    classifier = falx.load(options.model)
    setting = {
        **machine.described(PACKAGES),
        "model": classifier.model.to_dict(),
        "engine": classifier.engine,
        "slice": f"phantom, {SIDE} x {SIDE}, JPEG, {SLICES} different",
    }

    def keep(report: dict[str, Any]) -> None:
        if options.out is not None:
            machine.write(options.out, {**setting, **report})

    report = soak(classifier, options.predictions, keep)
    print(json.dumps({**setting, **report}, indent=1))
    return 0


def soak(
    classifier: falx.Classifier, predictions: int, keep: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """Predict many times, and tell what memory did.

    Args:
        classifier: what predicts.
        predictions: how many times, more than `FIRST`.
        keep: is given the report as it is so far.

    Returns:
        `predictions` made, `seconds`, resident memory in MB after the first thousand and at the end, what it
        grew by, and `curve`, pairs of predictions made and MB.
    """
    slices = _slices()
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


def _slices() -> list[bytes]:
    head = np.asarray(Image.fromarray(phantom.lesion()).resize((SIDE, SIDE)), np.float64)
    random = np.random.default_rng(1)
    slices = []
    for _ in range(SLICES):
        noisy = np.where(head > 0, head + random.normal(0, 4, head.shape), 0).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
        slices.append(buffer.getvalue())
    return slices


if __name__ == "__main__":
    sys.exit(main())
