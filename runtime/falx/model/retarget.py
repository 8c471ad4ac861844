"""Other thresholds for a model file, without training or exporting again.

Card, checksums and, where the decision is in the graph, the graph's own thresholds change together; what
they were before stays in the card's `history`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from falx.decision import DEFAULT_THRESHOLDS, Thresholds
from falx.errors import ModelError, OutputError, ThresholdError
from falx.model import attachment
from falx.model import file as model_file
from falx.model.card import Setting
from falx.writing import lacks_room, write_whole


def retarget(data: bytes, changes: Mapping[str, float], *, name: str = "model") -> bytes:
    """Returns the same model file with other thresholds for some labels; messages call it by its name.

    It is byte for byte the same for the same arguments.
    """
    card, payload = model_file.extract(data, name=name)
    thresholds = Thresholds.from_mapping(card.thresholds.to_dict() | dict(changes))
    kind = attachment.detect(data)
    assert kind is not None  # noqa: S101 - our own invariant: `extract` refuses anything else
    # A graph that answers with probabilities alone leaves the decision to its reader, by the thresholds that
    # lie beside the card.
    if card.self_contained and set(card.outputs) != {"probabilities"}:
        payload = _with_thresholds(payload, card.thresholds, thresholds, name)
    changed = replace(card, thresholds=thresholds, history=(*card.history, Setting(card.thresholds)))
    return model_file.embed(payload, changed, format=kind)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The thresholds of a file for some or all labels, the model they were chosen for, and its warnings of
    them.
    """

    thresholds: dict[str, float]
    model: str | None = None
    warnings: tuple[str, ...] = ()


def read_thresholds(path: Path, choice: str | None = None) -> Chosen:
    """Reads thresholds from a JSON file: an object with a number for some or all labels, or one that has such
    an object as `thresholds`, such as the `meta.json` of a run and the `thresholds.json` of an evaluation.

    A choice is one of the `choices` of an evaluation, instead of its `thresholds`.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    # ValueError: neither JSON nor text; RecursionError: nested too deep.
    except (OSError, ValueError, RecursionError) as error:
        raise ThresholdError(f"{path}: expected a JSON file with thresholds: {error}") from error
    told = document if isinstance(document, dict) else {}
    if choice is not None:
        document = _choice(path, told, choice)
    if isinstance(document, dict):
        document = document.get("thresholds", document)
    if not isinstance(document, dict) or not document:
        raise ThresholdError(
            f"{path}: expected an object of labels with their thresholds, or one that has it as `thresholds`"
        )
    try:
        Thresholds.from_mapping(DEFAULT_THRESHOLDS.to_dict() | document)
    except ThresholdError as error:
        raise ThresholdError(f"{path}: {error}") from error
    model, warnings = told.get("model"), told.get("warnings")
    name = model.get("name") if isinstance(model, dict) else None
    return Chosen(
        document,
        name if isinstance(name, str) else None,
        tuple(map(str, warnings)) if isinstance(warnings, list) else (),
    )


def _choice(path: Path, document: Mapping[str, object], choice: str) -> object:
    choices = document.get("choices")
    known = list(choices) if isinstance(choices, dict) else []
    if not isinstance(choices, dict) or choice not in choices:
        told = f"it has {', '.join(known)}" if known else "it has none; leave the choice out"
        raise ThresholdError(f"{path}: expected a choice {choice!r} of thresholds, {told}")
    return choices[choice]


def write(data: bytes, path: Path) -> None:
    """Writes a new model file, whole or not at all."""
    kind = attachment.detect(data)
    if path.suffix.lower() != f".{kind}":
        raise OutputError(f"{path}: the model is {kind}, so the name must end in .{kind}")
    try:
        write_whole(path, data, replace=False)
    except FileExistsError as error:
        raise OutputError(f"{path}: exists already, and is left as it is; give another name") from error
    except OSError as error:
        reason = f"{error.strerror}; make room, or give another name" if lacks_room(error) else error
        raise OutputError(f"{path}: cannot be written: {reason}") from error
    except ValueError as error:  # a path with a null byte
        raise OutputError(f"{path}: cannot be written: {error}") from error


def _with_thresholds(payload: bytes, before: Thresholds, after: Thresholds, name: str) -> bytes:
    """Returns a graph that decides by other thresholds: they are one constant of it, which keeps its size."""
    old, new = (least_float32(some.to_dict().values()).astype("<f4").tobytes() for some in (before, after))
    if (times := payload.count(old)) != 1:
        raise ModelError(
            f"{name}: is self-contained, but its graph has its thresholds {times} times, expected "
            "once; export the model again"
        )
    if new != old and new in payload:
        raise ThresholdError(
            f"{name}: its graph holds these four numbers elsewhere too, so it could not be retargeted again; "
            "change one of them by a hundredth"
        )
    return payload.replace(old, new)


def least_float32(values: Iterable[float]) -> npt.NDArray[np.float32]:
    """Returns the least float32 numbers that are not below some numbers, as graphs hold limits.

    A float32 probability reaches a limit exactly where it reaches the least float32 that does.
    """
    exact = np.array(list(values), np.float64)
    near = exact.astype(np.float32)
    return np.where(near < exact, np.nextafter(near, np.float32(np.inf)), near)
