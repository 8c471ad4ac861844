"""Fills the table of speed in docs/performance.md from the newest results of two benchmarks.

    python -m tools.speed

It stands between the lines `<!-- speed -->` and `<!-- end of speed -->`: a row a contender, one thread. A
slice's time is told as a ratio to Falx's too, since the contenders took turns.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.contenders import CONTENDERS
from benchmarks.startup import FALX
from tools.card import fill


def main(arguments: Sequence[str] | None = None) -> int:
    """Fills the page; returns the exit status."""
    parser = argparse.ArgumentParser("tools.speed", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument(
        "--page", type=Path, default=figures.CHECKOUT / "docs" / "performance.md", help="the checkout's"
    )
    options = parser.parse_args(arguments)
    text = fill(options.page, table(newest("latency"), newest("startup")), "speed")
    options.page.write_text(text, encoding="utf-8")
    print(f"{options.page}: filled")
    return 0


def newest(kind: str) -> dict[str, Any]:
    """Returns the last of the results `KIND-DATE.json` in `benchmarks/results`."""
    paths = sorted((figures.CHECKOUT / "benchmarks" / "results").glob(f"{kind}-[0-9]*.json"))
    found: dict[str, Any] = json.loads(paths[-1].read_text(encoding="utf-8"))
    return found


def table(latency: Mapping[str, Any], startup: Mapping[str, Any]) -> str:
    """Returns the table of all contenders that both benchmarks measured, latency and startup."""
    slices = {row["name"]: row for row in latency["rows"] if row["threads"] == 1}
    starts = {row["name"]: row for row in startup["rows"]}
    lines = []
    for key, contender in CONTENDERS.items():
        one, start = slices.get(contender.name), starts.get(FALX if key == "falx" else contender.name)
        if one and start:
            lines.append(
                {
                    "": contender.name,
                    "a slice, times Falx": _short(one["ratio"]),
                    "median": f"{_short(one['p50_ms'], 3)} ms",
                    "start": f"{_short(start['p50_ms'] / 1000)} s",
                    "memory": f"{start['peak_mib']:.0f} MiB",
                    "installed": f"{start['disk_mb']:,.0f} MB",
                }
            )
    return figures.table(lines) + "\n"


def _short(value: float, digits: int = 2) -> str:
    """Returns a figure with a number of digits."""
    return f"{value:#.{digits}g}".rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
