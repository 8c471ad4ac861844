"""How many slices a second: a folder of files through one classifier, in one thread and in several.

    python -m benchmarks.throughput --out benchmarks/results/throughput-DATE.json

`predict_many` does with two workers what the threads of a program do that share the classifier and call
`predict`: four of them on two cores. The ways take turns, a block of files each, so that whatever else the
machine does falls on each alike. The bare loop of Pillow and LiteRT (`benchmarks.contenders`) decides the
same files one after the other, and once more in processes that share nothing: what they gain is what this
machine's processors allow. A ratio is the median over the blocks of the time with one worker over that of
the way, so more is faster; its interval is the 95 % bootstrap one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks import machine
from benchmarks.contenders import CONTENDERS, Decide, find
from benchmarks.latency import INTERVAL, RESAMPLES, add_model, slices

import falx

__all__ = ["Row", "main", "rows", "take_turns"]

PACKAGES: Final = ("falx", "numpy", "pillow", "ai-edge-litert")


@dataclass(frozen=True, slots=True)
class Row:
    """One way through the folder.

    Attributes:
        name: of it.
        times_one: how much faster than one worker, median over the blocks.
        low, high: the 95 % interval of that.
        slices_a_second: over all blocks.
    """

    name: str
    times_one: float
    low: float
    high: float
    slices_a_second: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    models = find(options.models, options.name)
    classifier = falx.load(models / f"{models.name}-int8.tflite")
    setting = {
        **machine.described(PACKAGES),
        "model": models.name,
        "files": options.files,
        "block": options.block,
    }

    def many(workers: int) -> Callable[[Sequence[Path]], None]:
        def run(files: Sequence[Path]) -> None:
            for result in classifier.predict_many(files, workers=workers):
                if result.error is not None:
                    raise result.error

        return run

    ways = {f"Falx, workers: {workers}": many(workers) for workers in (1, options.workers)}

    def calls(files: Sequence[Path]) -> None:
        with ThreadPoolExecutor(options.callers) as threads:
            list(threads.map(classifier.predict, files))

    ways[f"Falx, predict from {options.callers} threads"] = calls
    name = CONTENDERS["litert"].name
    _start(models)
    ways[name] = _decide
    with tempfile.TemporaryDirectory() as folder, _processes(models, options.workers) as in_processes:
        ways[f"{name}, in {options.workers} processes"] = in_processes
        files = slices(Path(folder), options.seed, options.files)
        blocks = [files[i : i + options.block] for i in range(0, len(files), options.block)]
        times = take_turns(ways, blocks)
    measured = rows(times, len(files), options.seed)
    print(_table(setting, measured))
    if options.out is not None:
        document = {**setting, "rows": [asdict(row) for row in measured]}
        machine.write(options.out, document)
    return 0


_bare: Decide | None = None
"""The bare loop of this process."""


def _start(models: Path) -> None:
    global _bare
    _bare = CONTENDERS["litert"].make(models, 1)


def _decide(files: Sequence[Path]) -> None:
    assert _bare is not None  # noqa: S101 - `_start` came first
    for file in files:
        _bare(file.read_bytes())


@contextmanager
def _processes(models: Path, count: int) -> Iterator[Callable[[Sequence[Path]], None]]:
    """Bare loops in processes that share nothing, each with every `count`-th file."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, initializer=_start, initargs=(models,)) as pool:

        def run(files: Sequence[Path]) -> None:
            list(pool.map(_decide, [files[first::count] for first in range(count)]))

        yield run


def take_turns(
    ways: Mapping[str, Callable[[Sequence[Path]], None]], blocks: Sequence[Sequence[Path]]
) -> dict[str, list[float]]:
    """Seconds of each block, by way; the first block once more before, to warm up.

    Args:
        ways: by name.
        blocks: of files.
    """
    for run in ways.values():
        run(blocks[0])
    times: dict[str, list[float]] = {name: [] for name in ways}
    for block in blocks:
        for name, run in ways.items():
            started = time.perf_counter()
            run(block)
            times[name].append(time.perf_counter() - started)
    return times


def rows(times: Mapping[str, Sequence[float]], files: int, seed: int) -> list[Row]:
    """The table; everything is compared with the first.

    Args:
        times: seconds of each block, by way.
        files: how many there are in all blocks.
        seed: of the bootstrap.
    """
    first = np.array(next(iter(times.values())))
    out = []
    for name, own in times.items():
        ratios = first / np.array(own)
        picks = np.random.default_rng(seed).integers(0, ratios.size, (RESAMPLES, ratios.size))
        low, high = np.percentile(np.median(ratios[picks], axis=1), INTERVAL)
        out.append(
            Row(
                name=name,
                times_one=round(float(np.median(ratios)), 3),
                low=round(float(low), 3),
                high=round(float(high), 3),
                slices_a_second=round(files / sum(own), 1),
            )
        )
    return out


def _table(setting: dict[str, Any], measured: Sequence[Row]) -> str:
    lines = machine.lines(setting)
    lines += ["", "| | times one worker | 95 % | slices a second |", "|---|---|---|---|"]
    lines += [
        f"| {r.name} | {r.times_one:.2f} | {r.low:.2f} to {r.high:.2f} | {r.slices_a_second:.0f} |"
        for r in measured
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    description = "Slices a second in one thread and in several. Run it on a quiet machine: about a minute."
    parser = argparse.ArgumentParser("benchmarks.throughput", description=description)
    add_model(parser)
    parser.add_argument("--files", type=int, default=2000, help="in the folder (2000)")
    parser.add_argument("--block", type=int, default=100, help="files a turn (100)")
    parser.add_argument("--workers", type=int, default=2, help="besides one (2)")
    parser.add_argument("--callers", type=int, default=4, help="threads that call predict (4)")
    parser.add_argument("--seed", type=int, default=7, help="of the noise in the slices (7)")
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
