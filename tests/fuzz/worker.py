"""The process in which inputs are tried, so that one that ends it ends nothing else.

Reads a batch a line from standard input and answers each with a line: what came of its inputs.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, Final

import hypothesis
from hypothesis import HealthCheck, Phase
from tests.fuzz.targets import TARGETS

LIMIT_S: float = 2.0
"""Processor time of one input."""

LIMIT_MB: Final = 500.0
"""Memory of this process, with everything it has imported."""

HUNG_S: Final = 60.0
"""An input that takes as long by the clock ends this process, with a traceback."""

ADDRESSES: Final = 8 << 30
"""Bytes of addresses: what wants more fails here, rather than bring down the machine."""


def main(state: Path) -> None:
    """Serve batches until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(tried(json.loads(line), state)) + "\n")
        sys.stdout.flush()


def tried(batch: dict[str, Any], state: Path) -> dict[str, Any]:
    """Try a batch of inputs, and tell what came of them."""
    target, seed = TARGETS[batch["target"]], batch["seed"]
    outcomes: Counter[str] = Counter()
    findings: dict[str, list[Any]] = {}
    slowest = 0.0

    def found(what: str, data: bytes) -> None:
        kept = f"{batch['target']}-{batch['random']}-{sum(outcomes.values())}"
        entry = findings.setdefault(f"{batch['target']}, {seed}: {what}", [0, kept])
        entry[0] += 1
        if entry[0] == 1:
            (state / kept).write_bytes(data)

    @hypothesis.seed(batch["random"])
    @hypothesis.settings(
        max_examples=batch["count"],
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=False,
    )
    @hypothesis.given(target.inputs(seed))
    def attempt(data: bytes) -> None:
        nonlocal slowest
        current.write_bytes(data)
        faulthandler.dump_traceback_later(HUNG_S, exit=True)
        before, started = _peak_mb(), time.process_time()
        try:
            outcome = target.attempt(data, seed, state)
        except Exception as error:  # noqa: BLE001 - what must not come is what is looked for
            outcome = "undocumented"
            frame = traceback.extract_tb(error.__traceback__)[-1]
            found(f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}", data)
        took, peak = time.process_time() - started, _peak_mb()
        faulthandler.cancel_dump_traceback_later()
        if took > LIMIT_S:
            found(f"more than {LIMIT_S:g} s", data)
        if peak > LIMIT_MB > before:
            found(f"more than {LIMIT_MB:g} MB", data)
        slowest = max(slowest, took)
        outcomes[outcome] += 1

    current = state / "current"
    attempt()
    return {
        "batch": batch,
        "tried": sum(outcomes.values()),
        "outcomes": dict(outcomes),
        "slowest_s": round(slowest, 3),
        "peak_mb": round(_peak_mb(), 1),
        "findings": findings,
    }


def _peak_mb() -> float:
    """The most memory this process has had at a time. Not `ru_maxrss`, which starts at that of the parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
