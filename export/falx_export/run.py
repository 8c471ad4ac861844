"""A run: the folder that a training leaves, checked before anything is made of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras

from falx.decision import Thresholds
from falx.errors import ThresholdError
from falx.model.tensor_spec import OUTPUTS, is_output
from falx.slices import preprocessing
from falx.words import LABELS, MODEL_NAME
from falx_runs.errors import RunError

__all__ = ["Run", "output_shapes", "read"]

SCHEMA: Final = 1
"""The version of meta.json that is read here."""


@dataclass(frozen=True, slots=True)
class Run:
    """A trained model and what is known about it.

    Attributes:
        model: `image` `(B, 224, 224, 1)` float32, 0..255 -> `{"probabilities": (B, 4)}` and
            optionally `"heatmap"` `(B, N, N)` and `"familiarity"` `(B, 1)`, all 0..1.
        name: the model's name.
        temperature: what the logits are divided by, inside the model.
        thresholds: the least probability of each label.
        least_familiarity: pictures of a lower familiarity are rejected; 0 rejects none.
        metrics: measured quality; free JSON.
        provenance: trainer, preset and what differs from it, seed, data, the weights it began with and
            the model's checksum; free JSON.
        license: of the weights, where the run states one.
        data: the manifest of the training's images and their splits, where the folder holds it.
    """

    model: keras.Model
    name: str
    temperature: float
    thresholds: Thresholds
    least_familiarity: float
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]
    license: str | None
    data: Path | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The model's outputs, `probabilities` first."""
        return tuple(output_shapes(self.model))


def output_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Returns the outputs of a model in the order of `OUTPUTS`, with the shapes of a batch of one."""
    return {name: (1, *model.output[name].shape[1:]) for name in OUTPUTS if name in model.output}


def read(folder: Path, name: str | None = None) -> Run:
    """Read a run folder.

    Args:
        folder: holds `model.keras` and `meta.json`, and `data.csv`.
        name: the model's, in place of the one that the run gave it.

    Raises:
        RunError: one of them is missing, cannot be read or is not what it must be.
    """
    meta = _read_meta(folder / "meta.json", name)
    manifest = folder / "data.csv"
    path = folder / "model.keras"
    if not path.is_file():
        raise RunError(f"{folder}: has no model.keras; give the folder that `python -m falx_trainer` wrote")
    model = _load_model(path)
    if meta.get("least_familiarity", 0) and "familiarity" not in model.output:
        raise RunError(f"{folder}: meta.json has least_familiarity, but the model has no output familiarity")
    return Run(
        model=model,
        name=meta["name"],
        temperature=float(meta["temperature"]),
        thresholds=meta["thresholds"],
        least_familiarity=meta.get("least_familiarity", 0),
        metrics=meta["metrics"],
        provenance={
            "trainer": meta["trainer"],
            "preset": meta["preset"],
            **{field: meta[field] for field in ("changes", "weights") if field in meta},
            "seed": meta["seed"],
            "data": meta["data"],
            "versions": meta.get("versions", {}),
            "model_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
        license=meta.get("license"),
        data=manifest if manifest.is_file() else None,
    )


def _read_meta(path: Path, name: str | None) -> dict[str, Any]:
    if not path.parent.is_dir():
        raise RunError(f"{path.parent}: expected a run folder, found none there")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{path.parent}: has no meta.json; give the folder that `python -m falx_trainer` wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: expected JSON that can be read: {error}") from error
    if not isinstance(meta, dict):
        raise RunError(f"{path}: expected a JSON object, got {type(meta).__name__}")
    if name is not None:
        meta["name"] = name
    for field, (expected, fits) in _FIELDS.items():
        if field not in meta:
            raise RunError(f"{path}: lacks {field!r} ({expected})")
        if not fits(meta[field]):
            raise RunError(f"{path}: {field} must be {expected}, got {meta[field]!r}")
    for field, (expected, fits) in _OPTIONAL.items():
        if field in meta and not fits(meta[field]):
            raise RunError(f"{path}: {field} must be {expected}, got {meta[field]!r}")
    try:
        meta["thresholds"] = Thresholds.from_mapping(meta["thresholds"])
    except ThresholdError as error:
        raise RunError(f"{path}: {error}") from error
    return meta


def _is_positive(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(float(str(value))) and float(str(value)) > 0


def _is_share(value: object) -> bool:
    return value == 0 or (_is_positive(value) and float(str(value)) <= 1)


_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "schema": (f"{SCHEMA}", lambda x: x == SCHEMA),
    "name": (
        "a name of letters, digits, '.', '_' and '-'",
        lambda x: isinstance(x, str) and MODEL_NAME.fullmatch(x) is not None,
    ),
    "labels": (f"{list(LABELS)}, in this order", lambda x: x == list(LABELS)),
    "preprocessing": (f"{preprocessing.NAME!r}", lambda x: x == preprocessing.NAME),
    "temperature": ("a number above 0", _is_positive),
    "thresholds": ("an object", lambda x: isinstance(x, dict)),
    "seed": ("an integer", lambda x: isinstance(x, int)),
    "trainer": ("a version", lambda x: isinstance(x, str)),
    "preset": ("a text", lambda x: isinstance(x, str)),
    "data": ("an object", lambda x: isinstance(x, dict)),
    "metrics": ("an object", lambda x: isinstance(x, dict)),
}
"""What meta.json must hold: the words for it, and the test."""

_OPTIONAL: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "license": ("a text", lambda x: isinstance(x, str)),
    "weights": ("a text", lambda x: isinstance(x, str)),
    "changes": ("an object", lambda x: isinstance(x, dict)),
    "least_familiarity": ("a number in 0..1", _is_share),
}
"""What it may hold besides."""


def _load_model(path: Path) -> keras.Model:
    # Layers are named in the order in which this process made them, and their names end up in the files.
    keras.backend.clear_session()
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    # Keras lets through whatever zip, HDF5 and its own layers raise on a file that is none.
    except Exception as error:
        raise RunError(f"{path}: Keras cannot load it: {_first_line(error)}") from error
    expected = (None, preprocessing.SIZE, preprocessing.SIZE, 1)
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", ())]
    if shapes != [expected]:
        raise RunError(f"{path}: expected one input of shape {expected}, got {shapes}")
    outputs = model.output
    if not isinstance(outputs, dict) or "probabilities" not in outputs:
        raise RunError(f"{path}: expected a dict of outputs with 'probabilities', got {outputs}")
    for name, tensor in outputs.items():
        shape = (1, *tensor.shape[1:])
        if not is_output(name, shape):
            wanted = ", ".join(f"{key} {axes}" for key, axes in OUTPUTS.items())
            raise RunError(f"{path}: outputs may be {wanted}; got {name} {shape}")
    return model


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
