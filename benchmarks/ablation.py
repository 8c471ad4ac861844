"""What each part of the recipe buys, and how it holds on a collection that it never saw.

Each row is the default recipe with one part changed, trained over few epochs without one collection; the
rate falls once, to zero, unless the row says otherwise.
It is measured on `val` of the others (whether it learned), and on `train` and `val` of the collection left
out (whether it learned tumours, or collections). Nothing is measured on `test`.

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from benchmarks import machine

from falx.decision import Thresholds, decide
from falx.preprocessing import SIZE
from falx.words import LABELS, NO_TUMOR
from falx_runs.manifest import SPLITS, UNTYPED, read_records
from falx_trainer.data.tensors import Boxes, Tensors
from falx_trainer.training.recipe import PRESETS, Recipe

if TYPE_CHECKING:
    from falx_trainer.training.network import Network

Changes = dict[str, Any]

DEFAULT, CLASSIC = PRESETS["default"], PRESETS["classic"]

SHORT: Final[Changes] = {"stage2.schedule": "cosine", "missed_tumors": 0.01, "map_weight": 0.0}
"""What every row has: few epochs are one cycle; with the default's half of 1 %, the threshold would hang on
two slices of val; and the head decides, for what the map says beside it is measured by
`benchmarks.map_weight`."""

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
    "no boxes": ("no map of evidence", {"head": "gap", "box_weight": 0.0, "place_weight": 0.0}),
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

WEIGHTS: Final = "row.weights.h5"

MEAN: Final = "mean"
"""Name of the row that is made of others."""

MEASURES: Final = ("accuracy", "auc", "missed", "cleared", "peak_in_box")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the rows that are missing, and print the table."""
    parser = argparse.ArgumentParser("benchmarks.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a manifest with sources and splits")
    parser.add_argument("--weights", required=True, help="of the ImageNet backbone")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rows' results")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="which")
    parser.add_argument("--without", default="br35h", help="the collection left out (br35h)")
    parser.add_argument("--epochs", type=int, default=6, help="of stage 2 (6)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of all rows"
    )
    parser.add_argument(
        "--mean", action="store_true", help="one more row: the network whose weights are these rows' mean"
    )
    parser.add_argument("--save", type=Path, help="JSON file to put the rows into, beside others")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    common = dict(_setting(text) for text in options.set)
    common = SHORT | common | {"stage2.epochs": options.epochs}
    recipes = {name: DEFAULT.override(common | ROWS[name][1]) for name in options.rows}
    if options.mean and len({_network_of(recipe) for recipe in recipes.values()}) > 1:
        parser.error(
            "--mean: networks that differ in their layers have no mean; name rows of one with --rows"
        )
    rows = {}
    parent = options.out / f"without-{options.without}" / f"{options.epochs}-epochs"
    folders = {name: parent / name.replace(" ", "-") for name in options.rows}
    for name, folder in folders.items():
        rows[name] = _row(folder, recipes[name], options.data, options.without, options.weights)
        print(table({name: rows[name]}), flush=True)
        if options.save:
            _save(options.save, name, rows[name])
    if options.mean:
        recipe = DEFAULT.override(common)
        rows[MEAN] = _mean(folders, recipe, options.data, options.without, options.weights)
        if options.save:
            _save(options.save, MEAN, rows[MEAN])
    print("\n" + table(rows))
    if options.save:
        saved = json.loads(options.save.read_text(encoding="utf-8"))
        print("\n" + markdown(saved, by="row") + "\n" + markdown(saved, by="without"))


def markdown(results: dict[str, Any], *, by: str) -> str:
    """The rows saved by this command as a table for a page.

    Args:
        results: the document that `--save` wrote.
        by: `row`, the rows without the collection most are without; or `without`, the default recipe
            without each collection.
    """
    rows = results["rows"]
    usual = Counter(row["without"] for row in rows).most_common(1)[0][0]
    chosen = [row for row in rows if (row["without"] == usual if by == "row" else row["name"] == "default")]
    heads = {"row": "", "without": "left out"}[by]
    titles = [name.replace("_", " ") for name in MEASURES]
    lines = [
        f"| {heads} | " + " | ".join([*titles, *(f"left out: {title}" for title in titles)]) + " |",
        "|---" * (1 + 2 * len(MEASURES)) + "|",
    ]
    for row in chosen:
        cells = [_cell(row[part][measure]).strip() for part in ("val", "left_out") for measure in MEASURES]
        title = row["without"] if by == "without" else _title(row)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _title(row: dict[str, Any]) -> str:
    if row["name"] == MEAN:
        return f"{MEAN}: the network whose weights are the mean of: {', '.join(row['of'])}"
    return f"{row['name']}: {ROWS[row['name']][0]}"


def _save(path: Path, name: str, row: dict[str, Any]) -> None:
    known = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    kept = [old for old in known if (old["name"], old["without"]) != (name, row["without"])]
    rows = [*kept, {"name": name, **row}]
    rows.sort(key=lambda one: (one["without"], [*ROWS, MEAN].index(one["name"])))
    machine.write(path, {"rows": rows})


def table(rows: dict[str, dict[str, Any]]) -> str:
    """A line a row; shares in percent."""
    lines = [f"{'':20}{'val of the others':>{8 * len(MEASURES)}}  {'left out':>{8 * len(MEASURES)}}"]
    lines.append(f"{'':20}" + 2 * ("".join(f"{name.split('_')[0]:>8}" for name in MEASURES) + "  "))
    for name, row in rows.items():
        cells = ["".join(_cell(row[part][measure]) for measure in MEASURES) for part in ("val", "left_out")]
        lines.append(f"{name:20}" + "  ".join(cells))
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return f"{'–' if value is None else f'{100 * value:.1f}':>8}"


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _row(folder: Path, recipe: Recipe, data: Path, without: str, weights: str) -> dict[str, Any]:
    """The row's measures, trained where they are not there yet."""
    path = folder / "row.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found["recipe"] != recipe.to_toml():
            raise SystemExit(f"{path}: of another recipe; give another --out, or delete it")
        return found
    import keras

    from falx_trainer.training import stages
    from falx_trainer.training.network import build_for

    left_out, train, val = _prepared(data, without, recipe.untyped)
    keras.utils.set_random_seed(recipe.seed)
    network = build_for(recipe, weights)
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    stages.train(network, train, val, recipe, folder / "checkpoint")
    seconds = time.monotonic() - started
    facts, outputs = _measured(network, recipe, val, left_out)
    row = {"recipe": recipe.to_toml(), "without": without, "seconds": round(seconds), **facts}
    network.whole.save_weights(folder / WEIGHTS)
    for part, values in outputs.items():
        for name, array in values.items():
            np.save(folder / f"{part}-{name}.npy", array)
    machine.write(path, row)
    return row


def _network_of(recipe: Recipe) -> tuple[str, int, bool]:
    """What decides which weights a network has."""
    return recipe.head, recipe.dense, recipe.drawn_outliers > 0


def _mean(
    folders: Mapping[str, Path], recipe: Recipe, data: Path, without: str, backbone: str
) -> dict[str, Any]:
    """The measures of the network whose weights are the mean of rows' weights."""
    from falx_trainer.training.network import build_for

    left_out, _, val = _prepared(data, without, recipe.untyped)
    network = build_for(recipe, backbone)
    weights = []
    for folder in folders.values():
        network.whole.load_weights(folder / WEIGHTS)
        weights.append(network.whole.get_weights())
    network.whole.set_weights([np.mean(parts, axis=0) for parts in zip(*weights, strict=True)])
    facts, _ = _measured(network, recipe, val, left_out)
    return {"of": list(folders), "recipe": recipe.to_toml(), "without": without, **facts}


def _prepared(data: Path, without: str, untyped: str) -> list[Tensors]:
    """What is left out, train and val."""
    from falx_trainer.data import tensors

    everything = tensors.load([record for record in read_records(data) if record.split in SPLITS[:2]])
    return [
        everything.select(indices, [everything.records[index] for index in indices])
        for indices in parts(everything.records, without, untyped)
    ]


def _measured(
    network: Network, recipe: Recipe, val: Tensors, left_out: Tensors
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A row's measures, and the outputs they are of, of `val` and `left_out`."""
    from falx_trainer.training import calibration, stages

    data = {"val": val, "left_out": left_out}
    outputs = {name: stages.predict(network, part.pixels) for name, part in data.items()}
    found, thresholds = calibration.calibrate(
        outputs["val"], [record.label for record in val.records], recipe.missed_tumors, recipe.map_weight
    )
    facts = {
        "thresholds": thresholds.to_dict(),
        "temperature": found.temperature,
        "offset": found.offset,
        "machine": machine.described(["keras", "tensorflow", "numpy"]),
    }
    for name, some in outputs.items():
        answers = found.probabilities(some)
        facts[name] = measures(data[name], answers, some.get("evidence"), thresholds)
    return facts, outputs


def parts(records: Sequence[Any], without: str, untyped: str = "partial") -> list[npt.NDArray[np.intp]]:
    """Indices of what is left out, of train and of val; untyped tumours are always measured on."""
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
    data: Any, probabilities: npt.NDArray[np.float64], evidence: Any, thresholds: Thresholds
) -> dict[str, float | None]:
    """Accuracy of typed slices, AUC of tumour or none, tumours missed, healthy cleared, peaks in a box."""
    labels = np.array([record.label for record in data.records])
    typed = labels != UNTYPED
    right = labels == np.array(LABELS)[probabilities.argmax(axis=1)]
    inside = []
    if evidence is not None:
        inside = [
            _peak_in(boxes, cells)
            for boxes, cells, row in zip(data.boxes, evidence, probabilities, strict=True)
            if len(boxes) and row.argmax() != LABELS.index(NO_TUMOR)
        ]
    return {
        "accuracy": _share(right[typed]),
        **tumor_or_none(labels != NO_TUMOR, probabilities, thresholds),
        "peak_in_box": _share(inside),
    }


def tumor_or_none(
    tumor: npt.NDArray[np.bool_], probabilities: npt.NDArray[np.float64], thresholds: Thresholds
) -> dict[str, float | None]:
    """AUC of tumour or none, tumours missed and healthy slices cleared; None where there are none of a kind.

    Args:
        tumor: `(N,)`, whether there is a tumour.
        probabilities: `(N, 4)`.
        thresholds: that decide.
    """
    from sklearn.metrics import roc_auc_score

    cleared = np.array([decide(row, thresholds) == NO_TUMOR for row in probabilities])
    both = bool(tumor.any() and not tumor.all())
    return {
        "auc": round(float(roc_auc_score(tumor, -probabilities[:, 0])), 4) if both else None,
        "missed": _share(cleared[tumor]),
        "cleared": _share(cleared[~tumor]),
    }


def _share(values: Any) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def _peak_in(boxes: Boxes, cells: npt.NDArray[np.float32]) -> bool:
    """Whether the middle of the strongest place lies in a box; both in tensor pixels."""
    y, x = (np.array(np.unravel_index(cells.argmax(), cells.shape)) + 0.5) * SIZE / len(cells)
    left, top, right, bottom = boxes.T
    return bool(((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).any())


if __name__ == "__main__":
    main()
