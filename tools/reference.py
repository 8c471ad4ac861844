"""Writes the API reference, as web pages, from the docstrings.

    python -m pip install --group docs
    python -m tools.reference

The pages describe the names of `falx.__all__` and the modules that their docstrings send a reader to.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pdoc

MODULES: Final = (
    "falx",
    "falx.prediction",
    "falx.study",
    "falx.decision",
    "falx.errors",
    "falx.words",
    "falx.phantom",
    "falx.timings",
    "falx.reading",
    "falx.reading.source",
    "falx.slices",
    "falx.slices.slice",
    "falx.slices.reasons",
    "falx.model",
    "falx.model.card",
    "falx.pictures",
    "falx.slices.overlay",
)
"""The modules that callers meet; the others are for readers of the source."""


def write(folder: Path) -> None:
    """Writes the pages into a folder; a warning of the generator is an error."""
    footer = "For research and education only."
    pdoc.render.configure(docformat="google", show_source=False, footer_text=footer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # An alias in quotes is known where it is made alone; its name tells a reader more than the union.
        warnings.filterwarnings("ignore", "Error parsing type annotation .*(?<!\\w)Source\\b")
        pdoc.pdoc(*MODULES, output_directory=folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the reference; returns 0."""
    parser = argparse.ArgumentParser("tools.reference", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/reference"), help="a folder (runs/reference)")
    options = parser.parse_args(arguments)
    write(options.out)
    print(f"{options.out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
