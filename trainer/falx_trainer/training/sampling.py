"""Which images an epoch shows, and what is made of each: the same seed gives the same epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_class_weight

from falx.slices.preprocessing import SIZE
from falx.words import LABELS, NO_TUMOR
from falx_runs.manifest import UNTYPED, Record, targets
from falx_trainer.data.tensors import Boxes, Tensors
from falx_trainer.training import counterfactual
from falx_trainer.training.augmentation import augment
from falx_trainer.training.counterfactual import Donors
from falx_trainer.training.network import GRID
from falx_trainer.training.outliers import draw_outlier
from falx_trainer.training.recipe import Recipe

__all__ = ["WORKERS", "Epoch", "Example", "Sampler", "evidence_target", "pack"]

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WORKERS: Final = 2
"""Threads that prepare batches ahead of the step that takes one. With more than one, Keras prefetches by
itself and turns tf.data's tuner off. With one the tuner stays, and an iterator is taken down only when the
tuner's sleep ends, 20, 41 or 82 s after the beginning and then every 60 s (TensorFlow 2.21): an epoch of
170 s took 202."""

LABEL_SHARES: Final = {"no_tumor": 0.40, "meningioma": 0.17, "glioma": 0.20, "pituitary": 0.13, UNTYPED: 0.10}
"""Shares of the labels in an epoch with `balance = "sources"`: healthy and tumour nearly even, the
types nearly even, a little towards those that vary most."""

CELL: Final = SIZE // GRID
"""Tensor pixels a cell of the evidence covers, each way."""

COVERED: Final = 0.3
"""A cell shows a tumour when a box covers at least this fraction of it; a cell covered less is not judged."""


def evidence_target(label: str, boxes: Boxes) -> tuple[Floats, Floats]:
    """Where the evidence should be, and where that is known.

    Args:
        label: of the slice.
        boxes: its tumours, tensor pixels.

    Returns:
        Two `(14, 14)` float32: 1 where a tumour is; and the weight of each cell in the loss: 1 where
        it is known, 0 where not (a tumour without a box, a cell that a box only touches).
    """
    cells = np.zeros((GRID, GRID), np.float32)
    if label != "no_tumor" and not len(boxes):
        return cells, np.zeros_like(cells)
    edges = np.arange(GRID) * CELL
    for left, top, right, bottom in boxes:
        across = np.clip((np.minimum(right, edges + CELL) - np.maximum(left, edges)) / CELL, 0, 1)
        down = np.clip((np.minimum(bottom, edges + CELL) - np.maximum(top, edges)) / CELL, 0, 1)
        covered = down[:, None] * across[None, :]
        # A small tumour covers no cell well: the one it covers most is its own.
        covered[covered >= 0.95 * max(float(covered.max()), 1e-6)] = 1.0
        cells = np.maximum(cells, covered)
    known = (cells == 0) | (cells >= COVERED)
    return (cells >= COVERED).astype(np.float32), known.astype(np.float32)


class Example(NamedTuple):
    """One image as training sees it.

    Attributes:
        pixels: `(224, 224)` uint8.
        target: `(4,)`, 1 for each label it may have.
        evidence: `(14, 14)`, 1 where a tumour is.
        known: `(14, 14)`, the weight of each of those places.
        familiar: 1 for a slice of a head, 0 for an outlier.
    """

    pixels: Pixels
    target: Floats
    evidence: Floats
    known: Floats
    familiar: float


class Sampler:
    """Draws epochs from prepared training images."""

    def __init__(self, data: Tensors, recipe: Recipe) -> None:
        self.data = data
        self.recipe = recipe
        self.labels = [record.label for record in data.records]
        self.targets = np.array(targets(self.labels), np.float32)
        shown = [
            [_shows(pixels, box) for box in boxes]
            for pixels, boxes in zip(data.pixels, data.boxes, strict=True)
        ]
        self.donors = _find_donors(data, shown)
        self._doubtful = (
            _find_doubtful(data, shown) if recipe.blind == "doubt" else np.zeros(len(self.labels), np.bool_)
        )
        self._probabilities: npt.NDArray[np.float64] | None = None
        self._class_weights = np.ones(len(self.labels), np.float32)
        if recipe.balance == "sources":
            self._probabilities = _balance(data.records)
        else:
            present = sorted(set(self.labels))
            weights = compute_class_weight("balanced", classes=np.array(present), y=self.labels)
            by_label = dict(zip(present, weights, strict=True))
            self._class_weights = np.array([by_label[label] for label in self.labels], np.float32)

    def order(self, stage: int, epoch: int) -> npt.NDArray[np.intp]:
        """Indices of the images an epoch shows, in order."""
        rng = np.random.default_rng([self.recipe.seed, stage, epoch])
        count = len(self.labels)
        if self._probabilities is None:
            return rng.permutation(count)
        return rng.permutation(_systematic(self._probabilities, count, rng))

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """One varied image.

        Args:
            index: which of the training images.
            rng: the only source of chance.
        """
        pixels, boxes, label = self.data.pixels[index], self.data.boxes[index], self.labels[index]
        if self.recipe.outliers and rng.random() < self.recipe.outliers:
            nothing = np.zeros((GRID, GRID), np.float32)
            return Example(draw_outlier(pixels, rng), np.ones(len(LABELS), np.float32), nothing, nothing, 0.0)
        if self._doubtful[index]:
            # Nobody can know from this slice. It is called a tumour more often: that is the safer error.
            boxes = boxes[:0]
            healthy = rng.random() < self.recipe.blind_healthy
            if healthy != (label == NO_TUMOR):
                label = NO_TUMOR if healthy else UNTYPED
        wanted = self.recipe.counterfactual
        chance = rng.random()
        if label == "no_tumor" and chance < wanted.transplant and self.donors.lesions:
            donor, box = self.donors.lesions[int(rng.integers(len(self.donors.lesions)))]
            inverted = bool(rng.random() < wanted.inverted)
            made = counterfactual.paste(pixels, self.data.pixels[donor], box, rng, inverted=inverted)
            if made is not None:
                (pixels, boxes), label = made, UNTYPED
        elif chance > 1 - wanted.control and self.donors.lesions and self._placed(index):
            pixels = self._control(pixels, boxes, rng)
        pixels, boxes = augment(
            pixels,
            boxes,
            self.recipe.augmentation,
            rng,
            other=lambda: self.data.pixels[int(rng.integers(len(self.labels)))],
        )
        target = (
            self.targets[index] if label == self.labels[index] else np.array(targets([label])[0], np.float32)
        )
        evidence, known = evidence_target(label, boxes)
        if self._doubtful[index] and not len(boxes):
            known = np.zeros_like(known)
        return Example(pixels, target, evidence, known, 1.0)

    def _placed(self, index: int) -> bool:
        """Whether it is known where the slice's tumours are, so that tissue does not hide one."""
        return self.labels[index] == "no_tumor" or len(self.data.boxes[index]) > 0

    def _control(self, pixels: Pixels, boxes: Boxes, rng: np.random.Generator) -> Pixels:
        _, like = self.donors.lesions[int(rng.integers(len(self.donors.lesions)))]
        donor = int(rng.choice(self.donors.tissue))
        box = counterfactual.tissue_box(self.data.pixels[donor], self.data.boxes[donor], like, rng)
        if box is None:
            return pixels
        made = counterfactual.paste(pixels, self.data.pixels[donor], box, rng)
        if made is None:
            return pixels
        result, (place,) = made
        # Healthy tissue over a tumour would hide it, or half of it, under its label.
        hidden = (
            (boxes[:, 0] < place[2])
            & (boxes[:, 2] > place[0])
            & (boxes[:, 1] < place[3])
            & (boxes[:, 3] > place[1])
        )
        return pixels if hidden.any() else result

    def weight(self, index: int) -> float:
        """The weight of an image in the loss."""
        return float(self._class_weights[index])


def _find_donors(data: Tensors, shown: Sequence[Sequence[bool]]) -> Donors:
    lesions = []
    tissue = []
    for index, (record, boxes) in enumerate(zip(data.records, data.boxes, strict=True)):
        if record.label == NO_TUMOR or len(boxes):
            tissue.append(index)
        if record.label != NO_TUMOR:
            lesions += [(index, box) for box, shows in zip(boxes, shown[index], strict=True) if shows]
    return Donors(lesions, np.array(tissue, np.intp))


def _find_doubtful(data: Tensors, shown: Sequence[Sequence[bool]]) -> npt.NDArray[np.bool_]:
    """Slices that do not show whether there is a tumour, though their label says so.

    Where boxes were drawn on another sequence, a tumour may be in the box and not in the picture; and
    then the clean slices of that sequence look no different. That is found by collection and sequence:
    fewer than half of the boxed tumours show.
    """
    cells = [(record.source, record.sequence) for record in data.records]
    boxed: Counter[tuple[str, str]] = Counter()
    seen: Counter[tuple[str, str]] = Counter()
    for cell, shows in zip(cells, shown, strict=True):
        if cell[1] and shows:
            boxed[cell] += 1
            seen[cell] += any(shows)
    return np.array(
        [
            not any(shows) and boxed[cell] > 0 and seen[cell] < boxed[cell] / 2
            for cell, shows in zip(cells, shown, strict=True)
        ],
        np.bool_,
    )


def _shows(pixels: Pixels, box: Floats) -> bool:
    """Whether a lesion stands out of the tissue around it: boxes drawn on FLAIR can be empty on T1."""
    left, top, right, bottom = box.clip(0, SIZE).astype(int)
    if min(right - left, bottom - top) < 8:
        return False
    inside = pixels[top:bottom, left:right]
    around = pixels[max(top - 12, 0) : bottom + 12, max(left - 12, 0) : right + 12]
    middle = float(np.median(around))
    return (
        middle > counterfactual.HEAD_LEVEL and float((np.abs(inside - middle) > 0.3 * middle).mean()) > 0.25
    )


def _balance(records: Sequence[Record]) -> npt.NDArray[np.float64]:
    """The probability of drawing each image.

    Within a label a collection's share goes with the square root of its size, so that small ones
    are heard and not worn out; labels have fixed shares.
    """
    cells: dict[tuple[str, str], int] = {}
    for record in records:
        cells[record.label, record.source] = cells.get((record.label, record.source), 0) + 1
    present = {label for label, _ in cells}
    roots = {label: sum(n**0.5 for (other, _), n in cells.items() if other == label) for label in present}
    total = sum(LABEL_SHARES[label] for label in present)
    return np.array(
        [
            LABEL_SHARES[record.label]
            / total
            / roots[record.label]
            / cells[record.label, record.source] ** 0.5
            for record in records
        ]
    )


def _systematic(
    probabilities: npt.NDArray[np.float64], count: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Systematic sampling: each image floor(n p) or ceil(n p) times, without the luck of single draws."""
    shuffled = rng.permutation(len(probabilities))
    ends = np.cumsum(probabilities[shuffled] / probabilities.sum()) * count
    points = (np.arange(count) + rng.random()).clip(max=count - 1e-9)
    drawn: npt.NDArray[np.intp] = shuffled[
        np.searchsorted(ends, points, side="right").clip(max=len(shuffled) - 1)
    ]
    return drawn


class Epoch(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """The batches of one epoch, each varied when it is asked for."""

    def __init__(self, sampler: Sampler, stage: int, epoch: int) -> None:
        super().__init__(workers=WORKERS)
        self._sampler = sampler
        self._key = (sampler.recipe.seed, stage, epoch)
        self._order = sampler.order(stage, epoch)
        self._batch = sampler.recipe.batch

    @property
    def size(self) -> int:
        """Number of images."""
        return len(self._order)

    def __len__(self) -> int:
        """Number of batches; the last may be smaller."""
        return -(-len(self._order) // self._batch)

    def __getitem__(self, step: int) -> tuple[Any, Any, Any]:
        """`(images, targets, weights)` of a batch, as `Model.fit` takes them."""
        chosen = range(step * self._batch, min((step + 1) * self._batch, len(self._order)))
        examples = [
            self._sampler.example(int(self._order[i]), np.random.default_rng([*self._key, i, 1]))
            for i in chosen
        ]
        pixels, target, evidence, known, familiar = (np.stack(part) for part in zip(*examples, strict=True))
        weights = np.array([self._sampler.weight(int(self._order[i])) for i in chosen], np.float32)
        return pixels[..., None].astype(np.float32), *pack(
            target, evidence, known, familiar.astype(np.float32), weights, self._sampler.recipe
        )


def pack(
    target: Floats,
    evidence: Floats,
    known: Floats,
    familiar: Floats,
    weights: Floats,
    recipe: Recipe,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Targets and weights by output name, for the outputs the recipe's head has."""
    wanted, shares = {"logits": target}, {"logits": weights}
    if recipe.head == "map":
        wanted["evidence"], shares["evidence"] = evidence, known
        # Every place is allowed where none is known: a loss of 0.
        places = evidence.reshape(len(evidence), -1)
        wanted["place"] = np.where(places.any(axis=1, keepdims=True), places, 1).astype(np.float32)
        shares["place"] = np.ones_like(weights)
    if recipe.outliers:
        wanted["familiarity"], shares["familiarity"] = familiar[:, None], np.ones_like(weights)
    return wanted, shares
