"""Measures what Dask costs a slice: `examples/archive/classify.py` against `predict_many` in one process.

    python -m benchmarks.archive --data ../shared/data --out benchmarks/results/archive-DATE.json

The archive is every slice of the manifest, over and over until there are enough. `predict_many` classifies
the first of them in this process, with as many workers, before the archive is run and after, so that a
machine that grows slower or faster is seen; each of its answers must stand in the archive's files, at its
place. The archive's time is that of the whole command: processes started, model loaded, answers written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, Final

from benchmarks import figures

import falx
from falx_runs.manifest import read_records

EXAMPLE: Final = figures.CHECKOUT / "examples" / "archive" / "classify.py"
PACKAGES: Final = ("falx", "numpy", "pillow", "ai-edge-litert", "distributed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = figures.parser("benchmarks.archive", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="a manifest, or its folder")
    parser.add_argument("--slices", type=int, default=100_000, help="in the archive (100000)")
    parser.add_argument("--first", type=int, default=10_000, help="of them through predict_many too (10000)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="of both (all cores)")
    parser.add_argument("--part", type=int, default=1000, help="slices a file of answers (1000)")
    options = parser.parse_args(arguments)
    paths = listed(options.data, options.slices)
    first = paths[: options.first]
    classifier = falx.load()
    setting = {**figures.machine(PACKAGES), "model": classifier.model.to_dict(), "part": options.part}
    before, wanted = _many(classifier, first, options.workers)
    with tempfile.TemporaryDirectory() as folder:
        seconds, answers = _archive(paths, Path(folder), options.workers, options.part)
    after, _ = _many(classifier, first, options.workers)
    if len(answers) != len(paths):
        sys.exit(f"the archive has {len(answers)} answers for {len(paths)} slices")
    if [answer["path"] for answer in answers] != paths:
        sys.exit("the archive's answers are not in the order of the slices")
    differing = sum(_decided(mine) != _decided(theirs) for mine, theirs in zip(wanted, answers, strict=False))
    alone, archive = 1000 * (before + after) / (2 * len(first)), 1000 * seconds / len(paths)
    row = {
        "slices": len(paths),
        "workers": options.workers,
        "first": len(first),
        "before_s": round(before, 1),
        "after_s": round(after, 1),
        "archive_s": round(seconds, 1),
        "predict_many_ms_a_slice": round(alone, 3),
        "archive_ms_a_slice": round(archive, 3),
        "overhead_ms_a_slice": round(archive - alone, 3),
        "times_predict_many": round(archive / alone, 3),
        "differing": differing,
    }
    figures.tell(setting, [row], options.out)
    return 1 if differing else 0


def listed(data: Path, count: int) -> list[str]:
    """Returns whole paths of so many slices of a manifest, over and over."""
    return list(islice(cycle(str(record.path.resolve()) for record in read_records(data)), count))


def _many(
    classifier: falx.Classifier, paths: Sequence[str], workers: int
) -> tuple[float, list[dict[str, Any]]]:
    """Returns the seconds that slices take through `predict_many`, and its answers."""
    started = time.perf_counter()
    answers = [result.to_dict() for result in classifier.predict_many(paths, workers=workers)]
    return time.perf_counter() - started, answers


def _archive(paths: Sequence[str], work: Path, workers: int, part: int) -> tuple[float, list[dict[str, Any]]]:
    """Returns the seconds that slices take through the example, and its answers in order."""
    written, out = work / "list.txt", work / "answers"
    written.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8", errors="surrogateescape")
    command = [sys.executable, str(EXAMPLE), str(written), str(out)]
    command += ["--workers", str(workers), "--part", str(part)]
    started = time.perf_counter()
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - this Python, the example
    seconds = time.perf_counter() - started
    if done.returncode not in (0, 1):  # 1 where a slice could not be read
        sys.exit(f"{EXAMPLE.name}: ended with status {done.returncode}")
    lines = chain.from_iterable(
        file.read_text(encoding="utf-8").splitlines() for file in sorted(out.glob("part-*.jsonl"))
    )
    return seconds, [json.loads(line) for line in lines]


def _decided(answer: dict[str, Any]) -> tuple[Any, Any]:
    return answer.get("decision"), answer.get("probabilities")


if __name__ == "__main__":
    sys.exit(main())
