"""Measures what the rule of `falx.study` says of whole heads, healthy ones and ones with a tumour.

    python -m benchmarks.studies --data ../shared/studies --out studies.json
    python -m benchmarks.studies --data ../shared/studies --split train val test --model a.tflite b.tflite

Each volume of the manifest is a study. Each head of several volumes is one too: its sequences confirm and
contradict each other. Beside the rule stands the one that it replaced (`by_slices`): a tumour where one
slice is decided one with high confidence or two neighbours are, clear where every slice of a whole head is.
The rule was chosen on train and val, which count together; the part test is for a report on a released model.

`opposite` are healthy studies called a tumour and tumours called clear, with Wilson's interval at 95 %, and
`in the mask` the slices that carry `tumor` and that the tumour's mask marks.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Final

from benchmarks import figures
from scipy import stats

import falx
from falx.finding import GREATEST_GAP_MM, usable
from falx.prediction import Prediction
from falx.reading.series import Gathering, gather
from falx.study import STUDY_DECISIONS, TUMOR, Study, sum_up
from falx.words import AMBIGUOUS, NO_TUMOR, REJECTED, TUMOR_LABELS, percent
from falx_runs.manifest import SPLITS, LabelledVolume, read_volumes

PACKAGES: Final = ("falx", "ai-edge-litert", "numpy", "nibabel")

RULES: Final = ("rule", "by slices")

PARTS: Final = {"train and val": ("train", "val"), "test": ("test",)}


@dataclass(frozen=True, slots=True)
class Case:
    """A study and what it came to.

    Attributes:
        name: of its volumes.
        part: one of `PARTS`.
        model: what answered: a file, or the model in Falx.
        said: the decision of each of `RULES`.
        strength_mm: of its strongest finding.
        carriers: how many slices carry `tumor`.
        marked: how many of these the tumour's mask marks.
    """

    name: str
    part: str
    model: str
    tumor: bool
    volumes: int
    said: dict[str, str]
    strength_mm: float
    carriers: int
    marked: int

    def opposite(self, rule: str) -> bool:
        """Returns whether a rule said the opposite of what is true."""
        return self.said[rule] == (NO_TUMOR if self.tumor else TUMOR)


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
    """Returns counts by part, by volumes and heads, by whether there is a tumour, by model and by rule."""
    out = []
    models = list(dict.fromkeys(one.model for one in cases))
    kinds = [(heads, tumor) for heads in (False, True) for tumor in (False, True, None)]
    for part, (heads, tumor), model, rule in product(PARTS, kinds, models, RULES):
        own = [one for one in cases if (one.part, one.model, one.volumes > 1) == (part, model, heads)]
        own = [one for one in own if tumor in (one.tumor, None)]
        if not own:
            continue
        said = Counter(one.said[rule] for one in own)
        which = {False: "healthy", True: "tumour", None: "all"}[tumor]
        carriers = sum(one.carriers for one in own) if tumor and rule == "rule" else 0
        out.append(
            {
                "part": part,
                "studies": f"{which} {'heads' if heads else 'volumes'}",
                "model": model,
                "rule": rule,
                "count": len(own),
                **{name: said[name] for name in STUDY_DECISIONS},
                "opposite": _share(sum(one.opposite(rule) for one in own), len(own)),
                "decided": _share(said[TUMOR] + said[NO_TUMOR], len(own)),
                "in_the_mask": f"{sum(one.marked for one in own)} of {carriers}" if carriers else None,
            }
        )
    return out


def summary(found: Sequence[figures.Row]) -> list[figures.Row]:
    """Returns the rows of volumes, a line for each part, model and rule."""
    by_kind = {(r["part"], r["model"], r["rule"], r["studies"]): r for r in found}
    out = []
    for part, model, rule in dict.fromkeys(key[:3] for key in by_kind):
        kinds = [by_kind.get((part, model, rule, f"{name} volumes")) for name in ("healthy", "tumour", "all")]
        healthy, tumors, both = (one or Counter() for one in kinds)
        out.append(
            {
                "part": part,
                "model": model,
                "rule": rule,
                "healthy": healthy["count"],
                "cleared": healthy[NO_TUMOR],
                "alarms": healthy[TUMOR],
                "tumours": tumors["count"],
                "found": tumors[TUMOR],
                "missed": tumors[NO_TUMOR],
                "decided": both["decided"],
            }
        )
    return out


def tables(found: Sequence[figures.Row]) -> list[str]:
    """Returns rows as tables: a summary, then one for each part and model."""
    out = [figures.table(summary(found))]
    for part, model in dict.fromkeys((row["part"], row["model"]) for row in found):
        own = [row for row in found if (row["part"], row["model"]) == (part, model)]
        left_out = ("part", "model")
        shown = [{name: row[name] for name in row if name not in left_out} for row in own]
        out.append(f"{model}, {part}:\n\n{figures.table(shown)}")
    return out


def _share(count: int, of: int) -> str:
    low, high = stats.binomtest(count, of).proportion_ci(method="wilson")
    return f"{percent(count / of, 0)} ({100 * low:.0f} to {100 * high:.0f})"


def _answered(
    classifier: falx.Classifier, volumes: Iterable[LabelledVolume], workers: int
) -> Iterator[Study]:
    """Yields the study of each volume; its sequence is that of the manifest, as NIfTI names none."""
    for volume in volumes:
        found = gather(volume.path)
        named = tuple(replace(one, sequence=volume.sequence or None) for one in found.series)
        yield classifier.predict_study(replace(found, series=named), workers=workers)


def _case(model: str, volumes: Sequence[LabelledVolume], studies: Sequence[Study]) -> Case:
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
        part=next(part for part, splits in PARTS.items() if volumes[0].split in splits),
        model=model,
        tumor=volumes[0].label != NO_TUMOR,
        volumes=len(volumes),
        said={"rule": study.decision, "by slices": by_slices(study)},
        strength_mm=study.verdict.strength_mm,
        carriers=len(carriers),
        marked=sum(marked[i] for i in carriers),
    )


def _cases(file: str | None, volumes: Sequence[LabelledVolume], workers: int) -> Iterator[Case]:
    """Yields what each volume comes to, then each head of several."""
    classifier = falx.load(file)
    # By its file: a model's files for several engines have one name.
    name = classifier.model.name if file is None else Path(file).name
    heads: dict[str, list[tuple[LabelledVolume, Study]]] = {}
    for volume, study in zip(volumes, _answered(classifier, volumes, workers), strict=True):
        heads.setdefault(volume.group, []).append((volume, study))
        yield _case(name, [volume], [study])
    for own in heads.values():
        if len(own) > 1:
            yield _case(name, *zip(*own, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark from the command line; returns the exit status."""
    options = _options(arguments)
    volumes = [volume for volume in read_volumes(options.data) if volume.split in options.split]
    models = [falx.load(file).model.to_dict() for file in options.model]
    setting = {**figures.machine(PACKAGES), "models": models}
    cases = [case for file in options.model for case in _cases(file, volumes, options.workers)]
    found = rows(cases)
    print("\n\n".join(["\n".join(figures.lines(setting)), *tables(found)]))
    if options.out is not None:
        figures.write(options.out, {**setting, "rows": found})
    # Not in the file: the names are those of patients.
    for one in cases:
        if one.said["rule"] != (TUMOR if one.tumor else NO_TUMOR):
            truth = "tumour" if one.tumor else "healthy"
            print(f"{one.model}: {one.said['rule']}, {one.strength_mm:.1f} mm: {one.name} ({truth})")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = figures.parser("benchmarks.studies", __doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with manifest.csv")
    parser.add_argument(
        "--split", nargs="+", choices=SPLITS, default=["train", "val"], help="what to read (train val)"
    )
    parser.add_argument(
        "--model", nargs="+", metavar="FILE", default=[None], help="model files, side by side (that in Falx)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="slices at a time (1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
