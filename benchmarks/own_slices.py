"""Measures what a few hundred slices of one's own buy: a trained model goes on from them.

    python -m benchmarks.own_slices runs/without-feltrin --source feltrin --data MANIFEST --runs runs/own

The model must not have learned the collection. Some of its slices, whole groups of its `train` split, are
taken for one's own, a fifth of them for `val`; the preset `own` goes on from the model with them. Measured is
the collection's `val` split, which nothing was learned from or chosen on. Nothing is measured on `test`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks import figures

from falx.words import NO_TUMOR
from falx_runs.manifest import Record, read_records, to_csv
from falx_runs.run_folder import is_finished
from falx_trainer.evaluation.measures import shares
from falx_trainer.training.recipe import PRESETS

MEASURES: Final = ("missed", "cleared", "right_of_decided", "decided", "ambiguous", "rejected")

SEED: Final = 7


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains what is missing, and prints the table."""
    parser = figures.parser("benchmarks.own_slices", __doc__)
    parser.add_argument("model", type=Path, help="a run folder, of a training without the collection")
    parser.add_argument("--source", required=True, help="the collection")
    parser.add_argument("--data", type=Path, required=True, help="a manifest with it")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 200, 1000], help="(50 200 1000)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from falx_trainer.training.run import run

    setting = figures.machine(["keras", "tensorflow", "numpy"]) | {
        "model": options.model.name,
        "source": options.source,
    }
    known = [record for record in read_records(options.data) if record.source == options.source]
    rows = [_row(options.model, 0, known)]
    for count in options.counts:
        folder = options.runs / str(count)
        if not is_finished(folder):
            folder.mkdir(parents=True, exist_ok=True)
            manifest = folder.with_suffix(".csv")
            manifest.write_text(to_csv(_own(known, count)), encoding="utf-8")
            run(
                manifest,
                folder,
                PRESETS["own"],
                preset="own",
                name=f"own-{count}",
                weights="imagenet",
                start_from=options.model,
            )
        rows.append(_row(folder, count, known))
    figures.tell(setting, rows, options.out)


def _own(known: Sequence[Record], count: int) -> list[Record]:
    """Returns about so many slices, half of them healthy while there are any.

    They are whole groups by chance, none larger than a fifth of all, and every fifth of each kind is `val`.
    """
    groups: dict[bool, dict[str, list[Record]]] = {True: {}, False: {}}
    for record in known:
        if record.split == "train":
            groups[record.label == NO_TUMOR].setdefault(record.group, []).append(record)
    random = np.random.default_rng(SEED)
    waiting = {
        healthy: list(random.permutation(sorted(name for name in some if len(some[name]) <= count // 5)))
        for healthy, some in groups.items()
    }
    own: dict[bool, list[Record]] = {True: [], False: []}
    taken = {True: 0, False: 0}
    while sum(map(len, own.values())) < count and any(waiting.values()):
        healthy = bool(waiting[True]) and (len(own[True]) <= len(own[False]) or not waiting[False])
        taken[healthy] += 1
        split = "val" if taken[healthy] % 5 == 0 else "train"
        some = groups[healthy][waiting[healthy].pop()]
        own[healthy] += [dataclasses.replace(record, split=split) for record in some]
    return own[True] + own[False]


def _row(folder: Path, count: int, known: Sequence[Record]) -> figures.Row:
    from falx_trainer.evaluation.run_answers import RunModel

    model = RunModel(folder)
    held = [record for record in known if record.split == "val"]
    pairs = [
        (record, answer)
        for record, answer in zip(held, model.answers([record.path for record in held]), strict=True)
        if answer is not None
    ]
    measured = shares(pairs)
    row: figures.Row = {"own_slices": count, "threshold": model.thresholds.no_tumor}
    for name in MEASURES:
        interval = measured[name]
        row[name] = None if interval is None else f"{100 * interval[0]:.1f}"
    return row


if __name__ == "__main__":
    main()
