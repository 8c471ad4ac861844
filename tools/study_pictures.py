"""Draws the three pictures of docs/studies.md: a finding, a lone mark, and marks at an end of the head.

    python -m tools.study_pictures --out docs/pictures

The heads are drawn, the answers are the model's. Each picture is the contact sheet that `falx study --sheets`
writes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

import falx
from falx import phantom
from falx.pictures.sheet import sheet
from falx.reading.series import Gathering, Series

SLICES: Final = 16
STEP_MM: Final = 8.0

CASES: Final = {"study-tumor": (6, 7, 8), "study-lone-slice": (7,), "study-ends": (0, 1)}
"""The slices with a lesion in each picture's head, from 0 at the foot."""

COLOURS: Final = 96
"""The colours of a picture: a sheet in all its colours is three times as large and looks the same."""


def head(lesions: Sequence[int]) -> list[npt.NDArray[np.uint8]]:
    """Draws a head that grows and shrinks from foot to vertex, with a lesion in some slices."""
    out = []
    for n in range(SLICES):
        drawn = Image.fromarray(phantom.lesion() if n in lesions else phantom.clear())
        side = round(phantom.SIZE * (1 - 0.4 * abs(2 * n / (SLICES - 1) - 1) ** 2))
        page = Image.new("L", (phantom.SIZE, phantom.SIZE))
        page.paste(drawn.resize((side, side)), ((phantom.SIZE - side) // 2, (phantom.SIZE - side) // 2))
        out.append(np.asarray(page))
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws the pictures; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.study_pictures", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write them")
    options = parser.parse_args(arguments)
    classifier = falx.load()
    for name, lesions in CASES.items():
        slices = tuple(head(lesions))
        at = tuple(STEP_MM * n for n in range(SLICES))
        series = Series(sources=slices, positions_mm=at, plane="axial")
        study = classifier.predict_study(Gathering((series,)))
        drawn = sheet(study, 0, slices).quantize(COLOURS, dither=Image.Dither.NONE)
        drawn.save(options.out / f"{name}.png", optimize=True)
        print(f"{name}: {study.decision}. {study.verdict.reason}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
