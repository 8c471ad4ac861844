"""Slices of a manifest that stand for all of it."""

from __future__ import annotations

import csv
from collections.abc import Container
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final

__all__ = ["SPLIT", "chosen"]

SPLIT: Final = "val"


def chosen(data: Path, count: int, labels: Container[str] | None = None) -> list[Path]:
    """Slices of the val split, from every source and label in turn, in the order of the manifest.

    Args:
        data: the folder of `manifest.csv`.
        count: how many, at most.
        labels: others are left out; None takes all.
    """
    kinds: dict[tuple[str, str], list[Path]] = {}
    with (data / "manifest.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["split"] == SPLIT and (labels is None or row["label"] in labels):
                kinds.setdefault((row["source"], row["label"]), []).append(data / row["path"])
    turns = chain.from_iterable(zip_longest(*kinds.values()))
    return [path for path in turns if path is not None][:count]
