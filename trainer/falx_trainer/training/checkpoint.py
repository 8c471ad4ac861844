"""Keeps the state of a run on disk after every epoch, complete or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Arrays = Sequence[npt.NDArray[np.generic]]


@dataclass(frozen=True)
class State:
    """The state of a run between two epochs.

    Attributes:
        stage: 1 or 2; 3 once both are done.
        epoch: how many epochs of that stage are done.
        history: a row for each epoch so far, of both stages.
        weights: of the whole network, now.
        optimizer: its variables; None before the stage's first epoch.
        kept: the weights the stage would end with now: those of its best epoch, or the mean of
            several; None where they are the last.
    """

    stage: int
    epoch: int
    history: list[dict[str, float]]
    weights: Arrays
    optimizer: Arrays | None
    kept: Arrays | None

    @property
    def outcome(self) -> Arrays:
        """The weights that the stage would end with now."""
        return self.weights if self.kept is None else self.kept


class Checkpoint:
    """A folder that holds the newest state of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: State) -> None:
        """Writes a state, then forgets the older ones; a kill in between leaves one that loads."""
        serial = self._serials()[-1] + 1 if self._serials() else 0
        draft = self.folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, arrays in (
            ("weights", state.weights),
            ("optimizer", state.optimizer),
            ("kept", state.kept),
        ):
            if arrays is not None:
                np.savez(draft / f"{name}.npz", *arrays)
        facts = {"stage": state.stage, "epoch": state.epoch, "history": state.history}
        (draft / "state.json").write_text(json.dumps(facts), encoding="utf-8")
        draft.replace(self.folder / f"{serial:06d}")
        for older in self._serials()[:-1]:
            shutil.rmtree(self.folder / f"{older:06d}")

    @property
    def is_empty(self) -> bool:
        """True before the first state is saved."""
        return not self._serials()

    def load(self) -> State | None:
        """Returns the newest state; None where there is none."""
        serials = self._serials()
        if not serials:
            return None
        folder = self.folder / f"{serials[-1]:06d}"
        facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        weights = _read(folder / "weights.npz")
        assert weights is not None  # noqa: S101 - our own: every save writes it
        return State(
            facts["stage"],
            facts["epoch"],
            facts["history"],
            weights,
            _read(folder / "optimizer.npz"),
            _read(folder / "kept.npz"),
        )

    def remove(self) -> None:
        """Deletes the folder: the run has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _serials(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return sorted(int(child.name) for child in self.folder.iterdir() if child.name.isdigit())


def _read(path: Path) -> Arrays | None:
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        return [file[f"arr_{index}"] for index in range(len(file.files))]
