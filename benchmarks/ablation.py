"""Measures what each part of the recipe buys, and how it holds on a collection that it never saw.

Each row is the default recipe with one part changed, trained over few epochs without one collection; the
rate falls once, to zero, unless the row says otherwise. It is measured on `val` of the others (whether it
learned), and on `train` and `val` of the collection left out (whether it learned tumours, or collections).
Nothing is measured on `test`.

    python -m benchmarks.ablation --data ../shared/data --weights WEIGHTS --out runs/ablation
    python -m benchmarks.ablation ... --rows default --without tcga_lgg

A row that was cut off goes on from its last epoch; rows already there are only shown. `--save` keeps the
rows as JSON, and prints them as the tables of `docs/recipe.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from benchmarks import figures

from falx.decision import Thresholds, decide
from falx.slices.preprocessing import SIZE
from falx.words import LABELS, NO_TUMOR
from falx_runs.manifest import SPLITS, UNTYPED, read_records
from falx_trainer.data.tensors import Boxes, Tensors
from falx_trainer.training.recipe import PRESETS, Recipe

Changes = dict[str, Any]

DEFAULT, CLASSIC = PRESETS["default"], PRESETS["classic"]

SHORT: Final[Changes] = {"stage2.schedule": "cosine", "missed_tumors": 0.01, "map_weight": 0.0}
"""What every row has: few epochs are one cycle; with the default's half of 1 %, the threshold would hang on
two slices of val; and the head decides, for what the map says beside it was measured by
itself (docs/recipe.md)."""

ROWS: Final[dict[str, tuple[str, Changes]]] = {
    "default": ("the default recipe", {}),
    "default again": ("with another seed: what is chance", {"seed": 8}),
    "labels kept": (
        "labels of sequences that do not show the tumour are learned as they are",
        {"blind": "keep"},
    ),
    "no partial labels": ("tumours of no recorded class are dropped", {"untyped": "drop"}),
    "no balance": ("every image once an epoch, weighted by class", {"balance": "class_weights"}),
    "no counterfactuals": (
        "no lesion is moved into another head, and no tissue",
        {"counterfactual.transplant": 0.0, "counterfactual.control": 0.0},
    ),
    "no control": (
        "lesions are moved, but no healthy tissue with the same seam",
        {"counterfactual.control": 0.0},
    ),
    "no inversion": ("moved lesions keep their contrast", {"counterfactual.inverted": 0.0}),
    "no boxes": (
        "no map of evidence",
        {"head": "gap", "box_weight": 0.0, "place_weight": 0.0, "seen_weight": 0.0},
    ),
    "no place": ("the map is held to the boxes cell by cell only", {"place_weight": 0.0}),
    "no other scanners": (
        "only the usual augmentation: geometry, brightness, weak gamma and bias field",
        {
            "augmentation.gamma": 0.3,
            "augmentation.noise": 0.0,
            "augmentation.blur": 0.0,
            "augmentation.bias_field": 0.25,
            "augmentation.tone_curve": 0.0,
            "augmentation.spectrum": 0.0,
            "augmentation.strip": 0.0,
        },
    ),
    "no spectra": ("amplitudes of spectra are not mixed", {"augmentation.spectrum": 0.0}),
    "no outliers": ("no pictures that are no head, and no output for them", {"drawn_outliers": 0.0}),
    "60 layers": ("60 layers of the backbone learn instead of 100", {"stage2.layers": 60}),
    "classic": (
        "the preset `classic`, with as many epochs of stage 2",
        {
            name: value
            for name, value in CLASSIC.changes(DEFAULT).items()
            if name not in ("stage2.epochs", "missed_tumors", "map_weight")
        },
    ),
}
"""Name, what it is, and what differs from the default recipe."""

MEAN: Final = "mean"
"""The name of the row that was made of others (docs/recipe.md)."""

MEASURES: Final = ("accuracy", "auc", "missed", "cleared", "peak_in_box")
"""The likeliest label is right, over typed slices; the AUC of tumour or none; tumours decided `no_tumor`;
healthy slices decided so; the map is highest in a box. Shares."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains the rows that are missing, and prints the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a manifest with sources and splits")
    parser.add_argument("--weights", required=True, help="of the ImageNet backbone")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rows' results")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="which")
    parser.add_argument("--without", default="br35h", help="the collection left out (br35h)")
    parser.add_argument("--epochs", type=int, default=6, help="of stage 2 (6)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of all rows"
    )
    parser.add_argument("--save", type=Path, help="JSON file to put the rows into, beside others")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    common = dict(_setting(text) for text in options.set)
    common = SHORT | common | {"stage2.epochs": options.epochs}
    recipes = {name: DEFAULT.override(common | ROWS[name][1]) for name in options.rows}
    parent = options.out / f"without-{options.without}" / f"{options.epochs}-epochs"
    rows = []
    for name, recipe in recipes.items():
        folder = parent / name.replace(" ", "-")
        rows.append({"name": name, **_row(folder, recipe, options.data, options.without, options.weights)})
        print(markdown(rows, by="row"), flush=True)
        if options.save:
            _save(options.save, rows[-1])
    if options.save:
        saved = json.loads(options.save.read_text(encoding="utf-8"))["rows"]
        print("\n" + markdown(saved, by="row") + "\n" + markdown(saved, by="without"))


def markdown(rows: Sequence[figures.Row], *, by: str) -> str:
    """Returns rows as a table for a page; shares in percent.

    Args:
        rows: as `--save` writes them.
        by: `row`, the rows without the collection most are without; or `without`, the default recipe
            without each collection.
    """
    usual = Counter(row["without"] for row in rows).most_common(1)[0][0]
    chosen = [row for row in rows if (row["without"] == usual if by == "row" else row["name"] == "default")]
    lines = []
    for row in chosen:
        line = {"": _title(row)} if by == "row" else {"left out": row["without"]}
        for part, title in (("val", ""), ("left_out", "left out: ")):
            for name in MEASURES:
                value = row[part][name]
                line[title + name] = "–" if value is None else f"{100 * value:.1f}"
        lines.append(line)
    return figures.table(lines) + "\n"


def _title(row: figures.Row) -> str:
    if row["name"] == MEAN:
        return f"{MEAN}: the network whose weights are the mean of: {', '.join(row['of'])}"
    return f"{row['name']}: {ROWS[row['name']][0]}"


def _save(path: Path, row: figures.Row) -> None:
    known = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    kept = [old for old in known if (old["name"], old["without"]) != (row["name"], row["without"])]
    rows = sorted([*kept, row], key=lambda one: (one["without"], [*ROWS, MEAN].index(one["name"])))
    figures.write(path, {"rows": rows})


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _row(folder: Path, recipe: Recipe, data: Path, without: str, weights: str) -> figures.Row:
    """Returns the row's measures, trained where they are not there yet."""
    path = folder / "row.json"
    if path.exists():
        kept: figures.Row = json.loads(path.read_text(encoding="utf-8"))
        if kept["recipe"] != recipe.to_toml():
            raise SystemExit(f"{path}: of another recipe; give another --out, or delete it")
        return kept
    import keras

    from falx_trainer.data import tensors
    from falx_trainer.training import calibration, stages
    from falx_trainer.training.network import build_for
    from falx_trainer.training.sampling import shows_tumor

    everything = tensors.load([record for record in read_records(data) if record.split in SPLITS[:2]])
    left_out, train, val = (
        everything.select(indices, [everything.records[index] for index in indices])
        for indices in parts(everything.records, without, recipe.untyped)
    )
    keras.utils.set_random_seed(recipe.seed)
    network = build_for(recipe, weights)
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    stages.train(network, train, val, recipe, folder / "checkpoint")
    seconds = time.monotonic() - started
    outputs = {"val": stages.predict(network, val.pixels)}
    outputs["left_out"] = stages.predict(network, left_out.pixels)
    labels = [record.label for record in val.records]
    found = calibration.calibrate(outputs["val"], labels, recipe.map_weight)
    thresholds = calibration.choose_thresholds(
        found.probabilities(outputs["val"]), shows_tumor(val), recipe.missed_tumors
    )
    row = {
        "recipe": recipe.to_toml(),
        "without": without,
        "seconds": round(seconds),
        "thresholds": thresholds.to_dict(),
        "temperature": found.temperature,
        "offset": found.offset,
        "machine": figures.machine(["keras", "tensorflow", "numpy"]),
    }
    for name, part in (("val", val), ("left_out", left_out)):
        answers = found.probabilities(outputs[name])
        row[name] = measures(part, answers, outputs[name].get("evidence"), thresholds)
        for output, array in outputs[name].items():
            np.save(folder / f"{name}-{output}.npy", array)
    figures.write(path, row)
    return row


def parts(records: Sequence[Any], without: str, untyped: str = "partial") -> list[npt.NDArray[np.intp]]:
    """Returns the indices of what is left out, of train and of val; untyped tumours are always measured."""
    other = [record.source != without for record in records]
    return [
        np.flatnonzero(part)
        for part in (
            [not kept for kept in other],
            [
                kept and record.split == "train" and (untyped == "partial" or record.label != UNTYPED)
                for kept, record in zip(other, records, strict=True)
            ],
            [kept and record.split == "val" for kept, record in zip(other, records, strict=True)],
        )
    ]


def measures(
    data: Tensors,
    probabilities: npt.NDArray[np.float64],
    evidence: npt.NDArray[np.float32] | None,
    thresholds: Thresholds,
) -> dict[str, float | None]:
    """Returns `MEASURES` of answers; None where there are no slices of a kind."""
    from sklearn.metrics import roc_auc_score

    labels = np.array([record.label for record in data.records])
    typed, tumor = labels != UNTYPED, labels != NO_TUMOR
    right = labels == np.array(LABELS)[probabilities.argmax(axis=1)]
    cleared = np.array([decide(row, thresholds) == NO_TUMOR for row in probabilities])
    both = bool(tumor.any() and not tumor.all())
    inside = (
        [
            _peak_in(boxes, cells)
            for boxes, cells, row in zip(data.boxes, evidence, probabilities, strict=True)
            if len(boxes) and row.argmax() != LABELS.index(NO_TUMOR)
        ]
        if evidence is not None
        else []
    )
    return {
        "accuracy": _share(right[typed]),
        "auc": round(float(roc_auc_score(tumor, -probabilities[:, 0])), 4) if both else None,
        "missed": _share(cleared[tumor]),
        "cleared": _share(cleared[~tumor]),
        "peak_in_box": _share(inside),
    }


def _share(values: Any) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def _peak_in(boxes: Boxes, cells: npt.NDArray[np.float32]) -> bool:
    """Says whether the middle of the strongest place lies in a box; both in tensor pixels."""
    y, x = (np.array(np.unravel_index(cells.argmax(), cells.shape)) + 0.5) * SIZE / len(cells)
    left, top, right, bottom = boxes.T
    return bool(((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).any())


if __name__ == "__main__":
    main()
