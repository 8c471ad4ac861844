from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from falx_trainer.training.checkpoint import Checkpoint, State


def state(epoch: int, *, optimizer: bool = True, kept: bool = True) -> State:
    rng = np.random.default_rng(epoch)
    # More than ten, so that the order of names as text would not do.
    arrays = [rng.random((2, index % 3)).astype(np.float32) for index in range(12)]
    return State(
        2,
        epoch,
        [{"stage": 2, "epoch": epoch, "val_loss": 0.1 + 0.2, "loss": float("nan")}],
        arrays,
        [np.array(7, np.int64), *arrays] if optimizer else None,
        arrays[::-1] if kept else None,
    )


def assert_same(found: State | None, expected: State) -> None:
    assert found is not None
    np.testing.assert_equal(vars(found), vars(expected))
    for name in ("weights", "optimizer", "kept"):
        ours, theirs = ([array.dtype for array in getattr(state, name) or ()] for state in (found, expected))
        assert ours == theirs


@pytest.mark.parametrize("optimizer", [True, False])
@pytest.mark.parametrize("kept", [True, False])
def test_a_state_is_read_back_bit_for_bit(optimizer: bool, kept: bool, tmp_path: Path) -> None:
    saved = state(3, optimizer=optimizer, kept=kept)
    Checkpoint(tmp_path / "c").save(saved)
    assert_same(Checkpoint(tmp_path / "c").load(), saved)


def test_a_stage_ends_with_what_is_kept_or_else_with_the_last() -> None:
    held, last = state(3), state(3, kept=False)
    assert held.outcome is held.kept
    assert last.outcome is last.weights


def test_the_newest_is_kept_and_no_other(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.load() is None
    for epoch in range(12):
        checkpoint.save(state(epoch))
    assert_same(checkpoint.load(), state(11))
    assert [child.name for child in tmp_path.iterdir()] == ["000011"]
    checkpoint.remove()
    assert Checkpoint(tmp_path).load() is None


def cut_off(checkpoint: Checkpoint, module: ModuleType, name: str, failing: Callable[..., None]) -> None:
    """Saves a second state, while a function of a module fails."""
    checkpoint.save(state(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, failing)
        with pytest.raises(OSError, match="cut off"):
            checkpoint.save(state(2))


def test_a_save_cut_off_while_writing_leaves_the_last_state(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    real, calls = np.savez, []

    def failing(path: Path, *arrays: Any) -> None:
        calls.append(path)
        if len(calls) == 2:
            Path(path).write_bytes(b"half")
            raise OSError("cut off")
        real(path, *arrays)

    cut_off(checkpoint, np, "savez", failing)
    assert_same(Checkpoint(tmp_path).load(), state(1))
    checkpoint.save(state(2, kept=False))
    assert_same(Checkpoint(tmp_path).load(), state(2, kept=False))


def test_a_save_cut_off_while_cleaning_leaves_the_new_state(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    real = shutil.rmtree

    def failing(path: Path, **options: Any) -> None:
        if path.name == "000000":
            (path / "weights.npz").unlink()
            raise OSError("cut off")
        real(path, **options)

    cut_off(checkpoint, shutil, "rmtree", failing)
    assert_same(Checkpoint(tmp_path).load(), state(2))
    checkpoint.save(state(3))
    assert_same(Checkpoint(tmp_path).load(), state(3))
    assert len(list(tmp_path.iterdir())) == 1
