"""Measures what each part of the recipe buys, and how it holds on a collection that it never saw.

Each row is a run of the default recipe with one part changed, over few epochs and without one collection; the
rate falls once, to zero, unless the row says otherwise. It is measured on `val` of the others (whether it
learned), and on `train` and `val` of the collection left out (whether it learned tumours, or collections), at
the threshold that misses 1 % there. Nothing is measured on `test`.

    python -m benchmarks.ablation --data ../shared/data --weights WEIGHTS --out runs/ablation
    python -m benchmarks.ablation ... --rows default --without tcga_lgg --outliers ../shared/outliers
    python -m benchmarks.ablation ... --rows default "cut slices" --cuts CUTS

A row that was cut off goes on from its last epoch; rows already there are only shown. `--save` keeps the
rows as JSON, and prints them as the tables of `docs/recipe.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from benchmarks import figures

from falx_runs.run_folder import is_finished, read_run
from falx_trainer.training.recipe import PRESETS, Recipe

Changes = dict[str, Any]

DEFAULT, CLASSIC = PRESETS["default"], PRESETS["classic"]

SHORT: Final[Changes] = {
    "stage2.schedule": "cosine",
    "stage2.full": 2,
    "missed_tumors": 0.01,
}
"""The settings of every row: few epochs are one cycle, the last two of 224 pixels."""

CUTS: Final = "cut slices"
"""The name of the row that learns from more data, those of `--cuts`."""

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
    CUTS: ("beside the data, slices that `falx_trainer cut` cut out of healthy whole heads", {}),
    "no word": ("the map is not asked whether there is a tumour at all", {"seen_weight": 0.0}),
    "no outliers": (
        "no pictures that are not slices of a brain, and no output for them",
        {"drawn_outliers": 0.0, "real_outliers": 0.0},
    ),
    "drawn outliers": (
        "pictures that are not slices of a brain are drawn, none is real",
        {"real_outliers": 0.0},
    ),
    "224 pixels": ("no smaller images", {"size": 224, "stage2.full": 0}),
    "echo": ("two epochs see the same varied images", {"stage2.echo": 2}),
    "float32": ("convolutions compute in float32", {"precision": "float32"}),
    "60 layers": ("60 layers of the backbone learn instead of 100", {"stage2.layers": 60}),
    "classic": (
        "the preset `classic`, with as many epochs of stage 2",
        {
            name: value
            for name, value in CLASSIC.changes(DEFAULT).items()
            if name not in ("stage2.epochs", "missed_tumors", "stage2.full")
        },
    ),
}
"""Name, what it is, and what differs from the default recipe."""

MEAN: Final = "mean"
"""The name of the row that was made of others (docs/recipe.md)."""

RECIPE: Final = "recipe.toml"

MEASURES: Final = ("accuracy", "auc", "missed", "cleared", "peak_in_box")
"""The likeliest label is right, over typed slices; the AUC of tumour or none; tumours decided `no_tumor`;
healthy slices decided so; the map is highest in a box. Shares."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains the rows that are missing, and prints the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a manifest with sources and splits")
    parser.add_argument("--weights", required=True, help="of the ImageNet backbone")
    parser.add_argument("--outliers", type=Path, help="pictures that are not slices of a brain")
    parser.add_argument("--cuts", type=Path, help=f"a manifest more, for the row '{CUTS}'")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rows' runs")
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help="which (all)")
    parser.add_argument("--without", default="feltrin", help="the collection left out (feltrin)")
    parser.add_argument("--epochs", type=int, default=6, help="of stage 2 (6)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of all rows"
    )
    parser.add_argument("--save", type=Path, help="JSON file to put the rows into, beside others")
    options = parser.parse_args(arguments)
    if CUTS in (options.rows or ()) and not options.cuts:
        parser.error(f"the row '{CUTS}' needs --cuts")
    asked = options.rows or [name for name in ROWS if name != CUTS or options.cuts]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    common = dict(_setting(text) for text in options.set)
    common = SHORT | common | {"stage2.epochs": options.epochs, "without": options.without}
    recipes = {name: DEFAULT.override(common | ROWS[name][1]) for name in asked}
    parent = options.out / f"without-{options.without}" / f"{options.epochs}-epochs"
    rows = []
    for name, recipe in recipes.items():
        folder = parent / name.replace(" ", "-")
        data = [options.data, options.cuts] if name == CUTS else [options.data]
        given = (data, options.outliers, options.out / "prepared", options.weights)
        rows.append({"name": name, **_row(folder, recipe, *given)})
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


def _row(
    folder: Path, recipe: Recipe, data: list[Path], outliers: Path | None, cache: Path, weights: str
) -> figures.Row:
    """Returns the row's measures, trained where they are not there yet."""
    from falx_trainer.training.run import run

    if not is_finished(folder):
        run(
            data,
            folder,
            recipe,
            preset="default",
            name=folder.name,
            weights=weights,
            outliers=outliers,
            cache=cache,
        )
    elif (folder / RECIPE).read_text(encoding="utf-8") != recipe.to_toml():
        raise SystemExit(f"{folder}: of another recipe; give another --out, or delete it")
    done = read_run(folder)
    metrics = cast("dict[str, dict[str, float | None]]", done.metrics)
    measured = {part: {name: metrics[part].get(name) for name in MEASURES} for part in ("val", "left_out")}
    return {
        "recipe": recipe.to_toml(),
        "without": recipe.without,
        "seconds": done.seconds,
        "thresholds": done.thresholds.to_dict(),
        "calibration": dataclasses.asdict(done.calibration),
        "machine": figures.machine(["keras", "tensorflow", "numpy"]),
        **measured,
    }


if __name__ == "__main__":
    main()
