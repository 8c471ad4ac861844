"""A sheet of varied training slices, so that a person sees what the model will learn from."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from falx.writing import write_whole
from falx_runs.errors import DataError
from falx_runs.manifest import Record, read_records
from falx_trainer.data import tensors
from falx_trainer.training.recipe import Recipe
from falx_trainer.training.sampling import Sampler

SIDE: Final = 168
"""Height and width of a tile, in pixels."""

MARGIN: Final = 20
"""Height of the line above a row, in pixels."""

POOL: Final = 24
"""Slices of each label that are read: counterfactuals take their lesions from them."""


def preview(data: Sequence[Path], out: Path, recipe: Recipe, *, rows: int, columns: int) -> None:
    """Writes a sheet as PNG: a row a slice, of every label in turn, first as prepared, then as varied.

    Raises:
        DataError: there are no slices, or none can be read.
    """
    by_label: dict[str, list[Record]] = {}
    for record in (record for one in data for record in read_records(one)):
        by_label.setdefault(record.label, []).append(record)
    rng = np.random.default_rng(recipe.seed)
    chosen = [
        found[index] for found in by_label.values() for index in rng.permutation(len(found))[:POOL].tolist()
    ]
    loaded = tensors.load(chosen)
    if not loaded.records:
        raise DataError(f"{', '.join(map(str, data))}: no slice can be read")
    write_whole(out, sheet(Sampler(loaded, recipe), rows, columns))


def sheet(sampler: Sampler, rows: int, columns: int) -> bytes:
    """Returns the sheet of some slices as the bytes of a PNG file."""
    records = sampler.data.records
    labels = sorted({record.label for record in records})
    turns = [[i for i, record in enumerate(records) if record.label == label] for label in labels]
    order = [turn[place] for place in range(max(map(len, turns))) for turn in turns if place < len(turn)][
        :rows
    ]
    canvas = Image.new("L", (columns * SIDE, len(order) * (SIDE + MARGIN)))
    draw = ImageDraw.Draw(canvas)
    for row, index in enumerate(order):
        top = row * (SIDE + MARGIN)
        told = f"{records[index].label}   {records[index].source}"
        draw.text((4, top + 4), told.encode("ascii", "replace").decode(), fill=200)
        for column in range(columns):
            rng = np.random.default_rng([sampler.recipe.seed, index, column])
            pixels = sampler.example(index, rng).pixels if column else sampler.data.pixels[index]
            tile = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            canvas.paste(tile, (column * SIDE, top + MARGIN))
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()
