"""Passes every image once through the runtime's preprocessing, and its boxes with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from falx._version import __version__
from falx.errors import FalxError
from falx.reading.source import read
from falx.slices import preprocessing
from falx_runs.arrays import Pixels
from falx_runs.manifest import Box, Record

Boxes = npt.NDArray[np.float32]
"""`(N, 4)`: left, top, right, bottom in tensor pixels; N is 0 where no box is known."""


@dataclass(frozen=True)
class Tensors:
    """Prepared images.

    Attributes:
        records: the readable ones, in the order given.
        pixels: `(N, 224, 224)`, one tensor a record.
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


def load(records: Sequence[Record], cache: Path | None = None) -> Tensors:
    """Reads and prepares images in parallel, or takes from the cache what is there of unchanged files."""
    pixels, frames = _prepared(records, cache)
    readable = np.flatnonzero(frames[:, 0] > 0).tolist()
    digest = hashlib.sha256()
    for index in readable:
        digest.update(records[index].label.encode())
        digest.update(pixels[index].tobytes())
    return Tensors(
        records=[records[index] for index in readable],
        pixels=pixels if len(readable) == len(records) else pixels[readable],
        boxes=[_in_tensor(records[index].boxes, frames[index]) for index in readable],
        sizes=frames[readable, :2].astype(np.int64),
        unreadable=[
            (records[index], error)
            for index in np.flatnonzero(frames[:, 0] == 0).tolist()
            if isinstance(error := _prepare(records[index]), FalxError)
        ],
        fingerprint=digest.hexdigest(),
    )


def _prepared(records: Sequence[Record], cache: Path | None) -> tuple[Pixels, npt.NDArray[np.float64]]:
    """Returns all tensors, and the row of `_prepare` of each: zeros where it cannot be read."""
    shape = (len(records), preprocessing.SIZE, preprocessing.SIZE)
    if cache is None:
        pixels = np.zeros(shape, np.uint8)
        return pixels, _fill(records, pixels)
    folder = cache / _key(records)
    if not folder.exists():
        draft = folder.with_name(folder.name + ".draft")
        draft.mkdir(parents=True, exist_ok=True)
        room = np.lib.format.open_memmap(draft / "pixels.npy", "w+", np.uint8, shape)
        np.save(draft / "frames.npy", _fill(records, room))
        room.flush()
        draft.replace(folder)
    return np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "frames.npy")


def _fill(records: Sequence[Record], pixels: Pixels) -> npt.NDArray[np.float64]:
    frames = np.zeros((len(records), 7))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(_prepare, records)
        for index, result in enumerate(tqdm(results, "reading", len(records), unit="image", disable=None)):
            if isinstance(result, tuple):
                pixels[index], frames[index] = result
    return frames


def _key(records: Sequence[Record]) -> str:
    """Names these files, as they are now, prepared as they are now."""
    digest = hashlib.sha256(f"{preprocessing.NAME} {__version__}".encode())
    for record in records:
        try:
            found = record.path.stat()
        except OSError:
            continue  # unreadable, as `read` will say
        digest.update(
            f"{record.path.resolve()}\0{found.st_size} {found.st_mtime_ns}\n".encode(
                "utf-8", "surrogateescape"
            )
        )
    return digest.hexdigest()


def _prepare(record: Record) -> tuple[Pixels, tuple[float, ...]] | FalxError:
    """Returns a tensor; the image's height and width; the head's left, top and scale; its place's left and
    top.
    """
    try:
        pixels = read(record.path).pixels
    except FalxError as error:
        return error
    tensor, frame = preprocessing.prepare(pixels)
    height, width = pixels.shape
    return tensor, (height, width, frame.left, frame.top, frame.scale, *frame.content[:2])


def _in_tensor(boxes: Sequence[Box], frame: npt.NDArray[np.float64]) -> Boxes:
    height, width, head_left, head_top, scale, left, top = frame
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
    origin = np.array([head_left, head_top] * 2, np.float32)
    return (corners - origin) * np.float32(scale) + np.array([left, top] * 2, np.float32)
