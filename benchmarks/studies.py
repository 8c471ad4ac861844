"""Measures what the rule of `falx.study` says of patients whose slices are labelled.

    python -m benchmarks.studies --data ../shared/data --out studies.json

The patients of the `val` split are taken as studies, their slices of one sequence and plane as a series
without positions. A study has a tumour where one of its slices is labelled with one. The collections hold
chosen slices of a patient, hardly ever a whole head; a study that is kept from being `no_tumor` by that
alone is counted apart, as `cleared`. `any_slice` is a rule to compare with: a tumour where any slice is
decided one. The slices that carry the decision `tumor` are compared with their labels.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import figures

import falx
from falx.prediction import Failure, Prediction
from falx.study import TUMOR, Series, Study, sum_up
from falx.words import AMBIGUOUS, NO_TUMOR, REJECTED, TUMOR_LABELS
from falx_runs.manifest import Record, read_records

__all__ = ["main", "outcome", "rows", "studies"]

SPLIT: Final = "val"
"""Its labels chose the model's thresholds; the `test` split is for released models alone."""

CLEARED: Final = "cleared"
"""Each slice `no_tumor`, but too few of them for a head."""

ALL: Final = "all"
OUTCOMES: Final = (TUMOR, AMBIGUOUS, NO_TUMOR, CLEARED, REJECTED)

PACKAGES: Final = ("falx", "ai-edge-litert", "numpy", "pillow")

Slice = tuple[Record, Prediction | Failure]
"""A line of the manifest, and Falx's answer."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A study, and which of its results are of slices labelled with a tumour."""

    study: Study
    tumors: tuple[bool, ...]


def studies(slices: Iterable[Slice]) -> dict[tuple[str, str], Labelled]:
    """Returns studies by source and patient."""
    groups: dict[tuple[str, str], list[Slice]] = {}
    for row, answer in slices:
        groups.setdefault((row.source, row.group), []).append((row, answer))
    out = {}
    for key, members in groups.items():
        series: dict[tuple[str, str], list[Slice]] = {}
        for row, answer in members:
            series.setdefault((row.sequence, row.plane), []).append((row, answer))
        out[key] = Labelled(
            sum_up([Series(results=tuple(answer for _, answer in part)) for part in series.values()]),
            tuple(row.label != NO_TUMOR for part in series.values() for row, _ in part),
        )
    return out


def outcome(study: Study) -> str:
    """Returns a study's decision, or `CLEARED`."""
    cleared = study.decision == AMBIGUOUS and not study.carriers and "error" not in study.counts
    return CLEARED if cleared else study.decision


def rows(found: Mapping[tuple[str, str], Labelled]) -> list[figures.Row]:
    """Returns a row for each source and one for all, first of the studies with a tumour, then of the others.

    The figures: how many studies and slices; how many studies come to each of `OUTCOMES`; how many would be a
    tumour by the rule compared with; how many slices carry the decision `tumor`, and are labelled with one.
    """
    out: list[figures.Row] = []
    for tumor in (True, False):
        mine = {key: one for key, one in found.items() if any(one.tumors) == tumor}
        for source in [*sorted({source for source, _ in mine}), ALL]:
            some = [one for (own, _), one in mine.items() if source in (own, ALL)]
            counts = Counter(outcome(one.study) for one in some)
            carriers = [
                one.tumors[i] for one in some if one.study.decision == TUMOR for i in one.study.carriers
            ]
            out.append(
                {
                    "source": source,
                    "labelled": "tumour" if tumor else "none",
                    "studies": len(some),
                    "slices": sum(len(one.tumors) for one in some),
                    **{name: counts[name] for name in OUTCOMES},
                    "any_slice": sum(not one.study.counts.keys().isdisjoint(TUMOR_LABELS) for one in some),
                    "carriers": len(carriers),
                    "carriers_with_a_tumour": sum(carriers),
                }
            )
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = figures.parser("benchmarks.studies", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="a manifest, or its folder")
    parser.add_argument("--model", metavar="FILE", help="a model file (the one in Falx)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="slices at a time (1)")
    options = parser.parse_args(arguments)
    listed = [record for record in read_records(options.data) if record.split == SPLIT]
    classifier = falx.load(options.model)
    setting = {**figures.machine(PACKAGES), "model": classifier.model.to_dict(), "split": SPLIT}
    answers = classifier.predict_many([record.path for record in listed], workers=options.workers)
    figures.tell(setting, rows(studies(zip(listed, answers, strict=True))), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
