"""Tells what was found in the data, before any training."""

from __future__ import annotations

from collections import Counter
from typing import Final

from falx.words import LABELS
from falx_runs.manifest import SPLITS, UNTYPED
from falx_trainer.data.division import Division
from falx_trainer.data.tensors import Tensors

BANDS: Final = ((2000, "excellent"), (500, "good"), (100, "fair"), (0, "poor"))
"""The accuracy to expect from a number of training images, from the most down."""


NAMED: Final = 10
"""The most unreadable files that are named; there may be thousands."""


def band(images: int) -> str:
    """Returns the expected accuracy band for a number of training images: poor, fair, good or excellent."""
    return next(name for least, name in BANDS if images >= least)


def survey(loaded: Tensors, division: Division, untyped: str) -> str:
    """Returns a report for people: counts by class, sizes, unreadable files, duplicates, what to expect."""
    counts = Counter((record.label, record.split) for record in division.records)
    labels = sorted({label for label, _ in counts}, key=lambda name: (name != "no_tumor", name))
    lines = [f"{'':16}" + "".join(f"{split:>8}" for split in SPLITS)]
    lines += [f"{label:16}" + "".join(f"{counts[label, split]:8}" for split in SPLITS) for label in labels]
    lines.append(
        f"{'total':16}" + "".join(f"{sum(counts[label, split] for label in labels):8}" for split in SPLITS)
    )
    sources = Counter(record.source for record in division.records if record.source)
    if sources:
        lines.append("sources: " + ", ".join(f"{source} {count}" for source, count in sources.most_common()))
    if len(loaded.sizes):
        shortest, longest = loaded.sizes.min(axis=1), loaded.sizes.max(axis=1)
        lines.append(
            f"sizes: shorter side {shortest.min()} to {shortest.max()} pixels, "
            f"longer side {longest.min()} to {longest.max()}"
        )
    groups = len({record.group for record in division.records})
    lines.append(
        f"groups: {groups}, " + ("as given" if division.grouped else "an image and its near-duplicates each")
    )
    lines.append(f"near-duplicates of another image (also mirrored): {division.duplicates}")
    if division.moved:
        lines.append(f"moved to an earlier split, as near-duplicates of images there: {division.moved}")
    if division.leaked:
        lines.append(
            f"copies between splits, images of val or test that are near-duplicates of training images of "
            f"another group: {division.leaked}; what is measured on them says little"
        )
    lines.append(f"unreadable: {len(loaded.unreadable)}")
    lines += [f"  {error}" for _, error in loaded.unreadable[:NAMED]]
    if len(loaded.unreadable) > NAMED:
        lines.append(f"  and {len(loaded.unreadable) - NAMED} more")
    absent = [label for label in LABELS if not counts[label, "train"]]
    if absent:
        lines.append(f"no training images of {', '.join(absent)}: the model will not know them")
    training = sum(counts[label, "train"] for label in labels if not (label == UNTYPED and untyped == "drop"))
    lines.append(f"expected accuracy from {training} training images: {band(training)}")
    return "\n".join(lines)
