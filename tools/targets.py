"""Measures a released model, and says which of its targets it reaches.

    python -m tools.pictures --out runs/pictures
    python -m tools.targets MODEL --data DATA --split test --pictures runs/pictures --out measured

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

from benchmarks import figures

from falx.errors import FalxError

__all__ = ["TARGETS", "Target", "found", "main", "percent", "rows"]


@dataclass(frozen=True, slots=True)
class Target:
    """A measure and the value that it is to reach.

    Attributes:
        what: the measure, for people.
        where: its place in `metrics.json`, key by key.
        least: the share to reach; None where there is an upper limit, or no limit.
        most: the share not to pass; None likewise.
        decimals: how many are shown of a fraction; 0 shows a percentage.
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
    Target("pictures that are not brain MRI: `rejected`", ("pictures", "all", "rejected"), least=0.98),
    Target("real slices `rejected`", ("all", "rejected"), most=0.01),
)
"""In the order of the table; tcga_lgg's boxes follow FLAIR, and on its T1 slices a tumour may not show."""


def rows(metrics: Mapping[str, Any]) -> list[figures.Row]:
    """Returns a row a target, as text: what was measured, its interval, the target, and whether it is met.

    Args:
        metrics: the document of a `metrics.json`.
    """
    return [_row(target, metrics) for target in TARGETS]


def found(metrics: Any, where: Sequence[str]) -> Any:
    """Returns what a document holds at a place; None where it holds nothing there."""
    for key in where:
        metrics = metrics.get(key) if isinstance(metrics, Mapping) else None
    return metrics


def percent(value: float) -> str:
    """Returns a share as text, with one decimal."""
    return f"{value * 100:.1f} %"


def _row(target: Target, metrics: Mapping[str, Any]) -> figures.Row:
    limit, sign = (target.least, "≥") if target.most is None else (target.most, "≤")
    shown = f"{limit:.2f}" if limit and target.decimals else f"{(limit or 0) * 100:.0f} %"
    row = {"": target.what, "measured": "not measured", "95 % interval": "", "slices": ""}
    row |= {"target": "" if limit is None else f"{sign} {shown}", "met": ""}
    values = found(metrics, target.where)
    if values is None:
        return row
    # Before there was an interval of the calibration error, it stood alone.
    value, *rest = values if isinstance(values, list) else [values]
    text = (lambda share: f"{share:.{target.decimals}f}") if target.decimals else percent
    row["measured"] = text(value)
    if rest:
        low, high, number = rest
        row |= {"95 % interval": f"{text(low)} to {text(high)}", "slices": f"{number:,}"}
    if limit is not None:
        row["met"] = "yes" if (value >= limit if target.most is None else value <= limit) else "no"
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 0, whether the targets are met or not, and 2 for unusable arguments."""
    parser = argparse.ArgumentParser("tools.targets", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("model", type=Path, help="a .tflite or .onnx file, or a run folder")
    parser.add_argument("--data", type=Path, required=True, help="the manifest, or its folder")
    parser.add_argument("--split", choices=("train", "val", "test"), required=True, help="of the data")
    parser.add_argument("--pictures", type=Path, help="what tools.pictures collected")
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
    shown = figures.table(rows(metrics))
    (options.out / "targets.txt").write_text(shown + "\n", encoding="utf-8")
    print(f"{measured}\n\n{shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
