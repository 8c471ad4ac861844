"""Finds boxes for tumours that have none: a trained model says where, and the label that there is one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import keras
import numpy as np
from scipy import ndimage
from tqdm import tqdm

from falx.slices.preprocessing import SIZE
from falx.words import NO_TUMOR
from falx.writing import write_whole
from falx_runs.arrays import Float32s, Pixels
from falx_runs.errors import DataError, RunError
from falx_runs.manifest import LEARNED, Box, read_records, to_csv
from falx_runs.run_folder import MODEL
from falx_trainer.data import tensors
from falx_trainer.training.network import CELL

SURE: Final = 0.7
"""The least probability of a tumour, in the slice and at the strongest place, at which a box is taken."""

PART: Final = 0.5
"""The least probability of a place that belongs to the tumour around the strongest."""

LARGEST: Final = 7
"""Places each way of the largest box, half a head: a larger one holds more than the tumour, most often the
ventricles that it has widened."""

BATCH: Final = 32

WHOLE: Final = Box(0.5, 0.5, 1.0, 1.0)
"""The whole image as a box: prepared with the image, it says where the image lies in the tensor."""


def find_boxes(model: Path, data: Path, out: Path) -> str:
    """Writes the manifest again, with boxes for the tumours of `train` (or of no split) that have none.

    Args:
        model: a trained model with a map: its `model.keras`, or the folder of a run or a release.
        data: a manifest, or a folder a class.
        out: the manifest to write.

    Returns:
        What was done, for people.

    Raises:
        DataError: no tumour lacks a box, or the data cannot be read.
        RunError: the model cannot be used.
    """
    records = read_records(data)
    asked = [
        record
        for record in records
        if record.label != NO_TUMOR and not record.boxes and record.split in LEARNED
    ]
    if not asked:
        raise DataError(f"{data}: expected tumours without boxes, of the split train or of none")
    network = _load(model / MODEL if model.is_dir() else model)
    loaded = tensors.load([dataclasses.replace(record, boxes=(WHOLE,)) for record in asked])
    found = {}
    for start in tqdm(range(0, len(loaded.records), BATCH), "finding", unit="batch", disable=None):
        some = slice(start, start + BATCH)
        answers = _answers(network, loaded.pixels[some])
        for record, (image,), tumor, places in zip(
            loaded.records[some], loaded.boxes[some], *answers, strict=True
        ):
            cells = region(places) if tumor >= SURE else None
            if cells is not None:
                found[record.path] = _in_image(cells * CELL, image)
    boxed = [
        dataclasses.replace(record, boxes=(found[record.path],)) if record.path in found else record
        for record in records
    ]
    write_whole(out, to_csv(boxed).encode())
    return f"wrote {out}: boxes for {len(found)} of {len(asked)} tumours that had none"


def region(places: Float32s) -> Float32s | None:
    """Returns the rectangle around the strongest place and those of its tumour beside it.

    Args:
        places: `(N, N)`, the probability of a tumour at each.

    Returns:
        Left, top, right and bottom, in places; None where the map is not sure of one, or its region is large.
    """
    top = np.unravel_index(places.argmax(), places.shape)
    if places[top] < SURE:
        return None
    numbered, _ = ndimage.label(places >= PART)
    rows, columns = ndimage.find_objects(numbered)[int(numbered[top]) - 1]
    if max(rows.stop - rows.start, columns.stop - columns.start) > LARGEST:
        return None
    return np.array([columns.start, rows.start, columns.stop, rows.stop], np.float32)


def _load(path: Path) -> keras.Model:
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        model.get_layer("heatmap")
    except Exception as error:  # Keras, zipfile and h5py raise anything on a file of another kind
        raise RunError(
            f"{path}: expected a trained model of Falx with a map (head = 'map'): {error}"
        ) from error
    return model


def _answers(network: keras.Model, pixels: Pixels) -> tuple[Float32s, Float32s]:
    """Returns the probability of a tumour, `(B,)`, and at each place, `(B, N, N)`: the mean over each slice
    and its mirror image.
    """
    tumors, maps = [], []
    for step in (1, -1):
        seen = network.predict_on_batch(pixels[:, :, ::step, None].astype(np.float32))
        tumors.append(1 - seen["probabilities"][:, 0])
        maps.append(seen["heatmap"].reshape(len(pixels), SIZE // CELL, SIZE // CELL)[:, :, ::step])
    return np.mean(tumors, axis=0), np.mean(maps, axis=0)


def _in_image(corners: Float32s, image: Float32s) -> Box:
    """Returns a rectangle of the tensor as a box of the image, which lies there as given."""
    start, end = image.reshape(2, 2)
    low, high = ((corners.reshape(2, 2) - start) / (end - start)).clip(0, 1)
    return Box(*map(float, (*(low + high) / 2, *high - low)))
