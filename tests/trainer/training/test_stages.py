from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit, log_softmax, logsumexp
from tests.said import python

from falx.errors import FalxError
from falx_runs.manifest import read_records
from falx_trainer.data import tensors
from falx_trainer.training import stages
from falx_trainer.training.checkpoint import Checkpoint, State
from falx_trainer.training.network import build, build_for
from falx_trainer.training.recipe import PRESETS, Recipe, Stage1, Stage2

Floats = npt.NDArray[np.float32]


def test_partial_crossentropy_is_minus_the_log_of_what_is_allowed() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 5, (60, 4)).astype(np.float32)
    target = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 60)]
    target[::3] = [0, 1, 1, 1]
    expected = -logsumexp(
        np.where(target > 0, log_softmax(logits.astype(np.float64), axis=1), -np.inf), axis=1
    )
    loss = keras.ops.convert_to_numpy(stages.partial_crossentropy(target, logits))
    assert loss.shape == (60,)
    np.testing.assert_allclose(loss, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("target", "logits", "expected"),
    [
        ([1, 0, 0, 0], [500, -500, 0, 0], 0),
        ([0, 1, 0, 0], [500, -500, 0, 0], 1000),
        ([0, 1, 1, 1], [1e4, 0, 0, 0], 1e4 - np.log(3)),
        ([0, 1, 1, 1], [-1e4, 3, 3, 3], 0),
        ([1, 1, 1, 1], [80, -80, 5, 0], 0),
    ],
)
def test_extreme_logits_have_a_finite_loss_and_gradient(
    target: list[float], logits: list[float], expected: float
) -> None:
    import tensorflow as tf

    variable = tf.Variable([logits], dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = stages.partial_crossentropy(np.array([target], np.float32), variable)
    assert float(loss[0]) == pytest.approx(expected, rel=1e-5, abs=1e-4)
    gradient = tape.gradient(loss, variable).numpy()
    assert np.isfinite(gradient).all()
    assert gradient.sum() == pytest.approx(0, abs=1e-5)


def test_binary_crossentropy_is_binary_crossentropy() -> None:
    rng = np.random.default_rng(2)
    evidence = rng.normal(0, 3, (2, 7, 7)).astype(np.float32)
    target = (rng.random((2, 7, 7)) < 0.3).astype(np.float32)
    p = expit(evidence.astype(np.float64))
    loss = keras.ops.convert_to_numpy(stages.binary_crossentropy(target, evidence))
    np.testing.assert_allclose(loss, -np.log(np.where(target > 0, p, 1 - p)), atol=1e-5)
    extreme = keras.ops.convert_to_numpy(
        stages.binary_crossentropy(np.array([1.0, 0.0], np.float32), np.array([-800.0, 800.0], np.float32))
    )
    np.testing.assert_allclose(extreme, [800, 800])


def test_accuracy_takes_any_label_that_is_allowed() -> None:
    target = np.array([[1, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1]], np.float32)
    logits = np.array([[0, 1, 0, 0], [0, 0, 2, 0], [3, 0, 2, 0]], np.float32)
    assert keras.ops.convert_to_numpy(stages.accuracy(target, logits)).tolist() == [0, 1, 0]


def after(*val_losses: float, stage: int = 2) -> State:
    rows = [{"stage": stage, "val_loss": loss} for loss in val_losses]
    # Losses of the other stage do not count.
    return State(stage, len(rows), [{"stage": 3 - stage, "val_loss": 0.0}, *rows], [], None, None)


@pytest.mark.parametrize(
    ("losses", "divided"),
    [
        ((), 0),
        ((1.0,), 0),
        ((1.0, 1.1), 0),
        ((1.0, 1.1, 1.2), 1),  # two epochs without improvement
        ((1.0, 1.0, 1.0), 1),  # equal is none
        ((1.0, 1.1, 0.9, 1.0), 0),  # an improvement in between
        ((1.0, 1.1, 1.2, 1.3), 1),  # counted anew after a cut
        ((1.0, 1.1, 1.2, 1.3, 1.4), 2),
        ((1.0, 1.1, 1.2, 0.5, 0.6), 1),
    ],
)
def test_plateau(losses: tuple[float, ...], divided: int) -> None:
    stage = Stage2(learning_rate=1e-3)
    assert stages._learning_rate(after(*losses), stage) == pytest.approx(1e-3 / 5**divided)


def test_plateau_has_settings() -> None:
    stage = Stage2(learning_rate=1e-3, plateau_patience=1, plateau_factor=0.5)
    assert stages._learning_rate(after(1.0, 1.1, 1.2, 0.9), stage) == pytest.approx(1e-3 / 4)


def test_cosine_falls_to_nothing_over_all_epochs() -> None:
    stage = Stage2(epochs=4, learning_rate=1e-3, schedule="cosine")
    rates = [stages._learning_rate(after(*[1.0] * epoch), stage) for epoch in range(4)]
    # The first epoch is a warm-up.
    expected = [0.3 * 1e-3, 0.5e-3 * (1 + 2**-0.5), 0.5e-3, 0.5e-3 * (1 - 2**-0.5)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    # The first epoch is a warm-up, and the first cycle may be shorter.
    [(6, [0.3, 0.75, 0.25, 1, 0.75, 0.25]), (5, [0.225, 0.25, 1, 0.75, 0.25]), (1, [0.075])],
)
def test_in_cycles_the_rate_starts_again(epochs: int, expected: list[float]) -> None:
    cycles = Stage2(epochs=epochs, learning_rate=1.0, schedule="cycles", cycle=3)
    rates = [stages._learning_rate(after(*[1.0] * epoch), cycles) for epoch in range(epochs)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cycle", "averaged", "ends"),
    [(1, 1, [6]), (1, 6, [1, 2, 3, 4, 5, 6]), (2, 2, [4, 6]), (3, 9, [3, 6]), (4, 2, [2, 6]), (9, 3, [6])],
)
def test_the_ends_of_the_last_cycles_are_averaged(cycle: int, averaged: int, ends: list[int]) -> None:
    stage = Stage2(epochs=6, schedule="cycles", cycle=cycle, averaged=averaged)
    state = after()
    for epoch in range(1, 7):
        weights = [np.array([epoch, -epoch], np.float32), np.array(epoch**2, np.float32)]
        kept = stages._kept(state, stage, {"val_loss": float(epoch)}, weights)
        state = State(2, epoch, [], weights, None, kept)
        assert (kept is None) == (epoch < ends[0])
    first, second = state.outcome
    assert first.dtype == second.dtype == np.float32
    mean = sum(ends) / len(ends)
    assert first.tolist() == pytest.approx([mean, -mean])
    assert second.tolist() == pytest.approx(sum(end**2 for end in ends) / len(ends))


def test_a_run_ends_with_the_average(
    manifest: Path, random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: dict[tuple[int, int], list[Floats]] = {}

    def remember(_: Checkpoint, state: State) -> None:
        ends[state.stage, state.epoch] = [np.asarray(array, np.float32) for array in state.weights]

    monkeypatch.setattr(Checkpoint, "save", remember)
    changes = {"schedule": "cycles", "learning_rate": 1e-3, "epochs": 2, "cycle": 1, "averaged": 2}
    recipe = PRESETS["classic"].override(
        TINY | {"stage1.epochs": 0} | {f"stage2.{name}": value for name, value in changes.items()}
    )
    _, weights = go(manifest, random_weights, recipe, tmp_path)
    first, last = ends[2, 1], ends[2, 2]
    assert any(abs(one - two).max() > 1e-4 for one, two in zip(first, last, strict=True))
    for one, two, mean in zip(first, last, weights, strict=True):
        np.testing.assert_allclose(mean, (one + two) / 2, atol=1e-6)


def test_stage_1_has_one_rate() -> None:
    state = after(1.0, 2.0, 3.0, 4.0, stage=1)
    assert stages._learning_rate(state, Stage1(learning_rate=2e-4)) == 2e-4


@pytest.mark.parametrize(
    ("losses", "ended"),
    [
        ((), False),
        ((1.0, 1.1, 1.2), False),
        ((1.0, 1.1, 1.2, 1.3), True),  # three in vain
        ((1.0, 0.9, 1.2, 1.3), False),
        ((1.0, 1.0, 1.0, 1.0), True),
        ((1.0, 0.9, 0.8, 0.7, 0.6), True),  # all epochs done
    ],
)
def test_early_stopping(losses: tuple[float, ...], ended: bool) -> None:
    for stage in (Stage1(epochs=5, patience=3), Stage2(epochs=5, patience=3)):
        number = 1 if isinstance(stage, Stage1) else 2
        assert stages._ended(after(*losses, stage=number), stage) is ended


@pytest.mark.parametrize("schedule", ["cosine", "cycles"])
def test_other_schedules_do_not_stop_early(schedule: str) -> None:
    stage = Stage2(epochs=5, patience=1, schedule=schedule)
    assert not stages._ended(after(1, 2, 3, 4), stage)
    assert stages._ended(after(1, 2, 3, 4, 5), stage)


TINY: dict[str, Any] = {
    "batch": 4,
    "dense": 8,
    "stage1.epochs": 2,
    "size": 96,
    "stage1.echo": 1,
    "stage2.echo": 2,
    "stage2.epochs": 2,
    "stage2.layers": 12,
}


def go(manifest: Path, weights: Path, recipe: Recipe, folder: Path) -> tuple[stages.History, list[Any]]:
    records = [record for record in read_records(manifest) if record.path.stem[-1] in "0145"]
    train, val = (
        tensors.load([record for record in records if record.split == split]) for split in ("train", "val")
    )
    keras.utils.set_random_seed(recipe.seed)
    network = build_for(recipe, weights)
    history = stages.train(network, train, val, recipe, folder / "checkpoint")
    return history, network.whole.get_weights()


# The trainer as it is, in a process that ends itself, as a kill from outside would, at a point
# that does not depend on how fast the machine is.
KILLED = """
import importlib.util, json, os, signal, sys
from pathlib import Path
import numpy
test, manifest, weights, folder, preset, stages, point = sys.argv[1:]
spec = importlib.util.spec_from_file_location("test_stages", test)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "in a save":
    real, count = numpy.savez, [0]
    def savez(path, *arrays, **named):
        count[0] += "checkpoint" in str(path) and "views" not in str(path)
        if count[0] == 5:  # the second of three files of the second epoch
            Path(path).write_bytes(b"half")
            die()
        real(path, *arrays, **named)
    numpy.savez = savez
elif point == "in a view":
    from falx_trainer.training.sampling import Sampler
    real = Sampler.example
    def example(self, index, rng, size):
        if self.stage == 2:
            die()
        return real(self, index, rng, size)
    order = Sampler.order
    def remembered(self, stage, view):
        self.stage = stage
        return order(self, stage, view)
    Sampler.example, Sampler.order = example, remembered
else:
    from falx_trainer.training.views import Batches
    real, count = Batches.__getitem__, [0]
    def batch(self, step):
        count[0] += step == 2
        if count[0] == 2:  # of the second epoch
            die()
        return real(self, step)
    Batches.__getitem__ = batch
recipe = module.PRESETS[preset].override(module.TINY | json.loads(stages))
module.go(Path(manifest), Path(weights), recipe, Path(folder))
"""


def test_a_loss_that_is_no_number_stops_the_run(
    manifest: Path, random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "partial_crossentropy", lambda _, logits: np.nan * logits[..., 0])
    recipe = PRESETS["classic"].override(TINY)
    with pytest.raises(
        stages.DivergedError,
        match=r"^stage1, epoch 1: .*\bloss nan.*; training stopped\..* stage1\.learning_rate than 0\.0001",
    ) as caught:
        go(manifest, random_weights, recipe, tmp_path)
    assert isinstance(caught.value, FalxError)
    assert Checkpoint(tmp_path / "checkpoint").load() is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "changes", "kills"),
    [
        # Smaller images, then those of 224 pixels.
        ("default", {"stage1.epochs": 1, "stage2.full": 1}, (("in a view", (2, 0)), ("in an epoch", (2, 1)))),
        # The rate and the best epoch hang on what was before.
        ("classic", {"stage1.epochs": 0}, (("in a save", (2, 1)),)),
    ],
)
def test_a_killed_run_ends_as_it_would_have(
    preset: str,
    changes: dict[str, int],
    kills: tuple[tuple[str, tuple[int, int]], ...],
    manifest: Path,
    random_weights: Path,
    tmp_path: Path,
) -> None:
    recipe = PRESETS[preset].override(TINY | changes)
    history, weights = go(manifest, random_weights, recipe, tmp_path / "whole")
    expected_rows = [(1, e + 1) for e in range(recipe.stage1.epochs)] + [(2, 1), (2, 2)]
    assert [(row["stage"], row["epoch"]) for row in history] == expected_rows
    arguments = (__file__, manifest, random_weights, tmp_path / "killed", preset, json.dumps(changes))
    for point, reached in kills:
        ended = python("-c", KILLED, *arguments, point, PYTHONPATH=os.pathsep.join(sys.path))
        assert ended.status == -signal.SIGKILL, ended.err
        state = Checkpoint(tmp_path / "killed" / "checkpoint").load()
        assert state is not None
        assert (state.stage, state.epoch) == reached
    again, resumed = go(manifest, random_weights, recipe, tmp_path / "killed")
    for row, expected in zip(again, history, strict=True):
        assert row.keys() == expected.keys()
        for name in row.keys() - {"seconds"}:
            assert row[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-5), name
    for ours, theirs in zip(resumed, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    # Nothing is left to train, and the weights are those it ended with, not those of the last epoch.
    ended_before, unchanged = go(manifest, random_weights, recipe, tmp_path / "killed")
    assert ended_before == again
    for ours, theirs in zip(unchanged, resumed, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_answers_for_images_are_those_of_the_whole(random_weights: Path) -> None:
    network = build("map", 8, 0.3, 7, random_weights, familiarity=True)
    pixels = np.random.default_rng(1).integers(0, 256, (35, 224, 224)).astype(np.uint8)
    answers = stages.predict(network, pixels)
    assert {name: values.shape for name, values in answers.items()} == {
        "logits": (35, 4),
        "evidence": (35, 196),
        "place": (35, 196),
        "seen": (35, 1),
        "familiarity": (35, 3),
    }
    expected = network.whole.predict_on_batch(pixels[33:, ..., None].astype(np.float32))
    for name, values in expected.items():
        np.testing.assert_allclose(answers[name][33:], values, atol=1e-4)
