"""The three stages, epoch by epoch, so that a run killed at any moment goes on and ends the same.

Everything an epoch does follows from the seed, its number and the state saved after the epoch
before: weights, those the stage would end with, the optimizer's variables and the history. Stopping and
the learning rate are functions of the history and the epoch's number alone.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from tqdm import tqdm

from falx.errors import FalxError
from falx_runs.manifest import targets
from falx_trainer.data.tensors import Tensors
from falx_trainer.training.checkpoint import Arrays, Checkpoint, State
from falx_trainer.training.network import Network, set_trainable
from falx_trainer.training.recipe import Recipe, Stage1, Stage2, Stage3
from falx_trainer.training.sampling import WORKERS, Epoch, Sampler, evidence_target, pack

__all__ = [
    "DivergedError",
    "History",
    "binary_crossentropy",
    "learn_all",
    "partial_crossentropy",
    "predict",
    "train",
]

History = list[dict[str, float]]
"""A row an epoch: `stage`, `epoch`, `learning_rate`, losses and accuracy with and without `val_`,
`seconds`."""

WARM_UP_FACTOR: Final = 0.3
"""The first epoch of a rate that follows a cosine, while Adam does not know the gradients' sizes yet."""

PREDICTION_BATCH: Final = 32

Features = npt.NDArray[np.float16]
Floats = npt.NDArray[np.float32]


class DivergedError(FalxError, ArithmeticError):
    """A training whose loss is no longer a finite number."""


def partial_crossentropy(target: Any, logits: Any) -> Any:
    """Minus the logarithm of the probability of all the labels a slice may have.

    With one label allowed this is cross-entropy; with the three tumour labels allowed it asks
    only that `no_tumor` be improbable (learning from partial labels: Cour et al. 2011, JMLR 12). Over
    places instead of labels it asks that the strongest evidence lie at one of those allowed.

    Args:
        target: `(B, N)`, 1 for each label or place allowed.
        logits: `(B, N)`.

    Returns:
        `(B,)`, 0 where all the probability is on labels allowed.
    """
    allowed = ops.where(ops.cast(target, "bool"), logits, -1e9)
    return ops.logsumexp(logits, axis=-1) - ops.logsumexp(allowed, axis=-1)


def binary_crossentropy(target: Any, logits: Any) -> Any:
    """Binary cross-entropy from logits, of any shape, without a mean: places have weights of their own."""
    return ops.softplus(logits) - target * logits


def accuracy(target: Any, logits: Any) -> Any:
    """Whether the most probable label is allowed, `(B,)`."""
    return ops.sum(target * ops.one_hot(ops.argmax(logits, axis=-1), logits.shape[-1]), axis=-1)


def train(network: Network, training: Tensors, validation: Tensors, recipe: Recipe, folder: Path) -> History:
    """Train the first two stages, or what is left of them.

    Args:
        network: freshly built; holds the trained weights at the end.
        training: prepared images of the train split.
        validation: of the val split; never learned from.
        recipe: all settings.
        folder: of the checkpoint, read and written.

    Returns:
        A row for each epoch of both stages.

    Raises:
        DivergedError: a loss is not a finite number; the state before that epoch stays saved.
    """
    checkpoint = Checkpoint(folder)
    sampler = Sampler(training, recipe)
    state = checkpoint.load() or State(1, 0, [], network.whole.get_weights(), None, None)
    for stage, run in ((1, _first_stage), (2, _second_stage)):
        if state.stage == stage:
            network.whole.set_weights(state.weights)
            state = run(network, sampler, validation, state, checkpoint)
            state = State(stage + 1, 0, state.history, state.outcome, None, None)
            checkpoint.save(state)
    network.whole.set_weights(state.weights)
    return state.history


def learn_all(network: Network, everything: Tensors, recipe: Recipe, folder: Path) -> History:
    """Train stage 3, or what is left of it.

    Args:
        network: as stages 1 and 2 left it; holds the trained weights at the end.
        everything: prepared images of the train and val splits; no image is held out any more.
        recipe: all settings.
        folder: of the checkpoint, read and written.

    Returns:
        A row for each epoch of stage 3, without measures of val.

    Raises:
        DivergedError: the loss is not a finite number; the state before that epoch stays saved.
    """
    checkpoint = Checkpoint(folder)
    state = checkpoint.load() or State(3, 0, [], network.whole.get_weights(), None, None)
    network.whole.set_weights(state.weights)
    set_trainable(network, recipe.stage2.layers)
    sampler = Sampler(everything, recipe)
    state = _run(
        network,
        network.whole,
        lambda epoch: Epoch(sampler, 3, epoch),
        None,
        recipe.stage3,
        recipe,
        state,
        checkpoint,
        time.monotonic(),
    )
    network.whole.set_weights(state.outcome)
    return state.history


def predict(network: Network, pixels: npt.NDArray[np.uint8]) -> dict[str, Floats]:
    """What the network says of prepared images, before any temperature.

    Args:
        network: trained.
        pixels: `(N, 224, 224)` uint8.

    Returns:
        Each of the head's outputs for all of them, such as `logits` `(N, 4)`.
    """
    starts = range(0, len(pixels), PREDICTION_BATCH)
    parts = [
        network.whole.predict_on_batch(pixels[start : start + PREDICTION_BATCH, ..., None].astype(np.float32))
        for start in tqdm(starts, "answers", unit="batch", disable=None)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _first_stage(
    network: Network, sampler: Sampler, validation: Tensors, state: State, checkpoint: Checkpoint
) -> State:
    stage = sampler.recipe.stage1
    set_trainable(network, 0)
    if _ended(state, stage):
        return state
    started = time.monotonic()
    # The frozen backbone gives the same features every time: once a view is enough.
    views = [_View(network.backbone, sampler, view) for view in range(min(stage.views, stage.epochs))]
    held = _in_order(
        _features(network.backbone, validation.pixels, "features of val"),
        _known(validation, sampler.recipe),
    )
    return _run(
        network,
        network.head,
        lambda epoch: views[epoch % len(views)].batches(sampler.recipe, epoch),
        held,
        stage,
        sampler.recipe,
        state,
        checkpoint,
        started,
    )


def _second_stage(
    network: Network, sampler: Sampler, validation: Tensors, state: State, checkpoint: Checkpoint
) -> State:
    stage = sampler.recipe.stage2
    set_trainable(network, stage.layers)
    if _ended(state, stage):
        return state
    held = _in_order([validation.pixels[..., None]], _known(validation, sampler.recipe))
    return _run(
        network,
        network.whole,
        lambda epoch: Epoch(sampler, 2, epoch),
        held,
        stage,
        sampler.recipe,
        state,
        checkpoint,
        time.monotonic(),
    )


def _run(
    network: Network,
    model: keras.Model,
    batches: Callable[[int], keras.utils.PyDataset],
    held_out: keras.utils.PyDataset | None,
    stage: Stage1 | Stage2 | Stage3,
    recipe: Recipe,
    state: State,
    checkpoint: Checkpoint,
    started: float,
) -> State:
    """The epochs of a stage that are still to do; `model` is the part of the network that learns."""
    _compile(model, recipe)
    _restore(model.optimizer, state)
    while not _ended(state, stage):
        rate = _learning_rate(state, stage)
        model.optimizer.learning_rate = rate
        title = f"stage {state.stage}, epoch {state.epoch + 1} of {stage.epochs}, learning rate {rate:.2g}"
        print(title, flush=True)  # noqa: T201 - beside Keras's progress bar, which prints too
        _reseed(network, recipe.seed, state)
        log = model.fit(
            batches(state.epoch),
            validation_data=held_out,
            # The order is the epoch's own; Keras's comes from Python's generator, which a resumed run
            # has not used as often.
            shuffle=False,
            verbose="auto" if sys.stdout.isatty() else 2,
        )
        row = {"stage": state.stage, "epoch": state.epoch + 1, "learning_rate": rate}
        row |= {
            name.replace("logits_accuracy", "accuracy"): float(values[0])
            for name, values in log.history.items()
        }
        _require_finite(row)
        row["seconds"], started = round(time.monotonic() - started, 1), time.monotonic()
        weights = network.whole.get_weights()
        kept = _kept(state, stage, row, weights)
        optimizer = [ops.convert_to_numpy(variable) for variable in model.optimizer.variables]
        state = State(state.stage, state.epoch + 1, [*state.history, row], weights, optimizer, kept)
        checkpoint.save(state)
    return state


def _require_finite(row: dict[str, float]) -> None:
    wrong = [f"{name} {value}" for name, value in row.items() if not math.isfinite(value)]
    if wrong:
        stage = f"stage{row['stage']}"
        raise DivergedError(
            f"{stage}, epoch {row['epoch']}: {', '.join(wrong)}; training stopped. Expected finite numbers: "
            f"train anew with a smaller {stage}.learning_rate than {row['learning_rate']:.2g}"
        )


def _compile(model: keras.Model, recipe: Recipe) -> None:
    losses: dict[str, Any] = {"logits": partial_crossentropy}
    shares = {"logits": 1.0}
    if recipe.head == "map":
        losses["evidence"] = binary_crossentropy
        shares["evidence"] = recipe.box_weight
        losses["place"] = partial_crossentropy
        shares["place"] = recipe.place_weight
    if recipe.outliers:
        losses["familiarity"] = binary_crossentropy
        shares["familiarity"] = 1.0
    model.compile("adam", loss=losses, loss_weights=shares, metrics={"logits": [accuracy]}, jit_compile=False)
    model.optimizer.build(model.trainable_variables)


def _restore(optimizer: keras.Optimizer, state: State) -> None:
    for variable, value in zip(
        optimizer.variables, state.optimizer or (), strict=state.optimizer is not None
    ):
        variable.assign(value)


def _reseed(network: Network, seed: int, state: State) -> None:
    """Dropout's generator counts on through a run; a resumed one has not counted."""
    generator = getattr(network.head.get_layer("dropout"), "seed_generator", None)
    if generator is not None:  # none without dropout
        generator.state.assign(np.array([seed, 1000 * state.stage + state.epoch], "uint32"))


def _kept(
    state: State, stage: Stage1 | Stage2 | Stage3, row: dict[str, float], weights: list[Any]
) -> Arrays | None:
    """The weights the stage would end with after this epoch, where they are not simply the last.

    Each cycle ends in another minimum nearby, and the mean of their weights lies between them: one
    network that carries over to other scanners as an ensemble of them does (Izmailov et al. 2018,
    arXiv:1803.05407; Wortsman et al. 2022, arXiv:2203.05482).
    """
    if isinstance(stage, Stage2 | Stage3) and stage.schedule == "cycles":
        ahead, rest = divmod(stage.epochs - state.epoch - 1, stage.cycle)
        number = min(stage.averaged, math.ceil(stage.epochs / stage.cycle)) - ahead
        if rest or number < 1:
            return state.kept
        if state.kept is None:  # the first of them
            return weights
        # The mean of one more, from the mean of those before.
        return [mean + (now - mean) / number for mean, now in zip(state.kept, weights, strict=True)]
    if _keeps_best(stage) and row["val_loss"] < min(_val_losses(state), default=math.inf):
        return weights
    return state.kept


def _keeps_best(stage: Stage1 | Stage2 | Stage3) -> bool:
    return isinstance(stage, Stage1) or stage.schedule == "plateau"


def _val_losses(state: State) -> list[float]:
    return [row["val_loss"] for row in state.history if row["stage"] == state.stage]


def _ended(state: State, stage: Stage1 | Stage2 | Stage3) -> bool:
    if state.epoch >= stage.epochs:
        return True
    if isinstance(stage, Stage3) or not _keeps_best(stage):
        return False
    losses = _val_losses(state)
    return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= stage.patience


def _learning_rate(state: State, stage: Stage1 | Stage2 | Stage3) -> float:
    if isinstance(stage, Stage1):
        return stage.learning_rate
    if isinstance(stage, Stage3) or stage.schedule != "plateau":
        warm = WARM_UP_FACTOR if state.epoch == 0 else 1.0
        length = stage.cycle if stage.schedule == "cycles" else stage.epochs
        # Cycles count from the end, so that the last is whole.
        share = 0.5 * (1 + math.cos(math.pi * ((state.epoch - stage.epochs) % length) / length))
        return warm * stage.learning_rate * share
    rate, best, waited = stage.learning_rate, math.inf, 0
    for loss in _val_losses(state):
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == stage.plateau_patience:
            rate, waited = rate * stage.plateau_factor, 0
    return rate


def _known(data: Tensors, recipe: Recipe) -> tuple[Any, Any]:
    """Targets and weights of images as they are."""
    labels = [record.label for record in data.records]
    pairs = [evidence_target(label, boxes) for label, boxes in zip(labels, data.boxes, strict=True)]
    evidence, known = (np.stack(part) for part in zip(*pairs, strict=True))
    ones = np.ones(len(labels), np.float32)
    return pack(np.array(targets(labels), np.float32), evidence, known, ones, ones, recipe)


def _features(backbone: keras.Model, pixels: npt.NDArray[np.uint8], title: str) -> list[Features]:
    result = _room(backbone, len(pixels))
    for start in tqdm(range(0, len(pixels), PREDICTION_BATCH), title, unit="batch", disable=None):
        _put(backbone, pixels[start : start + PREDICTION_BATCH, ..., None].astype(np.float32), result, start)
    return result


def _room(backbone: keras.Model, count: int) -> list[Features]:
    # Half precision: 125 to 163 kB an image, and what it rounds off is far below the augmentation.
    return [np.empty((count, *output.shape[1:]), np.float16) for output in backbone.outputs]


def _put(backbone: keras.Model, images: Any, result: list[Features], start: int) -> None:
    outputs = backbone.predict_on_batch(images)
    for room, values in zip(result, outputs if len(result) > 1 else [outputs], strict=True):
        room[start : start + len(images)] = values


class _View:
    """The frozen backbone's features of one varied look at the training images, and their targets."""

    def __init__(self, backbone: keras.Model, sampler: Sampler, view: int) -> None:
        epoch = Epoch(sampler, 1, view)
        self.features = _room(backbone, epoch.size)
        wanted: list[dict[str, Any]] = []
        weights: list[dict[str, Any]] = []
        done = 0
        for step in tqdm(range(len(epoch)), f"features of view {view + 1}", unit="batch", disable=None):
            images, target, weight = epoch[step]
            _put(backbone, images, self.features, done)
            done += len(images)
            wanted.append(target)
            weights.append(weight)
        self.targets = {name: np.concatenate([part[name] for part in wanted]) for name in wanted[0]}
        self.weights = {name: np.concatenate([part[name] for part in weights]) for name in weights[0]}

    def batches(self, recipe: Recipe, epoch: int) -> keras.utils.PyDataset:
        """An epoch over them, in an order of its own."""
        order = np.random.default_rng([recipe.seed, 1, epoch, 2]).permutation(len(self.features[0]))
        return _Batches(self.features, (self.targets, self.weights), order, recipe.batch)


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """What a model is given and what is wanted of it, all in memory, in batches."""

    def __init__(
        self,
        inputs: Sequence[npt.NDArray[Any]],
        wanted: tuple[dict[str, Any], dict[str, Any]],
        order: npt.NDArray[np.intp],
        batch: int,
    ) -> None:
        super().__init__(workers=WORKERS)
        self._inputs = inputs
        self._wanted = wanted
        self._order = order
        self._batch = batch

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch)

    def __getitem__(self, step: int) -> tuple[Any, Any, Any]:
        chosen = self._order[step * self._batch : (step + 1) * self._batch]
        inputs = tuple(part[chosen].astype(np.float32) for part in self._inputs)
        targets, weights = ({name: values[chosen] for name, values in part.items()} for part in self._wanted)
        # Keras takes a tuple of inputs, and a single one as it is.
        return inputs if len(inputs) > 1 else inputs[0], targets, weights


def _in_order(inputs: Sequence[npt.NDArray[Any]], wanted: tuple[Any, Any]) -> _Batches:
    return _Batches(inputs, wanted, np.arange(len(inputs[0])), PREDICTION_BATCH)
