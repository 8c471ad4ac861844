"""Makes varied looks at the images once, as the part of the network that learns takes them, and keeps them.

What is frozen gives the same features every time. So they are computed once for each varied image, and
several epochs learn from them, each in an order of its own (data echoing: Choi et al. 2019,
arXiv:1907.05550): both varying an image and the frozen layers take about as long as learning from it.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from falx_trainer.training.sampling import Wanted

Features = npt.NDArray[np.generic]

BATCH: Final = 32
"""Images whose features are computed together."""

WORKERS: Final = 2
"""Threads that gather batches ahead of the step that takes one. With more than one, Keras prefetches by
itself and turns tf.data's tuner off. With one the tuner stays, and an iterator is taken down only when the
tuner's sleep ends, 20, 41 or 82 s after the beginning and then every 60 s (TensorFlow 2.21): an epoch of
170 s took 202."""

Inputs = tuple[npt.NDArray[np.float32], ...] | npt.NDArray[np.float32]

SomeImages = tuple[npt.NDArray[np.uint8], Wanted]
"""Some images, `(N, S, S)`, and what is wanted of them."""


@dataclass(frozen=True)
class View:
    """One look at the images, mapped from disk.

    Attributes:
        features: of each input of the part that learns, the arrays of all N images, float16; the images
            themselves, uint8, where nothing is frozen.
        wanted: targets and weights by output name.
    """

    features: Sequence[Features]
    wanted: Wanted


def open_view(
    folder: Path, frozen: keras.Model | None, count: int, part: Callable[[range], SomeImages], title: str
) -> View:
    """Reads a view, or makes it first where it is not there whole.

    Args:
        folder: the view's; folders beside it whose names begin alike, up to the first `-`, are of views that
            are no longer needed, and are deleted.
        frozen: the part of the network that does not learn; None: the images are what is kept.
        count: number of images.
        part: gives the images of a range of them and what is wanted of these; called from several threads.
        title: of the progress bar.
    """
    for other in folder.parent.glob(folder.name.partition("-")[0] + "-*"):
        if other != folder:
            shutil.rmtree(other)
    if not folder.exists():
        draft = folder.with_name(folder.name + ".draft")
        draft.mkdir(parents=True)
        _make(draft, frozen, count, part, title)
        draft.replace(folder)
    # Half precision: what it rounds off is far below the augmentation.
    features = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("features-*.npy"))]
    with np.load(folder / "targets.npz") as targets, np.load(folder / "weights.npz") as weights:
        return View(features, (dict(targets), dict(weights)))


def _make(
    folder: Path, frozen: keras.Model | None, count: int, part: Callable[[range], SomeImages], title: str
) -> None:
    ranges = [range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
    room: list[npt.NDArray[np.generic]] = []
    wanted: list[Wanted] = []
    for images, some in tqdm(_ahead(part, ranges), title, len(ranges), unit="batch", disable=None):
        made = [images[..., None]] if frozen is None else _features(frozen, images)
        if not room:
            room = [
                np.lib.format.open_memmap(
                    folder / f"features-{number}.npy",
                    "w+",
                    np.uint8 if frozen is None else np.float16,
                    (count, *array.shape[1:]),
                )
                for number, array in enumerate(made)
            ]
        done = len(wanted) * BATCH
        for array, values in zip(room, made, strict=True):
            array[done : done + len(values)] = values
        wanted.append(some)
    for name, parts in zip(("targets", "weights"), zip(*wanted, strict=True), strict=True):
        joined = {key: np.concatenate([one[key] for one in parts]) for key in parts[0]}
        np.savez(folder / f"{name}.npz", allow_pickle=False, **joined)


def _ahead(part: Callable[[range], SomeImages], ranges: Sequence[range]) -> Iterator[SomeImages]:
    """Gives the parts in their order, made in threads a few ahead."""
    waiting: deque[Future[SomeImages]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some in ranges:
            waiting.append(pool.submit(part, some))
            if len(waiting) > 2 * WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _features(frozen: keras.Model, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    outputs = frozen.predict_on_batch(images[..., None].astype(np.float32))
    return outputs if isinstance(outputs, list) else [outputs]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """An epoch of a view, batch by batch."""

    def __init__(self, view: View, order: npt.NDArray[np.intp], batch: int) -> None:
        super().__init__(workers=WORKERS)
        self._view = view
        self._order = order
        self._batch = batch

    def __len__(self) -> int:
        """Returns the number of batches; the last may be smaller."""
        return -(-len(self._order) // self._batch)

    def __getitem__(self, step: int) -> tuple[Inputs, *Wanted]:
        """Returns `(inputs, targets, weights)` of a batch, as `Model.fit` takes them."""
        chosen = self._order[step * self._batch : (step + 1) * self._batch]
        inputs = tuple(part[chosen].astype(np.float32) for part in self._view.features)
        targets, weights = (
            {name: values[chosen] for name, values in part.items()} for part in self._view.wanted
        )
        # Keras takes a tuple of inputs, and a single one as it is.
        return inputs if len(inputs) > 1 else inputs[0], targets, weights
