"""When does the quality of a picture begin to change what Falx says? For the lines of `falx.app.quality`.

    python -m benchmarks.picture_quality --data ../shared/data --out picture-quality.json

Slices of the `val` split are made smaller, flatter, or given letters, and classified again. For each step
it says how many decisions stay as they were, how many tumours are decided `no_tumor` that were not before,
and how many slices the page would warn about; for the slices as they are, the last is the false alarms.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from benchmarks import machine
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

import falx
from falx.app.quality import contrast, head_side, look
from falx.reading.source import read
from falx.slices.preprocessing import find_head
from falx.words import NO_TUMOR

__all__ = ["STEPS", "lettered", "main"]

Pixels = npt.NDArray[np.uint8]

SIDES: Final = (192, 160, 128, 112, 96, 80)
LEVELS: Final = (128, 96, 64, 48, 32, 16)
PACKAGES: Final = ("falx", "numpy", "pillow")


def smaller(pixels: Pixels, side: int) -> Pixels:
    """The slice with a head of this longer side, or as it is where that is smaller."""
    scale = side / head_side(find_head(pixels))
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def flatter(pixels: Pixels, levels: int) -> Pixels:
    """The slice with a head of this contrast, or as it is where that is lower."""
    scale = levels / max(1, contrast(pixels, find_head(pixels)))
    return pixels if scale >= 1 else np.rint(pixels * scale).astype(np.uint8)


def lettered(pixels: Pixels) -> Pixels:
    """The slice with two lines of letters in its upper left corner, a sixteenth of its height each."""
    image = Image.fromarray(pixels)
    size = max(8, pixels.shape[0] // 16)
    ImageDraw.Draw(image).text((3, 3), "MR 12:30\nTR 500", fill=255, font=ImageFont.load_default(size))
    return np.asarray(image)


STEPS: Final[dict[str, Callable[[Pixels], Pixels]]] = {
    "as it is": lambda pixels: pixels,
    **{f"head of {side} pixels": partial(smaller, side=side) for side in SIDES},
    **{f"{levels} grey levels": partial(flatter, levels=levels) for levels in LEVELS},
    "letters": lettered,
}
"""What is done to a slice, by its name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    with (options.data / "manifest.csv").open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == "val"]
    rows = random.Random(options.seed).sample(rows, min(options.slices, len(rows)))  # noqa: S311 - no secret
    classifier = falx.load(options.model)
    before: dict[str, str] = {}
    measured = []
    for name, change in tqdm(STEPS.items(), unit="step"):
        now = {}
        warned: dict[str, int] = {}
        for row in rows:
            pixels = change(read(options.data / row["path"]).pixels)
            now[row["path"]] = classifier.predict(pixels).decision
            for caution in look(pixels):
                warned[caution.code] = warned.get(caution.code, 0) + 1
        before = before or now
        tumors = [row["path"] for row in rows if row["label"] != NO_TUMOR]
        measured.append(
            {
                "step": name,
                "slices": len(rows),
                "same_decision": sum(now[path] == before[path] for path in now),
                "newly_missed": sum(now[path] == NO_TUMOR != before[path] for path in tumors),
                "warned": warned,
            }
        )
    setting = {**machine.described(PACKAGES), "model": classifier.model.to_dict(), "seed": options.seed}
    print(_table(measured))
    if options.out is not None:
        document = {**setting, "rows": measured}
        machine.write(options.out, document)
    return 0


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'step':20} {'slices':>7} {'same':>7} {'missed':>7}  warned"]
    for row in rows:
        warned = ", ".join(f"{code} {count}" for code, count in row["warned"].items())
        same = f"{row['same_decision'] / row['slices']:.1%}"
        lines.append(f"{row['step']:20} {row['slices']:7} {same:>7} {row['newly_missed']:7}  {warned}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picture_quality", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with manifest.csv")
    parser.add_argument("--model", metavar="FILE", help="a model file (default: the one in Falx)")
    parser.add_argument("--slices", type=int, default=300, metavar="N", help="of the val split (default 300)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of their choice (default 1)")
    parser.add_argument("--out", type=Path, metavar="JSON", help="write the figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
