"""Give Falx damaged files of every kind, and see that each ends in an answer or a documented error.

    python -m tests.fuzz --inputs 200000 --state runs/fuzz --out fuzz.json

Pictures, files of several slices, cards and models are mutated by Hypothesis and tried in a process of their
own: within 2 s of processor time and 500 MB for the whole process. What fails stays in the folder of
`--state`, as the input itself; `--replay TARGET SEED FILE` tries it again. Started again with the same
`--state`, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import figures
from tests.fuzz.targets import TARGETS

__all__ = ["batches", "main"]

ROOT: Final = Path(__file__).parents[2]

BATCH: Final = 500
"""Inputs from one file, which is how often progress is kept."""

PACKAGES: Final = ("falx", "numpy", "pillow", "pydicom", "ai-edge-litert", "onnxruntime", "hypothesis")
DONE: Final = "done.jsonl"
PER_SEED: Final = 1_000_000
"""Numbers of batches a seed has to itself: journals of several seeds may be put together."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fuzzer; returns 0 where nothing was found, else 1."""
    options = _parser().parse_args(arguments)
    if options.replay:
        target, seed, file = options.replay
        with tempfile.TemporaryDirectory() as folder:
            print(TARGETS[target].attempt(Path(file).read_bytes(), seed, Path(folder)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        state = Path(options.state or folder)
        state.mkdir(parents=True, exist_ok=True)
        results = _run(options, state)
    report = _report(results)
    print(json.dumps(report, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if report["findings"] else 0


def batches(inputs: int, seed: int) -> Iterator[dict[str, Any]]:
    """Gives what is to be tried: every file of a target in turn, as many inputs as are its share."""
    for name, target in TARGETS.items():
        files = target.seeds()
        if not files:  # what reads them is not installed
            continue
        wanted = inputs * target.share // 100
        size = min(BATCH, max(1, wanted // len(files)))
        for number in range(-(-wanted // size)):
            count = min(size, wanted - number * size)
            file = files[number % len(files)]
            yield {"target": name, "seed": file, "count": count, "random": seed * PER_SEED + number}


def _run(options: argparse.Namespace, state: Path) -> list[dict[str, Any]]:
    journal = state / DONE
    results = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    known = {json.dumps(result["batch"]) for result in results}
    todo = [b for b in batches(options.inputs, options.seed) if json.dumps(b) not in known]
    worker: subprocess.Popen[str] | None = None
    with journal.open("a") as out, (state / "worker.log").open("a") as log:
        for batch in todo:
            if worker is None:
                command = [sys.executable, "-m", "tests.fuzz.worker", str(state)]
                worker = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
                )
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(json.dumps(batch) + "\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            if line:
                result = json.loads(line)
            else:
                # It died, or killed itself because an input took too long; that input is still there.
                status = worker.wait()
                kept = state / f"died-{batch['target']}-{batch['random']}"
                (state / "current").rename(kept)
                result = {"batch": batch, "tried": 0, "outcomes": {}, "slowest_s": 0.0, "peak_mb": 0.0}
                result["findings"] = {f"the process ended with status {status}": [1, kept.name]}
                worker = None
            results.append(result)
            out.write(json.dumps(result) + "\n")
            out.flush()
    if worker is not None:
        worker.communicate()
    return results


def _report(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    targets: dict[str, Any] = {}
    findings: dict[str, Any] = {}
    for name in TARGETS:
        own = [result for result in results if result["batch"]["target"] == name]
        outcomes: Counter[str] = Counter()
        for result in own:
            outcomes.update(result["outcomes"])
            for finding, (times, file) in result["findings"].items():
                before = findings.get(finding, [0, file])
                findings[finding] = [before[0] + times, before[1]]
        targets[name] = {
            "files": len({result["batch"]["seed"] for result in own}),
            "inputs": sum(result["tried"] for result in own),
            "outcomes": dict(outcomes.most_common()),
            "slowest_s": max((result["slowest_s"] for result in own), default=0),
            "peak_mb": max((result["peak_mb"] for result in own), default=0),
        }
    return {
        **figures.machine(PACKAGES),
        "seeds": sorted({result["batch"]["random"] // PER_SEED for result in results}),
        "inputs": sum(target["inputs"] for target in targets.values()),
        "targets": targets,
        "findings": findings,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tests.fuzz", description="Damaged files: an answer, or a documented error."
    )
    parser.add_argument("--inputs", type=int, default=200_000, help="in total (200000)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (1)")
    parser.add_argument("--state", metavar="DIR", help="keeps progress and findings, and is gone on with")
    parser.add_argument("--out", type=Path, metavar="JSON", help="also write the report here")
    parser.add_argument("--replay", nargs=3, metavar=("TARGET", "SEED", "FILE"), help="try one input only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
