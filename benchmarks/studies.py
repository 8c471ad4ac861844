"""Measures what the rule of `falx.study` says of whole heads, healthy ones and ones with a tumour.

    python -m benchmarks.studies --data ../shared/studies --out studies.json

Each volume of the manifest is a study. Each head of several volumes is one too: its sequences confirm and
contradict each other. Beside the rule stands the one that it replaced (`by_slices`): a tumour where one
slice is decided one with high confidence or two neighbours are, clear where every slice of a whole head is.
The rule was chosen on train and val; `--split test` is for a report on a released model. Intervals are
Wilson's, at 95 %.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks import figures
from scipy import stats

import falx
from falx.finding import GREATEST_GAP_MM, usable
from falx.prediction import Prediction
from falx.reading.series import Gathering, gather
from falx.study import STUDY_DECISIONS, TUMOR, Study, sum_up
from falx.words import AMBIGUOUS, NO_TUMOR, REJECTED, TUMOR_LABELS
from falx_runs.manifest import SPLITS, LabelledVolume, read_volumes

PACKAGES: Final = ("falx", "ai-edge-litert", "numpy", "nibabel")

RULES: Final = ("rule", "by slices")


@dataclass(frozen=True, slots=True)
class Case:
    """A study and what it came to.

    Attributes:
        name: of its volumes.
        said: the decision of each of `RULES`.
        strength_mm: of its strongest finding.
        carriers: how many slices carry `tumor`.
        marked: how many of these the tumour's mask marks.
    """

    name: str
    tumor: bool
    volumes: int
    said: dict[str, str]
    strength_mm: float
    carriers: int
    marked: int


def by_slices(study: Study) -> str:
    """Returns what the rule said that came before: slices decide, by themselves or with a neighbour."""
    found = study.results
    for one in study.series:
        at = one.about.positions_mm or range(len(one.results))
        own = [
            (mm, r) for mm, r in zip(at, one.results, strict=True) if isinstance(r, Prediction) and usable(r)
        ]
        called = [(mm, result.decision in TUMOR_LABELS) for mm, result in own]
        near = (a[1] and b[1] and b[0] - a[0] <= GREATEST_GAP_MM for a, b in pairwise(called))
        if any(near) or any(r.decision in TUMOR_LABELS and r.band == "high" for _, r in own):
            return TUMOR
    if not any(map(usable, found)):
        return REJECTED
    clear = all(isinstance(one, Prediction) and one.decision in (NO_TUMOR, REJECTED) for one in found)
    return NO_TUMOR if clear and study.verdict.complete else AMBIGUOUS


def rows(cases: Sequence[Case]) -> list[figures.Row]:
    """Returns counts by volumes and heads, by whether there is a tumour, and by rule."""
    out = []
    for what in ("volumes", "heads"):
        for tumor in (False, True):
            own = [one for one in cases if one.tumor == tumor and (one.volumes > 1) == (what == "heads")]
            for rule in RULES if own else ():
                said = Counter(one.said[rule] for one in own)
                out.append(
                    {
                        "studies": f"{'tumour' if tumor else 'healthy'} {what}",
                        "rule": rule,
                        "count": len(own),
                        **{name: said[name] for name in STUDY_DECISIONS},
                        "opposite": _share(said[NO_TUMOR if tumor else TUMOR], len(own)),
                        "decided": _share(said[TUMOR] + said[NO_TUMOR], len(own)),
                    }
                )
    return out


def _share(count: int, of: int) -> str:
    low, high = stats.binomtest(count, of).proportion_ci(method="wilson")
    return f"{100 * count / of:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def _answered(
    classifier: falx.Classifier, volumes: Iterable[LabelledVolume], workers: int
) -> Iterator[Study]:
    """Yields the study of each volume; its sequence is that of the manifest, as NIfTI names none."""
    for volume in volumes:
        found = gather(volume.path)
        named = tuple(replace(one, sequence=volume.sequence or None) for one in found.series)
        yield classifier.predict_study(replace(found, series=named), workers=workers)


def _case(volumes: Sequence[LabelledVolume], studies: Sequence[Study]) -> Case:
    """Returns what the volumes of one head come to, together."""
    series = tuple(one for study in studies for one in study.series)
    about = tuple(replace(one.about, sources=(b"",) * len(one.results)) for one in series)
    study = sum_up(Gathering(about), [result for one in series for result in one.results])
    marked = [
        index in (volume.slices or ())
        for volume, one in zip(volumes, series, strict=True)
        for index in range(len(one.results))
    ]
    carriers = study.verdict.carriers if study.decision == TUMOR else ()
    return Case(
        name=", ".join(volume.path.name.partition(".")[0] for volume in volumes),
        tumor=volumes[0].label != NO_TUMOR,
        volumes=len(volumes),
        said={"rule": study.decision, "by slices": by_slices(study)},
        strength_mm=study.verdict.strength_mm,
        carriers=len(carriers),
        marked=sum(marked[i] for i in carriers),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark from the command line; returns the exit status."""
    options = _options(arguments)
    splits = options.split or ["train", "val"]
    volumes = [volume for volume in read_volumes(options.data) if volume.split in splits]
    classifier = falx.load(options.model)
    setting = {**figures.machine(PACKAGES), "model": classifier.model.to_dict(), "splits": splits}
    heads: dict[str, list[tuple[LabelledVolume, Study]]] = {}
    for volume, study in zip(volumes, _answered(classifier, volumes, options.workers), strict=True):
        heads.setdefault(volume.group, []).append((volume, study))
    cases = [_case([volume], [study]) for own in heads.values() for volume, study in own]
    cases += [_case(*zip(*own, strict=True)) for own in heads.values() if len(own) > 1]
    alone = [one for one in cases if one.tumor and one.volumes == 1]
    setting["carriers"], setting["carriers_marked"] = (
        sum(getattr(one, name) for one in alone) for name in ("carriers", "marked")
    )
    figures.tell(setting, rows(cases), options.out)
    # Not in the file: the names are those of patients.
    for one in cases:
        if one.said["rule"] != (TUMOR if one.tumor else NO_TUMOR):
            truth = "tumour" if one.tumor else "healthy"
            print(f"{one.said['rule']}, {one.strength_mm:.1f} mm: {one.name} ({truth})")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = figures.parser("benchmarks.studies", __doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with manifest.csv")
    parser.add_argument("--split", action="append", choices=SPLITS, help="repeatable (train and val)")
    parser.add_argument("--model", metavar="FILE", help="any model file (the one in Falx)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="slices at a time (1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
