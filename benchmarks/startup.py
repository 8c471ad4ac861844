"""From the start of a process to its first printed decision, with its peak memory and what it takes on disk.

    python -m benchmarks.startup --out benchmarks/results/startup-DATE.json

Each way is a new process that decides one slice; they take turns, so that whatever else the machine does
falls on each of them alike. Ratios are to `python -c "import numpy, PIL.Image"`, which every one of them
needs: the median over the rounds. Peak memory is what the system counts of the process alone. On disk are
the distributions with all that they require, as they are installed here. Python may write its compiled
modules, as it does for everybody; the first start, which does, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks import machine
from benchmarks.contenders import BESIDE, CONTENDERS, find
from benchmarks.latency import PACKAGES, Missing, add_model, slices

import falx

__all__ = ["Row", "Run", "installed_mb", "main", "rows", "start"]

REFERENCE: Final = 'python -c "import numpy, PIL.Image"'
FALX: Final = "falx predict"
SLOW: Final = 8
"""What takes this many times as long as the reference starts in every fourth round only."""

LAUNCHER: Final = """
import json, os, sys, time
started = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(process, 0)
spent = time.perf_counter() - started
print(json.dumps([os.waitstatus_to_exitcode(status), spent * 1e3, usage.ru_maxrss / 1024]))
"""
"""Starts a process and says how it ended. Small, for the peak of a process counts its parent's as well."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process: its time from start to end, in milliseconds, and peak memory, in MiB."""

    ms: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Row:
    """One way to a first decision.

    Attributes:
        name: of it.
        ratio: of its time to the reference's, median over the rounds.
        p50_ms: the median time, in milliseconds.
        over_mib: its peak memory over the reference's, medians, in MiB.
        peak_mib: the median peak memory, in MiB.
        disk_mb: what it takes on disk with all that it requires, in 10^6 bytes; None for the reference.
        rounds: how many were counted.
    """

    name: str
    ratio: float
    p50_ms: float
    over_mib: float
    peak_mib: float
    disk_mb: float | None
    rounds: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    models = find(options.models, options.name)
    setting = {
        **machine.described(PACKAGES),
        "model": models.name,
        "rounds": options.rounds,
    }
    disk: dict[str, float | None] = {REFERENCE: None}
    missing: list[Missing] = []
    with tempfile.TemporaryDirectory() as folder:
        (file,) = slices(Path(folder), options.seed, 1)
        commands = {REFERENCE: [sys.executable, "-c", "import numpy, PIL.Image"]}
        for key, contender in CONTENDERS.items():
            if key in (BESIDE, *options.without):  # another model starts as this one does
                continue
            name = FALX if key == "falx" else contender.name
            commands[name] = [sys.executable, "-m", "benchmarks.contenders", key, str(file)]
            commands[name] += ["--models", str(models)]
            if key == "falx":
                commands[name] = [sys.executable, "-m", "falx", "predict", str(file)]
            try:
                # As a checkout, Falx has no distribution's files.
                own = [Path(falx.__file__).parent] if key.startswith("falx") else []
                disk[name] = installed_mb(contender.packages, own)
            except metadata.PackageNotFoundError as error:
                missing.append(Missing(name, f"{error.name} is not installed", contender.needs))
                del commands[name]
                continue
            if start(commands[name]) is None:
                missing.append(Missing(name, "ended with an error", contender.needs))
                del commands[name]
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for number in range(options.rounds):
            for name, command in commands.items():
                # The slow ones in every fourth round.
                if number % 4 and runs[name][0].ms > SLOW * runs[REFERENCE][0].ms:
                    continue
                run = start(command)
                if run is not None:
                    runs[name].append(run)
    measured = rows(runs, disk)
    print(_table(setting, measured, missing))
    if options.out is not None:
        document = {
            **setting,
            "rows": [asdict(row) for row in measured],
            "missing": [asdict(one) for one in missing],
        }
        machine.write(options.out, document)
    return 0


def start(command: Sequence[str]) -> Run | None:
    """Run a command to its end; None where it ended with an error."""
    # Compiled modules are written by everybody's Python unless somebody forbade it.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    launcher = [sys.executable, "-S", "-c", LAUNCHER, *command]
    out = subprocess.run(launcher, env=variables, capture_output=True, check=True, text=True).stdout  # noqa: S603
    status, ms, peak_mib = json.loads(out)
    return Run(ms, peak_mib) if status == 0 else None


def rows(runs: Mapping[str, Sequence[Run]], disk: Mapping[str, float | None]) -> list[Row]:
    """The table; everything is compared with the first.

    Args:
        runs: of each by name.
        disk: what each takes, in 10^6 bytes.
    """
    reference = next(iter(runs.values()))
    base_ms = float(np.median([run.ms for run in reference]))
    base_mib = float(np.median([run.peak_mib for run in reference]))
    out = []
    for name, own in runs.items():
        ms = float(np.median([run.ms for run in own]))
        # Round by round where it took part in each: the machine's speed drifts.
        paired = [a.ms / b.ms for a, b in zip(own, reference, strict=False)]
        ratio = float(np.median(paired)) if len(own) == len(reference) else ms / base_ms
        mib = float(np.median([run.peak_mib for run in own]))
        out.append(
            Row(
                name=name,
                ratio=round(ratio, 2),
                p50_ms=round(ms, 1),
                over_mib=round(mib - base_mib, 1),
                peak_mib=round(mib, 1),
                disk_mb=disk[name],
                rounds=len(own),
            )
        )
    return out


def installed_mb(distributions: Sequence[str], folders: Sequence[Path] = ()) -> float:
    """What distributions and all that they require take on disk, in 10^6 bytes.

    Args:
        distributions: by name.
        folders: what counts besides, without compiled modules.

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


def _table(setting: dict[str, Any], measured: Sequence[Row], missing: Sequence[Missing]) -> str:
    lines = machine.lines(setting)
    lines += [
        "",
        "| | times the first | p50 ms | memory over the first, MiB | peak MiB | on disk, MB | rounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in measured:
        disk = "" if r.disk_mb is None else f"{r.disk_mb:.0f}"
        lines.append(
            f"| {r.name} | {r.ratio:.2f} | {r.p50_ms:.0f} | {r.over_mib:.1f} | {r.peak_mib:.1f} | {disk} "
            f"| {r.rounds} |"
        )
    lines += [f"| {m.name} | not measured: {m.because}; {m.needs} | | | | | |" for m in missing]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    description = "From process start to the first decision. Run it on a quiet machine: about three minutes."
    parser = argparse.ArgumentParser("benchmarks.startup", description=description)
    add_model(parser)
    parser.add_argument("--rounds", type=int, default=20, help="counted starts of each (20)")
    parser.add_argument("--seed", type=int, default=7, help="of the noise in the slice (7)")
    parser.add_argument(
        "--without", nargs="+", default=[], choices=list(CONTENDERS)[1:], help="leave these contenders out"
    )
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
