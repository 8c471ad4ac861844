"""How long a report of a thousand slices takes, from the command to the last file.

    python -m benchmarks.evaluation --out evaluation.json

The slices are drawn heads of 512 × 512 as JPEG, a lesion in every second one, in a folder a class; the model
is the one in the wheel, on as many workers as there are processors. The processes are new each time, so that
imports count. Prints the seconds of each repeat; the target is 30 on two cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks import machine
from PIL import Image

from falx.classifier import DEFAULT_MODEL
from falx.phantom import PHANTOMS
from falx_trainer.evaluation.processor import processor

__all__ = ["main"]

SIDE: Final = 512
PACKAGES: Final = ("falx", "ai-edge-litert", "numpy", "pillow", "scikit-learn", "matplotlib")
NOISE: Final = 6
"""Grey levels of noise, so that no two slices are equal and JPEG has something to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, measure and print; returns 0, or what the evaluation returned."""
    parser = argparse.ArgumentParser("benchmarks.evaluation", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("--slices", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--repeats", type=int, default=3, help="how often (3)")
    parser.add_argument("--out", type=Path, metavar="JSON", help="write the figures to this file")
    options = parser.parse_args(arguments)
    setting = {**machine.described(PACKAGES), "slices": options.slices}
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "slices"
        draw(data, options.slices)
        command = [sys.executable, "-m", "falx_trainer", "evaluate", str(DEFAULT_MODEL), "--data", str(data)]
        for repeat in range(options.repeats):
            started = time.perf_counter()
            ended = subprocess.run(  # noqa: S603 - our own command
                [*command, "--out", f"{folder}/{repeat}"], stdout=subprocess.DEVNULL, check=False
            )
            elapsed = time.perf_counter() - started
            if ended.returncode:
                return ended.returncode
            print(f"{options.slices} slices, {os.cpu_count()} processors ({processor()}): {elapsed:.1f} s")
            seconds.append(round(elapsed, 1))
    if options.out is not None:
        machine.write(options.out, {**setting, "seconds": seconds})
    return 0


def draw(folder: Path, slices: int) -> None:
    """Draw slices into a folder a class."""
    rng = np.random.default_rng(1)
    for number in range(slices):
        name, label = (("clear", "no_tumor"), ("lesion", "glioma"))[number % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        large = Image.fromarray(PHANTOMS[name]()).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        pixels = np.asarray(large, np.float64)
        noisy = np.where(pixels > NOISE, pixels + rng.normal(0, NOISE, pixels.shape), pixels)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
            folder / label / f"{number}.jpg", quality=90
        )


if __name__ == "__main__":
    sys.exit(main())
