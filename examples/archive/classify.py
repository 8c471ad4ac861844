"""Classifies the slices of an archive on Dask, on this machine or a cluster, and goes on where it stopped.

    python classify.py LIST OUT [--workers 8 | --scheduler tcp://HOST:8786] [--model FILE]

LIST is a text file with the whole path of a slice a line, as `find "$PWD/scans" -type f` prints it. OUT is
a folder: each part of the list becomes one file of JSON lines there, the lines of `falx predict --json`. A
part is there whole or not at all, so run the same command again after whatever stopped it: parts that are
there are left alone. One run at a time may write to a folder. Every worker is a process with one model and
one thread. docs/archive.md tells the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, WorkerPlugin, as_completed, get_worker

import falx
from falx.words import DISCLAIMER

IN_FLIGHT = 3
"""Parts a worker that are sent out at a time: one at work, the others so that it never waits."""

RETRIES = 2
"""How often a part whose worker was lost is given to another."""


class Model(WorkerPlugin):
    """What a worker sets up once: the model, for all its parts."""

    name = "falx"

    def __init__(self, path: str | None, sha256: str) -> None:
        self.path = path
        self.sha256 = sha256

    def setup(self, worker: Any) -> None:
        """Load the model into a worker; that it is the same on every machine is checked."""
        classifier = falx.load(self.path)
        if classifier.model.sha256 != self.sha256:
            raise ValueError(
                f"the model on this worker has SHA-256 {classifier.model.sha256}, expected {self.sha256}: "
                "install the same Falx, and give every machine the same --model"
            )
        worker.falx = classifier


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit status is 0 if every slice was read, 1 if some were not."""
    options = parser().parse_args(arguments)
    sha256 = falx.load(options.model).model.sha256
    out: Path = options.out
    todo, done = prepare(options.list, out, options.part, sha256)
    if done:
        print(f"{done} parts are there already", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        if options.scheduler is None:
            # Reached from this machine only; without a page of its own.
            cluster = stack.enter_context(
                LocalCluster(n_workers=options.workers, threads_per_worker=1, dashboard_address=None)
            )
            client = stack.enter_context(Client(cluster))
        else:
            client = stack.enter_context(Client(options.scheduler))
        client.register_plugin(Model(options.model, sha256))
        parts = (
            client.submit(classify, paths, str(out / name), key=f"{name}-{os.getpid()}", retries=RETRIES)
            for name, paths in todo
        )
        # An archive has more parts than a scheduler should hold: the next is sent when one is done.
        at_work = as_completed(islice(parts, IN_FLIGHT * len(client.nthreads())))
        for finished, part in enumerate(at_work, start=1):
            part.result()
            for following in islice(parts, 1):
                at_work.add(following)
            print(f"\r{done + finished} parts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    counts = summary(out)
    for decision, count in counts.most_common():
        print(f"{decision}: {count}")
    print(DISCLAIMER, file=sys.stderr)
    return 1 if counts["error"] else 0


def classify(paths: Sequence[str], target: str) -> None:
    """Classify a part on a worker, and write its file.

    Args:
        paths: of the slices, seen by every worker alike.
        target: the file.
    """
    classifier = get_worker().falx
    # Another worker may be at the same part, if this one was taken for lost: each writes a file of its own.
    unfinished = Path(f"{target}.{os.uname().nodename}-{os.getpid()}.unfinished")
    with unfinished.open("w", encoding="utf-8") as lines:
        for result in classifier.predict_many(paths):
            lines.write(json.dumps(result.to_dict()) + "\n")
        lines.flush()
        os.fsync(lines.fileno())
    unfinished.replace(target)


def prepare(listed: Path, out: Path, size: int, sha256: str) -> tuple[Iterator[tuple[str, list[str]]], int]:
    """What is still to be done: names of parts with their paths, and how many parts are there already.

    The folder remembers what it was begun with: other slices, parts or another model are refused.
    """
    with listed.open("rb") as opened:
        begun = {"list": hashlib.file_digest(opened, "sha256").hexdigest(), "part": size, "model": sha256}
    out.mkdir(parents=True, exist_ok=True)
    remembered = out / "archive.json"
    if remembered.exists():
        before = json.loads(remembered.read_text(encoding="utf-8"))
        differing = [name for name in begun if before.get(name) != begun[name]]
        if differing:
            sys.exit(f"{out}: begun with another {' and '.join(differing)}; give another folder")
    elif any(out.iterdir()):
        sys.exit(f"{out}: holds something else; give a new or empty folder")
    else:
        unfinished = out / "archive.json.unfinished"
        unfinished.write_text(json.dumps(begun) + "\n", encoding="utf-8")
        unfinished.replace(remembered)
    for left in out.glob("part-*.unfinished"):
        left.unlink()
    there = {path.name for path in out.glob("part-*.jsonl")}
    return ((name, paths) for name, paths in parts_of(listed, size) if name not in there), len(there)


def parts_of(listed: Path, size: int) -> Iterator[tuple[str, list[str]]]:
    """The list in parts, in its order; never all of it in memory."""
    with listed.open(encoding="utf-8", errors="surrogateescape") as lines:
        paths = (line.rstrip("\n") for line in lines)
        number = 0
        while part := list(islice(paths, size)):
            yield f"part-{number:07}.jsonl", part
            number += 1


def summary(out: Path) -> Counter[str]:
    """How often each decision was made; `error` counts what could not be read."""
    counts: Counter[str] = Counter()
    for path in sorted(out.glob("part-*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            counts.update(json.loads(line).get("decision", "error") for line in lines)
    return counts


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        description="Classifies the slices of an archive on Dask.", epilog=DISCLAIMER
    )
    made.add_argument("list", type=Path, metavar="LIST", help="a text file, the path of a slice a line")
    made.add_argument("out", type=Path, metavar="OUT", help="a folder, new or of the run that stopped")
    made.add_argument("--part", type=int, default=1000, metavar="N", help="slices a file of OUT (1000)")
    made.add_argument(
        "--workers", type=int, default=os.cpu_count(), metavar="N", help="processes (all cores)"
    )
    made.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, in place of --workers")
    made.add_argument("--model", metavar="FILE", help=".tflite or .onnx file (default: the one in Falx)")
    return made


if __name__ == "__main__":
    sys.exit(main())
