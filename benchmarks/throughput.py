"""Measures how many slices a second: a folder of files through one classifier, in one thread and in several.

    python -m benchmarks.throughput --out benchmarks/results/throughput-DATE.json

`predict_many` does with two workers what the threads of a program do that share the classifier and call
`predict`: four of them on two cores. The ways take turns, a block of files each. The bare loop of Pillow and
LiteRT (`benchmarks.contenders`) decides the same files one after the other, and once more in processes that
share nothing: what they gain is what this machine's processors allow. A ratio is the median over the blocks
of the time with one worker over that of the way, so more is faster; its interval is the 95 % bootstrap one.
Takes about a minute on a quiet machine.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import figures, turns
from benchmarks.contenders import CONTENDERS, Decide

import falx

PACKAGES: Final = ("falx", "numpy", "pillow", "ai-edge-litert")

Way = Callable[[Sequence[Path]], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = figures.parser("benchmarks.throughput", __doc__)
    figures.add_model(parser)
    parser.add_argument("--files", type=int, default=2000, help="in the folder (2000)")
    parser.add_argument("--block", type=int, default=100, help="files a turn (100)")
    parser.add_argument("--workers", type=int, default=2, help="besides one (2)")
    parser.add_argument("--callers", type=int, default=4, help="threads that call predict (4)")
    parser.add_argument("--seed", type=int, default=7, help="of the noise in the slices (7)")
    options = parser.parse_args(arguments)
    models = figures.released(options)
    classifier = falx.load(models / f"{models.name}-int8.tflite")
    setting = {**figures.machine(PACKAGES), "model": models.name}
    setting |= {"files": options.files, "block": options.block}

    def many(workers: int) -> Way:
        def run(files: Sequence[Path]) -> None:
            for result in classifier.predict_many(files, workers=workers):
                if isinstance(result, falx.Failure):
                    raise result.error

        return run

    def calls(files: Sequence[Path]) -> None:
        with ThreadPoolExecutor(options.callers) as threads:
            list(threads.map(classifier.predict, files))

    ways = {f"Falx, workers: {workers}": many(workers) for workers in (1, options.workers)}
    ways[f"Falx, predict from {options.callers} threads"] = calls
    name = CONTENDERS["litert"].name
    _start(models)
    ways[name] = _decide
    with tempfile.TemporaryDirectory() as folder, _processes(models, options.workers) as in_processes:
        ways[f"{name}, in {options.workers} processes"] = in_processes
        files = turns.slices(Path(folder), options.seed, options.files)
        blocks = [files[i : i + options.block] for i in range(0, len(files), options.block)]
        for run in ways.values():
            run(blocks[0])  # warm up
        times = turns.take_turns({name: _timed(run) for name, run in ways.items()}, blocks)
    figures.tell(setting, rows(times, len(files), options.seed), options.out)
    return 0


def rows(times: Mapping[str, turns.Times], files: int, seed: int) -> list[figures.Row]:
    """Returns a row a way, by the seconds of each block of files; each beside the first."""
    faster = turns.ratios({name: 1 / own for name, own in times.items()}, seed)
    return [
        {
            "name": name,
            "times_one": ratio.ratio,
            "low": ratio.low,
            "high": ratio.high,
            "slices_a_second": round(files / float(times[name].sum()), 1),
        }
        for name, ratio in faster.items()
    ]


def _timed(run: Way) -> Callable[[Sequence[Path]], float]:
    def timed(files: Sequence[Path]) -> float:
        started = time.perf_counter()
        run(files)
        return time.perf_counter() - started

    return timed


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
def _processes(models: Path, count: int) -> Iterator[Way]:
    """Makes bare loops in processes that share nothing, each with every `count`-th file."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, initializer=_start, initargs=(models,)) as pool:

        def run(files: Sequence[Path]) -> None:
            list(pool.map(_decide, [files[first::count] for first in range(count)]))

        yield run


if __name__ == "__main__":
    sys.exit(main())
