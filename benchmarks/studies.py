"""What does the rule of `falx.study` say of patients whose slices are labelled?

    python -m benchmarks.studies --data ../shared/data --out studies.json

The patients of the `val` split are taken as studies, their slices of one sequence and plane as a series
without positions. A study has a tumour where one of its slices is labelled with one. The collections hold
chosen slices of a patient, hardly ever a whole head; what that alone keeps from being `no_tumor` is
counted apart, as `cleared`. `any slice` is a rule to compare with: a tumour where any slice is decided one.
The slices that carry `tumor` are compared with their labels.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import machine

import falx
from falx.prediction import Failure, Prediction
from falx.study import TUMOR, Series, Study, sum_up
from falx.words import AMBIGUOUS, NO_TUMOR, REJECTED, TUMOR_LABELS

__all__ = ["Row", "main", "outcome", "rows", "studies", "table"]

SPLIT: Final = "val"
"""Its labels chose the model's thresholds; the `test` split is for released models alone."""

CLEARED: Final = "cleared"
"""Each slice `no_tumor`, but too few of them for a head."""

OUTCOMES: Final = (TUMOR, AMBIGUOUS, NO_TUMOR, CLEARED, REJECTED)

PACKAGES: Final = ("falx", "ai-edge-litert", "numpy", "pillow")

Slice = tuple[Mapping[str, str], Prediction | Failure]
"""A line of the manifest, and Falx's answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """The studies of one source that have a tumour, or that have none."""

    source: str
    tumor: bool
    studies: int
    slices: int
    outcomes: dict[str, int]
    """Of `OUTCOMES`, those that came."""
    any_slice: int
    """How many would be a tumour by the rule compared with."""
    carriers: int
    """Slices that carry the decision `tumor`."""
    carriers_labelled: int
    """How many of these are labelled with a tumour."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A study, and whether each of its results is of a slice labelled with a tumour."""

    study: Study
    tumors: tuple[bool, ...]


def studies(slices: Iterable[Slice]) -> dict[tuple[str, str], Labelled]:
    """Studies by source and patient."""
    groups: dict[tuple[str, str], list[Slice]] = {}
    for row, answer in slices:
        groups.setdefault((row["source"], row["group"]), []).append((row, answer))
    out = {}
    for key, members in groups.items():
        series: dict[tuple[str, str], list[Slice]] = {}
        for row, answer in members:
            series.setdefault((row["sequence"], row["plane"]), []).append((row, answer))
        out[key] = Labelled(
            sum_up([Series(results=tuple(answer for _, answer in part)) for part in series.values()]),
            tuple(row["label"] != NO_TUMOR for part in series.values() for row, _ in part),
        )
    return out


def outcome(study: Study) -> str:
    """Its decision, or `CLEARED`."""
    cleared = study.decision == AMBIGUOUS and not study.carriers and "error" not in study.counts
    return CLEARED if cleared else study.decision


def rows(found: Mapping[tuple[str, str], Labelled]) -> list[Row]:
    """Counted by source, those with a tumour first."""
    out = []
    for tumor in (True, False):
        for source in sorted({source for source, _ in found}):
            mine = [one for (s, _), one in found.items() if s == source and any(one.tumors) == tumor]
            if mine:
                counts = Counter(outcome(one.study) for one in mine)
                carriers = [
                    one.tumors[i] for one in mine if one.study.decision == TUMOR for i in one.study.carriers
                ]
                out.append(
                    Row(
                        source=source,
                        tumor=tumor,
                        studies=len(mine),
                        slices=sum(len(one.tumors) for one in mine),
                        outcomes={name: counts[name] for name in OUTCOMES if counts[name]},
                        any_slice=sum(not one.study.counts.keys().isdisjoint(TUMOR_LABELS) for one in mine),
                        carriers=len(carriers),
                        carriers_labelled=sum(carriers),
                    )
                )
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    with (options.data / "manifest.csv").open(encoding="utf-8", newline="") as lines:
        listed = [row for row in csv.DictReader(lines) if row["split"] == SPLIT]
    classifier = falx.load(options.model)
    setting = {"machine": machine.described(PACKAGES)}
    answers = classifier.predict_many([options.data / row["path"] for row in listed], workers=options.workers)
    measured = rows(studies(zip(listed, answers, strict=True)))
    sys.stdout.write(table(measured) + "\n")
    if options.out is not None:
        document = {**setting, "model": classifier.model.to_dict(), "split": SPLIT}
        machine.write(options.out, {**document, "rows": [asdict(row) for row in measured]})
    return 0


def table(measured: Sequence[Row]) -> str:
    """Rows as Markdown, with their sums."""
    names = [name.replace("_", " ") for name in OUTCOMES]
    head = ["", "studies", "slices", *names, "any slice", "carriers with a tumour"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for tumor in (True, False):
        own = [row for row in measured if row.tumor == tumor]
        lines += [_line(row.source + (", tumour" if tumor else ", none"), [row]) for row in own]
        lines.append(_line("**all, tumour**" if tumor else "**all, none**", own))
    return "\n".join(lines)


def _line(name: str, counted: Sequence[Row]) -> str:
    sums: list[Any] = [sum(row.studies for row in counted), sum(row.slices for row in counted)]
    sums += [sum(row.outcomes.get(kind, 0) for row in counted) for kind in OUTCOMES]
    right, carriers = (
        sum(getattr(row, kind) for row in counted) for kind in ("carriers_labelled", "carriers")
    )
    sums += [sum(row.any_slice for row in counted), f"{right} of {carriers}" if carriers else ""]
    return "| " + " | ".join(map(str, [name, *sums])) + " |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with manifest.csv")
    parser.add_argument("--model", metavar="FILE", help="a model file (default: the one in Falx)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="slices at a time (default 1)")
    parser.add_argument("--out", type=Path, metavar="JSON", help="write the figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
