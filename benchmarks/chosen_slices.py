"""Slices of a manifest that stand for all of it."""

from __future__ import annotations

from collections.abc import Container
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final

from falx_runs.manifest import read_records

SPLIT: Final = "val"


def chosen(data: Path, count: int, labels: Container[str] | None = None) -> list[Path]:
    """Returns at most so many slices of the val split, from every source and label in turn."""
    kinds: dict[tuple[str, str], list[Path]] = {}
    for record in read_records(data):
        if record.split == SPLIT and (labels is None or record.label in labels):
            kinds.setdefault((record.source, record.label), []).append(record.path)
    turns = chain.from_iterable(zip_longest(*kinds.values()))
    return [path for path in turns if path is not None][:count]
