"""What does the rule of `falx.study` say of whole heads that are healthy, or have a tumour?

    python -m benchmarks.studies --data ../shared/studies --out studies.json

Each volume of the manifest is a study, and so is each head of several volumes, whose sequences confirm and
contradict each other. Beside the rule stands `slices`, the rule that it replaced: a tumour where one slice
is decided one with high confidence or two neighbours are, clear where every slice of a whole head is. The
rule was chosen on train and val; `--split test` is for a report on a model that is released. Intervals are
Wilson's, at 95 %. `--model` takes any model file.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks import machine
from scipy import stats

import falx
from falx.finding import usable
from falx.prediction import Failure, Prediction
from falx.reading.series import Gathering, gather
from falx.study import STUDY_DECISIONS, TUMOR, Study, gaps, sum_up
from falx.words import AMBIGUOUS, NO_TUMOR, REJECTED, TUMOR_LABELS
from falx_runs.manifest import SPLITS, Volume, read_volumes

__all__ = ["Case", "Row", "by_slices", "main", "rows", "table"]

PACKAGES: Final = ("falx", "ai-edge-litert", "numpy", "nibabel")

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Case:
    """One study and what it came to.

    Attributes:
        name: its files' names.
        tumor: whether it has one.
        volumes: how many it has.
        rule: what the rule of `falx.study` says.
        slices: what the rule that it replaced says.
        strength_mm: of its strongest finding.
        hits: of the slices that carry `tumor`, how many the tumour's mask marks, and how many there are.
    """

    name: str
    tumor: bool
    volumes: int
    rule: str
    slices: str
    strength_mm: float
    hits: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Row:
    """How often a rule said what of studies of one kind.

    Attributes:
        rule: `rule` or `slices`.
        what: `volumes`, each by itself, or `heads`, with all their volumes.
        tumor: whether the studies have one.
        studies: how many.
        outcomes: how many came to each decision.
        wrong: share that was called the opposite, with its interval.
        decided: share that was decided, with its interval.
    """

    rule: str
    what: str
    tumor: bool
    studies: int
    outcomes: dict[str, int]
    wrong: tuple[float, float, float]
    decided: tuple[float, float, float]


def by_slices(study: Study) -> str:
    """What the rule said that came before: slices decide, each by itself or with its neighbour."""
    found = [one for series in study.series for one in series.results]
    doubts = any(one.error is None and one.decision in (*TUMOR_LABELS, AMBIGUOUS) for one in found)
    for series in study.series:
        at = series.about.positions_mm or range(len(series.results))
        own = [
            (at[i], one)
            for i, one in enumerate(series.results)
            if isinstance(one, Prediction) and usable(one)
        ]
        called = [(mm, one) for mm, one in own if one.decision in TUMOR_LABELS]
        if any(one.band == "high" for _, one in called):
            return TUMOR
        if any(a[1].decision in TUMOR_LABELS and b in called and b[0] - a[0] <= 10 for a, b in pairwise(own)):
            return TUMOR
    if doubts:
        return AMBIGUOUS
    if not any(map(usable, found)):
        return REJECTED
    whole = any(not gaps(series.about, series.results) for series in study.series)
    return NO_TUMOR if whole and not any(isinstance(one, Failure) for one in found) else AMBIGUOUS


def answered(
    classifier: falx.Classifier, volumes: Iterable[Volume], workers: int
) -> Iterator[tuple[Volume, Study]]:
    """The study of each volume; its sequence is that of the manifest, as NIfTI names none."""
    for volume in volumes:
        found = gather(volume.path)
        named = replace(found, series=tuple(replace(one, sequence=volume.sequence) for one in found.series))
        yield volume, classifier.predict_study(named, workers=workers)


def heads(studies: Sequence[tuple[Volume, Study]]) -> Iterator[list[tuple[Volume, Study]]]:
    """The volumes of each head that has several."""
    groups: dict[str, list[tuple[Volume, Study]]] = {}
    for volume, study in studies:
        groups.setdefault(volume.group, []).append((volume, study))
    yield from (own for own in groups.values() if len(own) > 1)


def case(own: Sequence[tuple[Volume, Study]]) -> Case:
    """What the volumes of one head come to, together."""
    series = tuple(one for _, study in own for one in study.series)
    sources = [replace(one.about, sources=(None,) * len(one.results)) for one in series]
    study = sum_up(Gathering(tuple(sources)), [result for one in series for result in one.results])
    marked = [index in volume.slices for volume, one in own for index in range(len(one.results))]
    carriers = study.verdict.carriers if study.decision == TUMOR else ()
    return Case(
        name=" ".join(volume.path.name.partition(".")[0] for volume, _ in own),
        tumor=own[0][0].label != NO_TUMOR,
        volumes=len(own),
        rule=study.decision,
        slices=by_slices(study),
        strength_mm=round(study.verdict.strength_mm, 1),
        hits=(sum(marked[i] for i in carriers), len(carriers)),
    )


def rows(cases: Sequence[Case]) -> list[Row]:
    """Counts by rule, by volumes and heads, and by whether there is a tumour."""
    out = []
    for what, several in (("volumes", False), ("heads", True)):
        for tumor in (False, True):
            own = [one for one in cases if one.tumor == tumor and (one.volumes > 1) == several]
            for rule in ("rule", "slices"):
                said = Counter(getattr(one, rule) for one in own)
                wrong = said[NO_TUMOR if tumor else TUMOR]
                out.append(
                    Row(
                        rule=rule,
                        what=what,
                        tumor=tumor,
                        studies=len(own),
                        outcomes={name: said[name] for name in STUDY_DECISIONS},
                        wrong=_share(wrong, len(own)),
                        decided=_share(said[TUMOR] + said[NO_TUMOR], len(own)),
                    )
                )
    return [row for row in out if row.studies]


def _share(count: int, of: int) -> tuple[float, float, float]:
    if not of:
        return 0.0, 0.0, 1.0
    low, high = stats.binomtest(count, of).proportion_ci(CONFIDENCE, method="wilson")
    return count / of, round(float(low), 4), round(float(high), 4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    splits = options.split or ["train", "val"]
    volumes = [volume for volume in read_volumes(options.data) if volume.split in splits]
    classifier = falx.load(options.model)
    setting = {"machine": machine.described(PACKAGES)}
    studies = list(answered(classifier, volumes, options.workers))
    cases = [case([one]) for one in studies] + [case(own) for own in heads(studies)]
    measured = rows(cases)
    sys.stdout.write(table(measured) + "\n")
    for one in cases:
        if one.rule != (TUMOR if one.tumor else NO_TUMOR):
            kind = "tumour" if one.tumor else "healthy"
            sys.stdout.write(f"{one.rule}, {one.strength_mm:g} mm: {one.name} ({kind})\n")
    if options.out is not None:
        document = {**setting, "model": classifier.model.to_dict(), "splits": splits}
        # Names of volumes stay out of what is kept: they are patients.
        machine.write(
            options.out, {**document, "rows": [asdict(row) for row in measured], "hits": _hits(cases)}
        )
    return 0


def _hits(cases: Sequence[Case]) -> tuple[int, int]:
    """Of the slices that carry `tumor` in volumes with one, how many the mask marks, and how many there are."""
    own = [one.hits for one in cases if one.tumor and one.volumes == 1]
    return sum(marked for marked, _ in own), sum(carriers for _, carriers in own)


def table(measured: Sequence[Row]) -> str:
    """Rows as Markdown."""
    head = ["", "studies", *(name.replace("_", " ") for name in STUDY_DECISIONS), "opposite", "decided"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in measured:
        name = f"{'tumour' if row.tumor else 'healthy'} {row.what}, " + (
            "the rule" if row.rule == "rule" else "the rule before"
        )
        counts = [row.studies, *row.outcomes.values()]
        lines.append(
            "| " + " | ".join([name, *map(str, counts), _percent(row.wrong), _percent(row.decided)]) + " |"
        )
    return "\n".join(lines)


def _percent(share: tuple[float, float, float]) -> str:
    value, low, high = (f"{100 * part:.0f}" for part in share)
    return f"{value} % ({low} to {high})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with manifest.csv")
    parser.add_argument(
        "--split", action="append", choices=SPLITS, help="repeatable (default: train and val)"
    )
    parser.add_argument("--model", metavar="FILE", help="a model file (default: the one in Falx)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="slices at a time (default 1)")
    parser.add_argument("--out", type=Path, metavar="JSON", help="write the figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
