"""Every image once through the runtime's preprocessing, and its boxes with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from falx.errors import FalxError
from falx.reading.source import read
from falx.slices import preprocessing
from falx_runs.manifest import Box, Record

__all__ = ["Boxes", "Tensors", "load"]

Boxes = npt.NDArray[np.float32]
"""`(N, 4)`: left, top, right, bottom in tensor pixels; N is 0 where no box is known."""


@dataclass(frozen=True)
class Tensors:
    """Prepared images.

    Attributes:
        records: the readable ones, in the order given.
        pixels: `(N, 224, 224)` uint8, one tensor a record.
        boxes: the tumours' rectangles of each.
        sizes: `(N, 2)` height and width of the original images, pixels.
        unreadable: the others, each with the error that says why.
        fingerprint: SHA-256 over the tensors and labels: the same data give the same.
    """

    records: Sequence[Record]
    pixels: npt.NDArray[np.uint8]
    boxes: Sequence[Boxes]
    sizes: npt.NDArray[np.int64]
    unreadable: Sequence[tuple[Record, FalxError]]
    fingerprint: str

    def select(self, indices: npt.NDArray[np.intp], records: Sequence[Record]) -> Tensors:
        """Returns some of the images, with their records replaced (the fingerprint stays that of all)."""
        return Tensors(
            records,
            self.pixels[indices],
            [self.boxes[i] for i in indices],
            self.sizes[indices],
            (),
            self.fingerprint,
        )


def load(records: Sequence[Record]) -> Tensors:
    """Reads and prepares images, in parallel; unreadable ones are set aside, not fatal."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(tqdm(pool.map(_prepare, records), "reading", len(records), unit="image", disable=None))
    prepared = [
        (record, *result)
        for record, result in zip(records, results, strict=True)
        if isinstance(result, tuple)
    ]
    unreadable = [
        (record, result)
        for record, result in zip(records, results, strict=True)
        if not isinstance(result, tuple)
    ]
    pixels = (
        np.stack([tensor for _, tensor, _, _ in prepared])
        if prepared
        else np.zeros((0, preprocessing.SIZE, preprocessing.SIZE), np.uint8)
    )
    digest = hashlib.sha256()
    for record, tensor, _, _ in prepared:
        digest.update(record.label.encode())
        digest.update(tensor.tobytes())
    return Tensors(
        records=[record for record, _, _, _ in prepared],
        pixels=pixels,
        boxes=[boxes for _, _, boxes, _ in prepared],
        sizes=np.array([size for _, _, _, size in prepared], np.int64).reshape(-1, 2),
        unreadable=unreadable,
        fingerprint=digest.hexdigest(),
    )


def _prepare(record: Record) -> tuple[npt.NDArray[np.uint8], Boxes, tuple[int, int]] | FalxError:
    try:
        pixels = read(record.path).pixels
    except FalxError as error:
        return error
    tensor, frame = preprocessing.prepare(pixels)
    return tensor, _in_tensor(record.boxes, pixels.shape, frame), (pixels.shape[0], pixels.shape[1])


def _in_tensor(boxes: Sequence[Box], shape: tuple[int, ...], frame: preprocessing.Frame) -> Boxes:
    height, width = shape
    left, top, _, _ = frame.content
    corners = np.array(
        [
            (
                (box.x - box.width / 2) * width,
                (box.y - box.height / 2) * height,
                (box.x + box.width / 2) * width,
                (box.y + box.height / 2) * height,
            )
            for box in boxes
        ],
        np.float32,
    ).reshape(-1, 4)
    origin = np.array([frame.left, frame.top] * 2, np.float32)
    return (corners - origin) * np.float32(frame.scale) + np.array([left, top] * 2, np.float32)
