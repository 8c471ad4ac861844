"""Measures from the start of a process to its first printed decision, with memory and what it takes on disk.

    python -m benchmarks.startup --out benchmarks/results/startup-DATE.json

Each way is a new process that decides one slice; they take turns. Ratios are to `python -c "import numpy,
PIL.Image"`, which every one of them needs: the median over the rounds. Peak memory is what the system counts
of the process alone. On disk are the distributions with all that they require, as they are installed here.
Python may write its compiled modules, as it does for everybody; the first start, which does, is not counted.
Takes about three minutes on a quiet machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from benchmarks import figures, turns
from benchmarks.contenders import BESIDE, CONTENDERS
from benchmarks.latency import PACKAGES

import falx

REFERENCE: Final = 'python -c "import numpy, PIL.Image"'
FALX: Final = "falx predict"
SLOW: Final = 8
"""A way that takes this many times as long as the reference starts in every fourth round only."""

LAUNCHER: Final = """
import json, os, sys, time
started = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(process, 0)
spent = time.perf_counter() - started
print(json.dumps([os.waitstatus_to_exitcode(status), spent * 1e3, usage.ru_maxrss / 1024]))
"""
"""Starts a process and says how it ended. It is small, for the peak of a process counts its parent's too."""


class Run(NamedTuple):
    """One process: its time from start to end, in milliseconds, and its peak memory, in MiB."""

    ms: float
    peak_mib: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = figures.parser("benchmarks.startup", __doc__)
    figures.add_model(parser)
    parser.add_argument("--rounds", type=int, default=20, help="counted starts of each (20)")
    parser.add_argument("--seed", type=int, default=7, help="of the noise in the slice (7)")
    parser.add_argument("--without", nargs="+", default=[], choices=list(CONTENDERS)[1:], help="leave out")
    options = parser.parse_args(arguments)
    models = figures.released(options)
    missing: list[str] = []
    setting = {**figures.machine(PACKAGES), "model": models.name, "rounds": options.rounds}
    disk: dict[str, float | None] = {REFERENCE: None}
    with tempfile.TemporaryDirectory() as folder:
        (file,) = turns.slices(Path(folder), options.seed, 1)
        commands = {REFERENCE: [sys.executable, "-c", "import numpy, PIL.Image"]}
        for key, contender in CONTENDERS.items():
            if key in (BESIDE, *options.without):  # another model starts as this one does
                continue
            name, command = contender.name, ["benchmarks.contenders", key, str(file), "--models", str(models)]
            if key == "falx":
                name, command = FALX, ["falx", "predict", str(file)]
            try:
                # As a checkout, Falx has no distribution's files.
                own = [Path(falx.__file__).parent] if key.startswith("falx") else []
                disk[name] = installed_mb(contender.packages, own)
            except metadata.PackageNotFoundError as error:
                missing.append(f"{name}: {error.name} is not installed; {contender.needs}")
                continue
            commands[name] = [sys.executable, "-m", *command]
        first = {name: start(command) for name, command in commands.items()}
        missing += [f"{name}: ended with an error" for name, run in first.items() if run is None]
        ran = {name: run for name, run in first.items() if run is not None}
        slow = {name for name, run in ran.items() if run.ms > SLOW * ran[REFERENCE].ms}
        runs: dict[str, list[Run | None]] = {name: [] for name in ran}
        for number in range(options.rounds):
            for name, found in runs.items():
                found.append(None if name in slow and number % 4 else start(commands[name]))
    figures.tell({**setting, "missing": missing}, rows(runs, disk, options.seed), options.out)
    return 0


def start(command: Sequence[str]) -> Run | None:
    """Runs a command to its end; returns None where it ended with an error."""
    # Compiled modules are written by everybody's Python unless somebody forbade it.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    launcher = [sys.executable, "-S", "-c", LAUNCHER, *command]
    out = subprocess.run(launcher, env=variables, capture_output=True, check=True, text=True).stdout  # noqa: S603
    status, ms, peak_mib = json.loads(out)
    return Run(ms, peak_mib) if status == 0 else None


def rows(
    runs: Mapping[str, Sequence[Run | None]], disk: Mapping[str, float | None], seed: int
) -> list[figures.Row]:
    """Returns a row a way, beside the first: its runs (None: it took no part), and what it takes on disk."""
    times = {name: np.array([np.nan if run is None else run.ms for run in own]) for name, own in runs.items()}
    memory = {
        name: float(np.median([run.peak_mib for run in own if run is not None])) for name, own in runs.items()
    }
    least = next(iter(memory.values()))
    return [
        {
            "name": name,
            **ratio._asdict(),
            "p50_ms": round(float(np.nanmedian(times[name])), 1),
            "over_mib": round(memory[name] - least, 1),
            "peak_mib": round(memory[name], 1),
            "disk_mb": disk[name],
            "rounds": int(np.isfinite(times[name]).sum()),
        }
        for name, ratio in turns.ratios(times, seed).items()
    ]


def installed_mb(distributions: Sequence[str], folders: Sequence[Path] = ()) -> float:
    """Returns what distributions, with all that they require, and folders take on disk, in 10^6 bytes.

    Raises:
        PackageNotFoundError: one is not installed.
    """
    files = {file for folder in folders for file in folder.rglob("*") if "__pycache__" not in file.parts}
    waiting, seen = list(distributions), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if name in distributions:
                raise
            # Required on another platform or by another version.
            continue
        files |= {Path(str(file.locate())) for file in found.files or ()}
        needed = (text for text in found.requires or () if "extra ==" not in text)
        waiting += [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in needed]
    return round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 1)


if __name__ == "__main__":
    sys.exit(main())
