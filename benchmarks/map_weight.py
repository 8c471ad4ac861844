"""What the map of evidence adds to the decision, on a collection that the network never saw.

    python -m benchmarks.map_weight runs/ablation/without-br35h/3-epochs/* --data ../shared/data

A row of `benchmarks.ablation` keeps what its network answers. Here these answers are calibrated again with
several `map_weight`, which takes seconds: nothing is trained. Nothing is measured on `test`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from benchmarks import ablation, machine

from falx.words import NO_TUMOR
from falx_runs.manifest import SPLITS, Record, read_records
from falx_trainer.training import calibration
from falx_trainer.training.recipe import PRESETS

__all__ = ["main", "markdown", "measure"]

MAP_WEIGHTS: Final = (0.0, 0.25, 0.5, 1.0, 2.0)

PARTS: Final = ("left_out", "val")

SAME_HEADS: Final = "tcga_lgg"
"""The collection that has tumour and clean slices of the same heads: which collection it is tells nothing."""

LOST: Final = 0.01
"""Share of the left-out tumours that may be missed where *cleared at 1 %* is measured."""

TITLES: Final = {
    "left_out_auc": "left out: auc",
    "left_out_cleared_at": "left out: cleared at 1 % missed",
    "left_out_missed": "left out: missed",
    "left_out_cleared": "left out: cleared",
    "val_auc": "val: auc",
    "val_same_heads_auc": "val: auc in the same heads",
    "val_cleared": "val: cleared",
}
"""What is measured, and its title in the table; shares."""

Outputs = Mapping[str, npt.NDArray[np.floating]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser("benchmarks.map_weight", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("rows", type=Path, nargs="+", help="folders of rows; without a map: skipped")
    parser.add_argument("--data", type=Path, required=True, help="the manifest they were made with")
    parser.add_argument("--save", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    records = [record for record in read_records(options.data) if record.split in SPLITS[:2]]
    found = []
    for folder in options.rows:
        if not (folder / "row.json").exists() or not (folder / "val-evidence.npy").exists():
            print(f"{folder}: skipped: no finished row, or one whose network has no map", file=sys.stderr)
            continue
        row = json.loads((folder / "row.json").read_text(encoding="utf-8"))
        without, recipe = row["without"], tomllib.loads(row["recipe"])
        outputs = {part: _outputs(folder, part) for part in PARTS}
        left_out, _, val = ([records[i] for i in part] for part in ablation.parts(records, without))
        for part, chosen in zip(PARTS, (left_out, val), strict=True):
            if len(chosen) != len(outputs[part]["logits"]):
                parser.error(
                    f"{folder}: answers for {len(outputs[part]['logits'])} slices of {part}, but "
                    f"{options.data} has {len(chosen)}; expected the data that the row was made with"
                )
        for weight in MAP_WEIGHTS:
            measures = measure(outputs, left_out, val, weight)
            name = {"row": folder.name, "without": without, "seed": recipe["seed"]}
            found.append({**name, "epochs": recipe["stage2"]["epochs"], "map_weight": weight, **measures})
    if not found:
        parser.error("no row with a map in these folders; expected those of benchmarks.ablation")
    print(markdown(found))
    if options.save:
        machine.write(options.save, {"machine": machine.described(["numpy", "scipy"]), "rows": found})


def measure(
    outputs: Mapping[str, Outputs], left_out: Sequence[Record], val: Sequence[Record], map_weight: float
) -> dict[str, float | None]:
    """One network with one weight: what `TITLES` names, as shares; None where there are none of a kind.

    Args:
        outputs: the network's, of `left_out` and of `val`.
        left_out: the slices of the collection it never saw, of both kinds.
        val: those it is calibrated on.
        map_weight: of `falx_trainer.training.calibration.Calibration`.
    """
    recipe = PRESETS["default"]
    found, thresholds = calibration.calibrate(
        outputs["val"], [record.label for record in val], recipe.missed_tumors, map_weight
    )
    elsewhere, known = (found.probabilities(outputs[part]) for part in PARTS)
    tumor = _tumors(left_out)
    same = [record.source == SAME_HEADS for record in val]
    strictest = np.quantile(elsewhere[tumor, 0], 1 - LOST, method="higher")
    values = {
        f"{part}_{name}": value
        for part, records, probabilities in (("left_out", left_out, elsewhere), ("val", val, known))
        for name, value in ablation.tumor_or_none(_tumors(records), probabilities, thresholds).items()
    }
    values["left_out_cleared_at"] = round(float((elsewhere[~tumor, 0] > strictest).mean()), 4)
    values["val_same_heads_auc"] = ablation.tumor_or_none(_tumors(val)[same], known[same], thresholds)["auc"]
    return {name: values[name] for name in TITLES}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The means over the networks, a line a weight, in percent."""
    weights = list(dict.fromkeys(row["map_weight"] for row in rows))
    networks = len(rows) // len(weights)
    title = "one network" if networks == 1 else f"mean of {networks} networks"
    lines = ["| " + " | ".join([title, *TITLES.values()]) + " |", "|---" * (1 + len(TITLES)) + "|"]
    for weight in weights:
        some = [row for row in rows if row["map_weight"] == weight]
        cells = (f"{100 * np.mean([row[name] for row in some]):.1f}" for name in TITLES)
        lines.append(f"| `map_weight = {weight}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _outputs(folder: Path, part: str) -> Outputs:
    return {name: np.load(folder / f"{part}-{name}.npy") for name in ("logits", "evidence")}


def _tumors(records: Sequence[Record]) -> npt.NDArray[np.bool_]:
    return np.array([record.label != NO_TUMOR for record in records])


if __name__ == "__main__":
    main()
