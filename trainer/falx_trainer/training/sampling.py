"""Chooses the images of an epoch and varies each; the same seed gives the same epoch."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

from falx.slices.preprocessing import SIZE
from falx.words import LABELS, NO_TUMOR
from falx_runs.arrays import Float32s, Pixels
from falx_runs.manifest import UNTYPED, Record, targets
from falx_trainer.data.tensors import Boxes, Tensors
from falx_trainer.training import counterfactual
from falx_trainer.training.augmentation import augment
from falx_trainer.training.counterfactual import Donors, Lesion
from falx_trainer.training.network import BRAIN, CELL, NO_BRAIN, OTHER
from falx_trainer.training.outliers import draw_outlier
from falx_trainer.training.recipe import Recipe

Wanted = tuple[dict[str, Float32s], dict[str, Float32s]]
"""Targets and weights by output name."""

HEAD_END: Final = "head_end"
"""The kind of outlier that shows a head where there is no brain."""

LABEL_SHARES: Final = {"no_tumor": 0.40, "meningioma": 0.17, "glioma": 0.20, "pituitary": 0.13, UNTYPED: 0.10}
"""Shares of the labels in an epoch with `balance = "sources"`: healthy and tumour nearly even, the
types nearly even, a little towards those that vary most."""

SAME_SEQUENCE: Final = 0.5
"""Share of the moved lesions that come from a slice of the sequence that they land in, where there is one."""

COVERED: Final = 0.3
"""A cell shows a tumour when a box covers at least this fraction of it; a cell covered less is not judged."""


def evidence_target(label: str, boxes: Boxes, size: int = SIZE) -> tuple[Float32s, Float32s]:
    """Returns where the evidence should be, and where that is known.

    Args:
        label: of the slice.
        boxes: its tumours, tensor pixels.
        size: of the tensor, pixels each way.

    Returns:
        Two `(14, 14)` float32 (fewer of a smaller tensor): 1 where a tumour is; and the weight of each
        cell in the loss: 1 where it is known, 0 where not (a tumour without a box, a cell that a box only
        touches).
    """
    grid = size // CELL
    cells = np.zeros((grid, grid), np.float32)
    if label != NO_TUMOR and not len(boxes):
        return cells, np.zeros_like(cells)
    edges = np.arange(grid) * CELL
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
        pixels: `(S, S)`.
        target: `(4,)`, 1 for each label it may have.
        evidence: `(S / 16, S / 16)`, 1 where a tumour is.
        known: `(S / 16, S / 16)`, the weight of each of those places.
        judged: whether the map is asked if there is a tumour at all.
        shown: `BRAIN`, `NO_BRAIN` or `OTHER`.
    """

    pixels: Pixels
    target: Float32s
    evidence: Float32s
    known: Float32s
    judged: float
    shown: int


class Sampler:
    """Draws epochs from prepared training images."""

    def __init__(self, data: Tensors, recipe: Recipe, outliers: Tensors | None = None) -> None:
        self.data = data
        self.recipe = recipe
        self.labels = [record.label for record in data.records]
        shown = _shown(data)
        self.donors = _find_donors(data, shown)
        self._doubtful = (
            find_doubtful(data) if recipe.blind == "doubt" else np.zeros(len(self.labels), np.bool_)
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
        self._outliers = outliers
        self._kinds: npt.NDArray[np.float64] = np.zeros(0)
        if outliers is not None:
            counts = Counter(record.label for record in outliers.records)
            roots = np.array([counts[record.label] ** -0.5 for record in outliers.records])
            self._kinds = np.cumsum(roots / roots.sum())
        self._sizes = {SIZE: data.pixels}

    def order(self, stage: int, view: int) -> npt.NDArray[np.intp]:
        """Returns the indices of the images a view of the data shows, in order."""
        rng = np.random.default_rng([self.recipe.seed, stage, view])
        count = len(self.labels)
        if self._probabilities is None:
            return rng.permutation(count)
        return rng.permutation(_systematic(self._probabilities, count, rng))

    def prepare(self, size: int) -> None:
        """Makes the images of another size ready, once, before threads ask for examples of it."""
        if size not in self._sizes:
            self._sizes[size] = resized(self.data.pixels, size)

    def example(self, index: int, rng: np.random.Generator, size: int = SIZE) -> Example:
        """Returns a training image, varied, of a size that was prepared; all chance comes from `rng`."""
        chance = rng.random()
        if chance < self.recipe.drawn_outliers:
            return self._nothing(draw_outlier(self.data.pixels[index], rng), OTHER, size)
        if self._outliers is not None and chance < self.recipe.drawn_outliers + self.recipe.real_outliers:
            return self._outlier(rng, size)
        images = self._sizes[size]
        pixels, boxes, label = images[index], self._boxes(index, size), self.labels[index]
        if self._doubtful[index]:
            # Nobody can know from this slice. It is called a tumour more often: that is the safer error.
            boxes = boxes[:0]
            healthy = rng.random() < self.recipe.blind_healthy
            if healthy != (label == NO_TUMOR):
                label = NO_TUMOR if healthy else UNTYPED
        wanted = self.recipe.counterfactual
        chance = rng.random()
        if label == NO_TUMOR and chance < wanted.transplant and self.donors.lesions:
            donor, box = self.lesion(self.data.records[index].sequence, rng)
            inverted = bool(rng.random() < wanted.inverted)
            made = counterfactual.paste(pixels, images[donor], box * (size / SIZE), rng, inverted=inverted)
            if made is not None:
                (pixels, boxes), label = made, UNTYPED
        elif chance > 1 - wanted.control and self.donors.lesions and self._placed(index):
            pixels = self._control(pixels, boxes, rng, size)
        pixels, boxes = augment(
            pixels,
            boxes,
            self.recipe.augmentation,
            rng,
            other=lambda: images[int(rng.integers(len(self.labels)))],
        )
        target = np.array(targets([label])[0], np.float32)
        evidence, known = evidence_target(label, boxes, size)
        doubtful = self._doubtful[index] and not len(boxes)
        if doubtful:
            known = np.zeros_like(known)
        return Example(pixels, target, evidence, known, float(not doubtful), BRAIN)

    def lesion(self, sequence: str, rng: np.random.Generator) -> Lesion:
        """Draws a lesion for a slice: often of the slice's own sequence, which shows it as it would be."""
        lesions = self.donors.lesions
        if rng.random() < SAME_SEQUENCE:
            lesions = self.donors.by_sequence.get(sequence, lesions)
        return lesions[int(rng.integers(len(lesions)))]

    def _outlier(self, rng: np.random.Generator, size: int) -> Example:
        """Draws a real picture that is not a slice of a brain, each kind by the square root of its size."""
        assert self._outliers is not None  # noqa: S101 - our own: asked for only where there are some
        chosen = min(int(np.searchsorted(self._kinds, rng.random())), len(self._kinds) - 1)
        pixels = self._outliers.pixels[chosen]
        if rng.random() < 0.1:
            pixels = 255 - pixels
        pixels, _ = augment(pixels, np.zeros((0, 4), np.float32), self.recipe.augmentation, rng)
        if self._outliers.records[chosen].label != HEAD_END:
            return self._nothing(pixels, OTHER, size)
        # Where it is not told from a slice of a brain, it is at least not a tumour.
        evidence, known = evidence_target(NO_TUMOR, np.zeros((0, 4), np.float32), size)
        healthy = np.array(targets([NO_TUMOR])[0], np.float32)
        return Example(resized(pixels[None], size)[0], healthy, evidence, known, 1.0, NO_BRAIN)

    @staticmethod
    def _nothing(pixels: Pixels, shown: int, size: int) -> Example:
        nothing = np.zeros((size // CELL, size // CELL), np.float32)
        every = np.ones(len(LABELS), np.float32)
        return Example(resized(pixels[None], size)[0], every, nothing, nothing, 0.0, shown)

    def _boxes(self, index: int, size: int) -> Boxes:
        return self.data.boxes[index] * np.float32(size / SIZE)

    def _placed(self, index: int) -> bool:
        """Tells whether it is known where the slice's tumours are, so that tissue does not hide one."""
        return self.labels[index] == NO_TUMOR or len(self.data.boxes[index]) > 0

    def _control(self, pixels: Pixels, boxes: Boxes, rng: np.random.Generator, size: int) -> Pixels:
        images = self._sizes[size]
        _, like = self.donors.lesions[int(rng.integers(len(self.donors.lesions)))]
        donor = int(rng.choice(self.donors.tissue))
        box = counterfactual.tissue_box(images[donor], self._boxes(donor, size), like * (size / SIZE), rng)
        if box is None:
            return pixels
        made = counterfactual.paste(pixels, images[donor], box, rng)
        if made is None:
            return pixels
        result, (place,) = made
        # Healthy tissue over a tumour would hide it, or half of it, under its label.
        left, top, right, bottom = boxes.T
        hidden = (left < place[2]) & (right > place[0]) & (top < place[3]) & (bottom > place[1])
        return pixels if hidden.any() else result

    def weight(self, index: int) -> float:
        """Returns the weight of an image in the loss."""
        return float(self._class_weights[index])


def resized(pixels: Pixels, size: int) -> Pixels:
    """Resizes images `(N, S, S)` uint8 to another size, each way."""
    if pixels.shape[1] == size:
        return pixels
    small = [
        np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BILINEAR)) for one in pixels
    ]
    return np.stack(small)


def _shown(data: Tensors) -> list[list[bool]]:
    return [
        [_shows(pixels, box) for box in boxes] for pixels, boxes in zip(data.pixels, data.boxes, strict=True)
    ]


def _find_donors(data: Tensors, shown: Sequence[Sequence[bool]]) -> Donors:
    lesions: list[Lesion] = []
    tissue = []
    for index, (record, boxes) in enumerate(zip(data.records, data.boxes, strict=True)):
        if record.label == NO_TUMOR or len(boxes):
            tissue.append(index)
        if record.label != NO_TUMOR:
            lesions += [(index, box) for box, shows in zip(boxes, shown[index], strict=True) if shows]
    by_sequence: defaultdict[str, list[Lesion]] = defaultdict(list)
    for lesion in lesions:
        by_sequence[data.records[lesion[0]].sequence].append(lesion)
    by_sequence.pop("", None)
    return Donors(lesions, np.array(tissue, np.intp), by_sequence)


def find_doubtful(data: Tensors) -> npt.NDArray[np.bool_]:
    """Finds slices that do not show whether there is a tumour, though their label says so.

    Where boxes were drawn on another sequence, a tumour may be in the box and not in the picture; and then
    the clean slices of that sequence look no different. That is found by collection and sequence: fewer than
    half of the boxed tumours show.
    """
    shown = _shown(data)
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


def shows_tumor(data: Tensors) -> npt.NDArray[np.bool_]:
    """Tells for each slice whether it has a tumour that shows: those that choose an operating point."""
    return np.array([record.label != NO_TUMOR for record in data.records], np.bool_) & ~find_doubtful(data)


def _shows(pixels: Pixels, box: Float32s) -> bool:
    """Tells whether a lesion stands out of the tissue around it: boxes drawn on FLAIR can be empty on T1."""
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
    """Returns the probability of drawing each image.

    Labels have fixed shares. Within a label a collection's share goes with the square root of its size, so
    that small ones are heard and not worn out; in the same way within a collection the share of a sequence,
    plane and level, and within these that of a group: ten shots of one tumour say little more than three.
    """
    paths = [
        (record.label, record.source, f"{record.sequence}/{record.plane}/{record.level}", record.group)
        for record in records
    ]
    sizes: Counter[tuple[str, ...]] = Counter(path[:depth] for path in paths for depth in (1, 2, 3, 4))
    roots: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for path, count in sizes.items():
        roots[path[:-1]] += math.sqrt(count)
    total = sum(LABEL_SHARES[label] for label in {path[0] for path in paths})
    return np.array(
        [
            LABEL_SHARES[path[0]]
            / total
            * math.prod(math.sqrt(sizes[path[:depth]]) / roots[path[: depth - 1]] for depth in (2, 3, 4))
            / sizes[path]
            for path in paths
        ]
    )


def _systematic(
    probabilities: npt.NDArray[np.float64], count: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Draws systematically: each image floor(n p) or ceil(n p) times, without the luck of single draws."""
    shuffled = rng.permutation(len(probabilities))
    ends = np.cumsum(probabilities[shuffled] / probabilities.sum()) * count
    points = (np.arange(count) + rng.random()).clip(max=count - 1e-9)
    drawn: npt.NDArray[np.intp] = shuffled[
        np.searchsorted(ends, points, side="right").clip(max=len(shuffled) - 1)
    ]
    return drawn


def pack(examples: Sequence[Example], weights: Float32s, recipe: Recipe) -> Wanted:
    """Returns targets and weights by output name, for the outputs the recipe's head has."""
    target, evidence, known, judged, shown = (
        np.array(part) for part in list(zip(*examples, strict=True))[1:]
    )
    wanted, shares = {"logits": target}, {"logits": weights}
    if recipe.head == "map":
        places, known = (part.reshape(len(part), -1) for part in (evidence, known))
        wanted["evidence"], shares["evidence"] = places, known
        # Every place is allowed where none is known: a loss of 0.
        wanted["place"] = np.where(places.any(axis=1, keepdims=True), places, 1).astype(np.float32)
        shares["place"] = np.ones_like(weights)
        wanted["seen"], shares["seen"] = 1 - target[:, :1], judged.astype(np.float32)
    if recipe.tells_outliers:
        wanted["familiarity"] = np.eye(3, dtype=np.float32)[shown]
        shares["familiarity"] = np.ones_like(weights)
    return wanted, shares
