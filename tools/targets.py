"""Measures a released model, and says which of its targets it reaches.

    python -m tools.targets MODEL --data ../shared/data --pictures ../shared/outliers --split test --out DIR

measures a file as `falx_trainer evaluate` does, with the same output, and prints the targets below it. They
name collections, so they are of use with Falx's own data only; `--split` is of both. Choose on `val`; `test`
is read once for a released model. Intervals are of 95 %, bootstrapped over groups
(`falx_trainer.evaluation.measures`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import figures

from falx.errors import FalxError
from falx.words import TUMOR_LABELS, percent
from falx_runs.manifest import LEVELS, UNTYPED, Record


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


WITH_SKULL: Final = frozenset(
    ("ds011_seen", "feltrin", "hfh_t1", "misc", "ms_mendeley", "nichart", "tabriz_ms", "tcga_lgg")
)
"""The collections whose T1 slices all show the skull. Others have both; there, a slice with a level does: it
was cut from a whole head."""

TYPED: Final = ("T1C+", "T2", "T1")


def _of_feltrin(sequences: Collection[str], labels: Collection[str]) -> Callable[[Record], bool]:
    return lambda one: one.source == "feltrin" and one.sequence in sequences and one.label in labels


PARTS: Final[Mapping[str, Callable[[Record], bool]]] = {
    "T1 with skull": lambda one: one.sequence == "T1" and (one.source in WITH_SKULL or one.level != ""),
    "feltrin, T1 and T2": _of_feltrin(("T1", "T2"), (*TUMOR_LABELS, UNTYPED)),
    **{f"typed tumours of feltrin, {one}": _of_feltrin([one], TUMOR_LABELS) for one in TYPED},
}
"""The slices that only targets ask for, by a name for them."""

TARGETS: Final = (
    Target("tumours decided `no_tumor`: all", ("all", "missed"), most=0.01),
    Target("– feltrin, T1 and T2", ("parts", "feltrin, T1 and T2", "missed"), most=0.02),
    Target("– br35h", ("by_source", "br35h", "missed"), most=0.02),
    Target("healthy decided `no_tumor`: all", ("all", "cleared"), least=0.85),
    *(Target(f"– {level}", ("by_level", level, "cleared"), least=0.75) for level in LEVELS),
    Target("– T1 with skull", ("parts", "T1 with skull", "cleared"), least=0.80),
    Target("healthy decided to be a tumour", ("all", "false_alarm"), most=0.015),
    Target("figshare: right, of those decided", ("by_source", "figshare", "right_of_decided"), least=0.96),
    Target("figshare: decided", ("by_source", "figshare", "decided"), least=0.95),
    *(
        Target(
            f"feltrin, typed tumours on {sequence}: type right, of those decided",
            ("parts", f"typed tumours of feltrin, {sequence}", "right_of_decided"),
            least=least,
        )
        for sequence, least in zip(TYPED, (0.9, 0.8, 0.8), strict=True)
    ),
    Target("pictures that are no brain, `rejected`: all", ("pictures", "all", "rejected"), least=0.98),
    Target("– CT of the head", ("pictures", "by_family", "head_ct", "rejected"), least=0.95),
    Target("– MRI of other parts", ("pictures", "by_family", "body_mri", "rejected"), least=0.95),
    Target("– MRI of animals", ("pictures", "by_family", "animal_mri", "rejected"), least=0.95),
    Target(
        "– ends of heads: `rejected` or `no_tumor`",
        ("pictures", "by_family", "head_end", "rejected_or_no_tumor"),
        least=0.97,
    ),
    Target("real slices `rejected`", ("all", "rejected"), most=0.01),
    Target(
        "expected calibration error, typed and healthy", ("all", "calibration_error"), most=0.03, decimals=3
    ),
    Target("tumours decided as such: heatmap highest inside a box", ("all", "peak_in_box"), least=0.88),
)
"""In the order of the table; a row with a dash is a part of the one above it."""


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


def _row(target: Target, metrics: Mapping[str, Any]) -> figures.Row:
    limit, sign = (target.least, "≥") if target.most is None else (target.most, "≤")
    shown = f"{limit:.2f}" if limit and target.decimals else f"{(limit or 0) * 100:g} %"
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
    parser.add_argument(
        "--pictures", type=Path, help="the manifest of pictures that are no brain, or its folder"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics.json, tables and plots")
    options = parser.parse_args(arguments)
    from falx_trainer.evaluation.evaluate import evaluate

    try:
        # No slice is shown or named: what is measured here is committed with the model.
        measured = evaluate(
            options.model,
            options.data,
            options.split,
            options.out,
            options.pictures,
            shareable=True,
            parts=PARTS,
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
