"""The two stages, epoch by epoch, so that a run killed at any moment goes on and ends the same.

Everything an epoch does follows from the seed, its number and the state saved after the epoch
before: weights, those the stage would end with, the optimizer's variables and the history. Stopping and
the learning rate are functions of the history and the epoch's number alone.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from tqdm import tqdm

from falx.errors import FalxError
from falx.slices.preprocessing import SIZE
from falx_runs.arrays import Float32s, Pixels
from falx_runs.manifest import targets
from falx_trainer.data.tensors import Tensors
from falx_trainer.training.checkpoint import Arrays, Checkpoint, State
from falx_trainer.training.network import BRAIN, Network, set_precision, set_trainable, split
from falx_trainer.training.recipe import Recipe, Stage1, Stage2
from falx_trainer.training.sampling import Example, Sampler, Wanted, evidence_target, pack, resized
from falx_trainer.training.views import Batches, View, open_view

History = list[dict[str, float]]
"""A row an epoch: `stage`, `epoch`, `learning_rate`, losses and accuracy with and without `val_`,
`seconds`."""

WARM_UP_FACTOR: Final = 0.3
"""The first epoch of a rate that follows a cosine, while Adam does not know the gradients' sizes yet."""

PREDICTION_BATCH: Final = 32


Loss: TypeAlias = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


class DivergedError(FalxError, ArithmeticError):
    """A training whose loss is no longer a finite number."""


def partial_crossentropy(target: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Returns minus the logarithm of the probability of all that is allowed, `(B,)`.

    With one label allowed this is cross-entropy; with the three tumour labels allowed it asks
    only that `no_tumor` be improbable (learning from partial labels: Cour et al. 2011, JMLR 12). Over
    places instead of labels it asks that the strongest evidence lie at one of those allowed.

    Args:
        target: `(B, N)`, 1 for each label or place allowed.
        logits: `(B, N)`.
    """
    allowed = ops.where(ops.cast(target, "bool"), logits, -1e9)
    return ops.logsumexp(logits, axis=-1) - ops.logsumexp(allowed, axis=-1)


def binary_crossentropy(target: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the binary cross-entropy from logits, of any shape, without a mean: places have own weights."""
    return ops.softplus(logits) - target * logits


def accuracy(target: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Returns 1 where the most probable label is allowed, else 0, `(B,)`."""
    return ops.sum(target * ops.one_hot(ops.argmax(logits, axis=-1), logits.shape[-1]), axis=-1)


def train(
    network: Network,
    training: Tensors,
    validation: Tensors,
    recipe: Recipe,
    folder: Path,
    outliers: Tensors | None = None,
    told: Callable[[int, dict[str, float]], None] | None = None,
) -> History:
    """Trains both stages, or what is left of them; returns a row for each epoch.

    Args:
        network: freshly built; holds the trained weights at the end.
        training: prepared images of the train split.
        validation: of the val split; never learned from.
        recipe: all settings.
        folder: of the checkpoint and the views, read and written.
        outliers: prepared pictures that are not slices of a brain, their kinds as labels.
        told: is called after each epoch with its number, from 1 over both stages, and its row.

    Raises:
        DivergedError: a loss is not a finite number; the state before that epoch stays saved.
    """
    checkpoint = Checkpoint(folder)
    sampler = Sampler(training, recipe, outliers)
    state = checkpoint.load() or State(1, 0, [], network.whole.get_weights(), None, None)
    set_precision(network, recipe.precision)
    for number, stage in ((1, recipe.stage1), (2, recipe.stage2)):
        if state.stage == number:
            network.whole.set_weights(state.weights)
            state = _run(network, sampler, validation, stage, state, checkpoint, told)
            state = State(number + 1, 0, state.history, state.outcome, None, None)
            checkpoint.save(state)
    set_precision(network, "float32")
    network.whole.set_weights(state.weights)
    return state.history


def predict(network: Network, pixels: npt.NDArray[np.uint8]) -> dict[str, Float32s]:
    """Returns all of the head's outputs for prepared images, such as `logits` before any temperature."""
    starts = range(0, len(pixels), PREDICTION_BATCH)
    parts = [
        network.whole.predict_on_batch(pixels[start : start + PREDICTION_BATCH, ..., None].astype(np.float32))
        for start in tqdm(starts, "answers", unit="batch", disable=None)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _run(
    network: Network,
    sampler: Sampler,
    validation: Tensors,
    stage: Stage1 | Stage2,
    state: State,
    checkpoint: Checkpoint,
    told: Callable[[int, dict[str, float]], None] | None,
) -> State:
    """Trains the epochs of a stage that are still to do."""
    if _ended(state, stage):
        return state
    recipe, started = sampler.recipe, time.monotonic()
    set_trainable(network, stage.layers)
    frozen, model = split(network, stage.layers)
    _compile(model, recipe)
    _restore(model.optimizer, state)
    while not _ended(state, stage):
        rate = _learning_rate(state, stage)
        model.optimizer.learning_rate = rate
        title = f"stage {state.stage}, epoch {state.epoch + 1} of {stage.epochs}, learning rate {rate:.2g}"
        print(title, flush=True)  # noqa: T201 - beside Keras's progress bar, which prints too
        _reseed(network, recipe.seed, state)
        size = SIZE if stage.epochs - state.epoch <= stage.full else recipe.size
        views = checkpoint.folder / "views"
        held = _known(views / f"val-{state.stage}-{size}", frozen, validation, recipe, size)
        view = state.epoch // stage.echo
        folder = views / f"train-{state.stage}-{view}-{size}"
        shown = _varied(folder, frozen, sampler, (state.stage, view), size)
        rng = np.random.default_rng([recipe.seed, state.stage, state.epoch, 2])
        order = rng.permutation(len(sampler.labels))
        log = model.fit(
            Batches(shown, order, recipe.batch),
            validation_data=Batches(held, np.arange(len(validation.records)), PREDICTION_BATCH),
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
        print(f"{len(order) / max(row['seconds'], 0.1):.0f} slices a second", flush=True)  # noqa: T201
        weights = network.whole.get_weights()
        kept = _kept(state, stage, row, weights)
        optimizer = [ops.convert_to_numpy(variable) for variable in model.optimizer.variables]
        state = State(state.stage, state.epoch + 1, [*state.history, row], weights, optimizer, kept)
        checkpoint.save(state)
        if told is not None:
            told(len(state.history), row)
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
    wanted: dict[str, tuple[Loss, float]] = {"logits": (partial_crossentropy, 1.0)}
    if recipe.head == "map":
        wanted["evidence"] = binary_crossentropy, recipe.box_weight
        wanted["place"] = partial_crossentropy, recipe.place_weight
        wanted["seen"] = binary_crossentropy, recipe.seen_weight
    if recipe.tells_outliers:
        wanted["familiarity"] = partial_crossentropy, 1.0
    model.compile(
        "adam",
        loss={name: loss for name, (loss, _) in wanted.items()},
        loss_weights={name: weight for name, (_, weight) in wanted.items()},
        metrics={"logits": [accuracy]},
        # TensorFlow's compiler is slower on a CPU; JAX without its own takes operation by operation.
        jit_compile=keras.backend.backend() == "jax",
    )
    model.optimizer.build(model.trainable_variables)


def _restore(optimizer: keras.Optimizer, state: State) -> None:
    if state.optimizer is not None:
        for variable, value in zip(optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)


def _reseed(network: Network, seed: int, state: State) -> None:
    """Sets dropout's generator, which counts on through a run, to where a resumed run would be."""
    generator = getattr(network.head.get_layer("dropout"), "seed_generator", None)
    if generator is not None:  # none without dropout
        generator.state.assign(np.array([seed, 1000 * state.stage + state.epoch], "uint32"))


def _kept(state: State, stage: Stage1 | Stage2, row: dict[str, float], weights: list[Any]) -> Arrays | None:
    """Returns the weights the stage would end with after this epoch, where they are not simply the last.

    Each cycle ends in another minimum nearby, and the mean of their weights lies between them: one
    network that carries over to other scanners as an ensemble of them does (Izmailov et al. 2018,
    arXiv:1803.05407; Wortsman et al. 2022, arXiv:2203.05482).
    """
    if isinstance(stage, Stage2) and stage.schedule == "cycles":
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


def _keeps_best(stage: Stage1 | Stage2) -> bool:
    return isinstance(stage, Stage1) or stage.schedule == "plateau"


def _val_losses(state: State) -> list[float]:
    return [row["val_loss"] for row in state.history if row["stage"] == state.stage]


def _ended(state: State, stage: Stage1 | Stage2) -> bool:
    if state.epoch >= stage.epochs:
        return True
    if not _keeps_best(stage):
        return False
    losses = _val_losses(state)
    return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= stage.patience


def _learning_rate(state: State, stage: Stage1 | Stage2) -> float:
    if isinstance(stage, Stage1):
        return stage.learning_rate
    if stage.schedule != "plateau":
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


def _known(folder: Path, frozen: keras.Model | None, data: Tensors, recipe: Recipe, size: int) -> View:
    """Passes on images as they are."""
    labels = [record.label for record in data.records]
    wanted = np.array(targets(labels), np.float32)

    def part(some: range) -> tuple[Pixels, Wanted]:
        pixels = resized(data.pixels[some.start : some.stop], size)
        examples = []
        for index, image in zip(some, pixels, strict=True):
            boxes = data.boxes[index] * np.float32(size / SIZE)
            places = evidence_target(labels[index], boxes, size)
            examples.append(Example(image, wanted[index], *places, 1.0, BRAIN))
        return pixels, pack(examples, np.ones(len(some), np.float32), recipe)

    return open_view(folder, frozen, len(labels), part, "features of val")


def _varied(
    folder: Path, frozen: keras.Model | None, sampler: Sampler, key: tuple[int, int], size: int
) -> View:
    """Passes on the training images, each varied anew."""
    order = sampler.order(*key)
    sampler.prepare(size)

    def part(some: range) -> tuple[Pixels, Wanted]:
        chosen = [int(order[place]) for place in some]
        examples = [
            sampler.example(index, np.random.default_rng([sampler.recipe.seed, *key, place, 1]), size)
            for place, index in zip(some, chosen, strict=True)
        ]
        weights = np.array([sampler.weight(index) for index in chosen], np.float32)
        return np.stack([one.pixels for one in examples]), pack(examples, weights, sampler.recipe)

    return open_view(folder, frozen, len(order), part, f"features of view {key[1] + 1}")
