"""Measures how many slices a second the trainer learns from, beside the trainer of an earlier commit.

    python -m benchmarks.training_speed --data ../shared/data --weights WEIGHTS --against falx-5's commit

Both train their default recipe, stage 2 alone, on the same slices, in turns, each as a command of its own.
The time is that of whole epochs: varying the images, what is frozen, learning, and judging `val`. Today's
recipe learns from small images first; its rate is that of both sizes, in the recipe's proportion.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks import figures

from falx_runs.manifest import read_records, to_csv
from falx_trainer.training.recipe import PRESETS

EPOCHS: Final = 6
"""Of each turn: for today's recipe a whole echo of three at either size."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints the table."""
    parser = figures.parser("benchmarks.training_speed", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="a manifest with splits")
    parser.add_argument("--weights", type=Path, required=True, help="of the ImageNet backbone")
    parser.add_argument("--against", metavar="COMMIT", help="whose trainer takes turns with this one")
    parser.add_argument("--slices", type=int, default=3000, help="how many are learned from (3000)")
    parser.add_argument("--turns", type=int, default=2, help="of each trainer (2)")
    options = parser.parse_args(arguments)
    setting = figures.machine(["keras", "tensorflow", "numpy"]) | {
        "slices": options.slices,
        "turns": options.turns,
    }
    rows = [row for turn in range(options.turns) for row in _turn(options, turn)]
    names = list(dict.fromkeys(row["trainer"] for row in rows))
    means: list[figures.Row] = []
    for name in names:
        some = [row for row in rows if row["trainer"] == name]
        keys = [key for key in some[0] if key != "trainer"]
        means.append(
            {"trainer": name} | {key: round(float(np.mean([r[key] for r in some])), 1) for key in keys}
        )
    for row in means:
        row["ratio"] = round(row["slices_a_second"] / means[0]["slices_a_second"], 2)
    figures.tell(setting, means, options.out)


def _turn(options: argparse.Namespace, turn: int) -> list[figures.Row]:
    """A row of each trainer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = [record for record in read_records(options.data) if record.split in ("train", "val")]
        random = np.random.default_rng(turn)
        some = [records[index] for index in random.permutation(len(records))[: options.slices * 6 // 5]]
        (folder / "some.csv").write_text(to_csv(some), encoding="utf-8")
        learned = sum(record.split == "train" for record in some)
        common = ["--data", folder / "some.csv", "--weights", options.weights.resolve()]
        common += ["--stage1.epochs", "0", "--stage2.epochs", str(EPOCHS)]
        rows = []
        if options.against:
            earlier = folder / "earlier"
            _git("worktree", "add", "--detach", str(earlier), options.against)
            try:
                seconds = _seconds(earlier, [*common, "--out", folder / "before"])
            finally:
                _git("worktree", "remove", "--force", str(earlier))
            rate = EPOCHS * learned / sum(seconds)
            rows.append(_row(options.against, rate, rate, rate))
        recipe = PRESETS["default"].stage2
        mine = ["--out", folder / "now", "--stage2.full", str(EPOCHS // 2), "--real-outliers", "0"]
        seconds = _seconds(figures.CHECKOUT, [*common, *mine])
        small, full = (
            EPOCHS // 2 * learned / sum(part) for part in (seconds[: EPOCHS // 2], seconds[EPOCHS // 2 :])
        )
        share = recipe.full / recipe.epochs
        rows.append(_row("this one", 1 / ((1 - share) / small + share / full), small, full))
    return rows


def _row(trainer: str, whole: float, small: float, full: float) -> figures.Row:
    return {"trainer": trainer, "slices_a_second": whole, "of_small_images": small, "of_224_pixels": full}


def _seconds(checkout: Path, options: Sequence[object]) -> list[float]:
    """Seconds of each epoch of a training."""
    path = os.pathsep.join(str(checkout / part) for part in ("runtime", "export", "trainer"))
    subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "falx_trainer", "train", *map(str, options)],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    folder = Path(str(options[list(options).index("--out") + 1]))
    with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
        return [float(row["seconds"]) for row in csv.DictReader(file)]


def _git(*arguments: str) -> None:
    command = ["git", *arguments]
    subprocess.run(command, cwd=figures.CHECKOUT, check=True, capture_output=True)  # noqa: S603


if __name__ == "__main__":
    main()
