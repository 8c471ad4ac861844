"""What a released model is to reach, and whether it does.

    python -m benchmarks.pictures --out runs/pictures
    python -m benchmarks.targets MODEL --data DATA --split test --pictures runs/pictures --out measured

measures a file as `falx_trainer evaluate` does, with the same output, and prints the targets below it. They
name collections, so they are of use with Falx's own data only. Choose on `val`; `test` is read once for a
released model. Intervals are of 95 %, bootstrapped over groups (`falx_trainer.evaluation.measures`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from falx.errors import FalxError

__all__ = ["TARGETS", "Row", "Target", "main", "rows", "table"]


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached.

    Attributes:
        what: is measured, for people.
        where: its place in `metrics.json`, key by key.
        least: the share to reach; None where there is an upper limit, or none at all.
        most: the share not to pass; None likewise.
        decimals: shown as a fraction with so many; 0 shows a percentage.
    """

    what: str
    where: tuple[str, ...]
    least: float | None = None
    most: float | None = None
    decimals: int = 0


TARGETS: Final = (
    Target(
        "typed slices of figshare patients: right, of those decided",
        ("by_source", "figshare", "right_of_decided"),
        least=0.95,
    ),
    Target("typed slices of figshare patients: decided", ("by_source", "figshare", "decided"), least=0.90),
    Target("tumours decided `no_tumor`, all sources", ("all", "missed"), most=0.01),
    Target("the same, tcga_lgg T1 alone", ("by_source_and_sequence", "tcga_lgg, T1", "missed")),
    Target("the same, tcga_lgg T1C+ alone", ("by_source_and_sequence", "tcga_lgg, T1C+", "missed")),
    Target("br35h tumours decided `no_tumor`", ("by_source", "br35h", "missed"), most=0.02),
    Target("healthy slices decided `no_tumor`", ("all", "cleared"), least=0.90),
    Target(
        "expected calibration error, typed and healthy",
        ("all", "calibration_error"),
        most=0.03,
        decimals=3,
    ),
    Target("tumours decided as such: heatmap highest inside a box", ("all", "peak_in_box"), least=0.85),
    Target("pictures that are no brain MRI: `rejected`", ("pictures", "all", "rejected"), least=0.98),
    Target("real slices `rejected`", ("all", "rejected"), most=0.01),
)
"""In the order of the table; tcga_lgg's boxes follow FLAIR, and on its T1 slices a tumour may not show."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table, as text.

    Attributes:
        what: is measured.
        measured, interval: empty where it was not measured.
        number: of slices or pictures.
        target: empty where there is none.
        met: `yes` or `no`; empty where nothing was measured, or there is no target.
    """

    what: str
    measured: str
    interval: str
    number: str
    target: str
    met: str


def rows(metrics: Mapping[str, Any]) -> list[Row]:
    """The lines of the table.

    Args:
        metrics: the document of a `metrics.json`.
    """
    return [_row(target, metrics) for target in TARGETS]


def table(lines: Sequence[Row]) -> str:
    """The table for a terminal."""
    head = Row("", "measured", "95 % interval", "n", "target", "met")
    wide = {name: max(len(getattr(line, name)) for line in (head, *lines)) for name in Row.__slots__}
    shown = []
    for line in (head, *lines):
        cells = [f"{line.what:{wide['what']}}"]
        cells += [f"{getattr(line, name):>{wide[name]}}" for name in Row.__slots__ if name != "what"]
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def _row(target: Target, metrics: Mapping[str, Any]) -> Row:
    limit, sign = (target.least, "≥") if target.most is None else (target.most, "≤")
    wanted = "" if limit is None else f"{sign} {_shown(limit, target.decimals, short=True)}"
    found: Any = metrics
    for key in target.where:
        found = found.get(key) if isinstance(found, Mapping) else None
    if found is None:
        return Row(target.what, "", "", "", wanted, "")
    # Before there was an interval of the calibration error, it stood alone.
    value, *rest = found if isinstance(found, list) else [found]
    interval = f"{_shown(rest[0], target.decimals)} to {_shown(rest[1], target.decimals)}" if rest else ""
    met = ""
    if limit is not None:
        met = "yes" if (value >= limit if target.most is None else value <= limit) else "no"
    number = f"{rest[2]:,}" if rest else ""
    return Row(target.what, _shown(value, target.decimals), interval, number, wanted, met)


def _shown(value: float, decimals: int, *, short: bool = False) -> str:
    if decimals:
        return f"{value:.{2 if short else decimals}f}"
    return f"{value * 100:.{0 if short else 1}f} %"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 0, whether the targets are met or not, and 2 for unusable arguments."""
    parser = argparse.ArgumentParser("benchmarks.targets", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("model", type=Path, help="a .tflite or .onnx file, or a run folder")
    parser.add_argument("--data", type=Path, required=True, help="the manifest, or its folder")
    parser.add_argument("--split", choices=("train", "val", "test"), required=True, help="of the data")
    parser.add_argument("--pictures", type=Path, help="what benchmarks.pictures collected")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics.json, tables and plots")
    options = parser.parse_args(arguments)
    from falx_trainer.evaluation.evaluate import evaluate

    try:
        # No slice is shown or named: what is measured here is committed with the model.
        measured = evaluate(
            options.model, options.data, options.split, options.out, options.pictures, shareable=True
        )
    except (FalxError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    metrics = json.loads((options.out / "metrics.json").read_text(encoding="utf-8"))
    shown = table(rows(metrics))
    (options.out / "targets.txt").write_text(shown + "\n", encoding="utf-8")
    print(f"{measured}\n\n{shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
