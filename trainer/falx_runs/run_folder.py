"""Reads and writes the folder that a training leaves: its model, what is known of it, and its images."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final, Protocol, TypeVar

from falx.decision import Thresholds
from falx.errors import ThresholdError
from falx.model.tensor_spec import OUTPUTS, is_output
from falx.slices import preprocessing
from falx.words import LABELS, MODEL_NAME
from falx.writing import write_whole
from falx_runs.errors import DataError, RunError

MODEL: Final = "model.keras"
"""The trained model, from an image to probabilities."""

FACTS: Final = "meta.json"
"""The facts about the model; they are written last, so a folder that has them is a finished run."""

MANIFEST: Final = "data.csv"
"""The images of the training, and the split of each."""

SCHEMA: Final = 2
"""The version of `meta.json`."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The numbers that turn logits into honest probabilities, inside the model.

    The logarithm of the sum of the kinds' exponentials is one logit of any tumour. P(no_tumor) is the
    logistic function of the difference to it, divided by the temperature, plus the offset. The kinds share
    the rest, by the softmax of their logits, divided by a temperature of their own.

    Attributes:
        temperature: above 1, it is less sure whether there is a tumour.
        offset: above 0, no tumour is more probable.
        kind_temperature: above 1, it is less sure of the kind.
    """

    temperature: float
    offset: float
    kind_temperature: float


class _HasShape(Protocol):
    @property
    def shape(self) -> Sequence[int | None]: ...


class KerasModel(Protocol):
    """The parts of a Keras model that are checked."""

    @property
    def inputs(self) -> Sequence[_HasShape]:
        """Its inputs."""

    @property
    def output(self) -> object:
        """Its outputs by name, where it is a model of Falx."""


ModelT = TypeVar("ModelT", bound=KerasModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """A run that has ended, as its folder tells of it.

    Attributes:
        preset: the preset that the recipe started from.
        changes: the settings that differ from the preset; None in runs that did not record them.
        least_familiarity: pictures of a lower familiarity are rejected; 0 rejects none.
        metrics, data: measured quality, and the fingerprint and counts of the images; free JSON.
        trainer: the version of Falx that trained.
        weights: SHA-256 of the weights that the backbone began with, or `imagenet`.
        versions: the version of each package that can change the outcome.
        license: of the weights, where the run states one.
    """

    folder: Path
    name: str
    preset: str
    changes: Mapping[str, object] | None = None
    calibration: Calibration
    thresholds: Thresholds
    least_familiarity: float = 0.0
    metrics: Mapping[str, object]
    seed: int
    trainer: str
    data: Mapping[str, object]
    weights: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    license: str | None = None

    @property
    def model(self) -> Path:
        """The file of the trained model."""
        return self.folder / MODEL

    @property
    def manifest(self) -> Path | None:
        """The manifest of the training's images and their splits; None where the folder holds none."""
        path = self.folder / MANIFEST
        return path if path.is_file() else None

    def images(self, given: Path | None) -> Path:
        """Returns the images given; where none are, the manifest of the run's.

        Raises:
            DataError: none are given, and the folder holds no manifest.
        """
        images = given or self.manifest
        if images is None:
            raise DataError(
                f"{self.folder}: has no {MANIFEST}, which says what the run was trained on; give images "
                "with --data"
            )
        return images

    def model_sha256(self) -> str:
        """Returns the SHA-256 of the model's file."""
        return hashlib.sha256(self.model.read_bytes()).hexdigest()

    def provenance(self) -> dict[str, object]:
        """Returns what a card tells of a model's origin, JSON-ready."""
        told = ("trainer", "preset", "changes", "weights", "seed", "data", "versions")
        known = {name: getattr(self, name) for name in told if getattr(self, name) is not None}
        return {**known, "calibration": asdict(self.calibration), "model_sha256": self.model_sha256()}

    def load(self, load_model: Callable[..., ModelT]) -> ModelT:
        """Loads the model without running code from it, and checks that it is one of Falx.

        Args:
            load_model: `keras.models.load_model`, which this package does not import.

        Raises:
            RunError: the file is missing, cannot be loaded, or has other inputs or outputs.
        """
        if not self.model.is_file():
            raise _not_a_run(self.folder, MODEL)
        try:
            model = load_model(self.model, compile=False, safe_mode=True)
        except Exception as error:  # Keras, zipfile and h5py raise anything on a file of another kind
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunError(f"{self.model}: Keras cannot load it: {reason}") from error
        self._check(model)
        return model

    def _check(self, model: KerasModel) -> None:
        expected = (None, preprocessing.SIZE, preprocessing.SIZE, 1)
        shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", ())]
        if shapes != [expected]:
            raise RunError(f"{self.model}: expected one input of shape {expected}, got {shapes}")
        outputs = model.output
        if not isinstance(outputs, dict) or "probabilities" not in outputs:
            raise RunError(f"{self.model}: expected a dict of outputs with 'probabilities', got {outputs}")
        for name, tensor in outputs.items():
            shape = (1, *tensor.shape[1:])
            if not is_output(name, shape):
                wanted = ", ".join(f"{key} {axes}" for key, axes in OUTPUTS.items())
                raise RunError(f"{self.model}: outputs may be {wanted}; got {name} {shape}")
        if self.least_familiarity and "familiarity" not in outputs:
            raise RunError(
                f"{self.folder}: {FACTS} has least_familiarity, but the model has no output familiarity"
            )


def is_finished(folder: Path) -> bool:
    """Tells whether a folder holds a finished run."""
    return (folder / FACTS).exists()


def read_run(folder: Path, name: str | None = None) -> FinishedRun:
    """Reads what a run folder tells of its model; `name` takes the place of the name that the run gave it.

    Raises:
        RunError: the folder is not that of a finished run; the message says what is missing or wrong.
    """
    path = folder / FACTS
    if not folder.is_dir():
        raise RunError(f"{folder}: expected a run folder, found none there")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _not_a_run(folder, FACTS) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: expected JSON that can be read: {error}") from error
    if not isinstance(facts, dict):
        raise RunError(f"{path}: expected a JSON object, got {type(facts).__name__}")
    if name is not None:
        facts["name"] = name
    for key, (expected, fits) in _FIELDS.items():
        if key not in facts and key not in _OPTIONAL:
            raise RunError(f"{path}: lacks {key!r} ({expected})")
        if key in facts and not fits(facts[key]):
            raise RunError(f"{path}: {key} must be {expected}, got {facts[key]!r}")
    try:
        facts["thresholds"] = Thresholds.from_mapping(facts["thresholds"])
    except ThresholdError as error:
        raise RunError(f"{path}: {error}") from error
    facts["calibration"] = Calibration(**facts["calibration"])
    known = {one.name for one in fields(FinishedRun)}
    return FinishedRun(folder=folder, **{key: value for key, value in facts.items() if key in known})


def write_run(run: FinishedRun) -> None:
    """Writes what is known of a run into its folder, which makes the run a finished one."""
    facts = {"schema": SCHEMA, "labels": LABELS, "preprocessing": preprocessing.NAME, **asdict(run)}
    facts["thresholds"] = run.thresholds.to_dict()
    del facts["folder"]
    told = {key: value for key, value in facts.items() if value is not None}
    write_whole(run.folder / FACTS, (json.dumps(told, indent=1) + "\n").encode())


def fingerprint_in(provenance: Mapping[str, object]) -> str | None:
    """Returns the fingerprint of the training's data that a provenance tells; None where it tells none."""
    data = provenance.get("data")
    found = data.get("fingerprint") if isinstance(data, Mapping) else None
    return found if isinstance(found, str) else None


def _not_a_run(folder: Path, missing: str) -> RunError:
    return RunError(f"{folder}: has no {missing}; give the folder that `python -m falx_trainer` wrote")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: object) -> bool:
    return _is_number(value) and float(str(value)) > 0


def _is_calibration(value: object) -> bool:
    if not isinstance(value, dict) or value.keys() != {one.name for one in fields(Calibration)}:
        return False
    return _is_number(value["offset"]) and all(
        _is_positive(value[name]) for name in ("temperature", "kind_temperature")
    )


_FIELDS: Final[Mapping[str, tuple[str, Callable[[object], bool]]]] = {
    "schema": (f"{SCHEMA} (train the run anew, or use the checkout that trained it)", lambda x: x == SCHEMA),
    "name": (
        "a name of letters, digits, '.', '_' and '-'",
        lambda x: isinstance(x, str) and MODEL_NAME.fullmatch(x) is not None,
    ),
    "labels": (f"{list(LABELS)}, in this order", lambda x: x == list(LABELS)),
    "preprocessing": (f"{preprocessing.NAME!r}", lambda x: x == preprocessing.NAME),
    "calibration": ("temperature, offset and kind_temperature, the temperatures above 0", _is_calibration),
    "thresholds": ("an object", _is_object),
    "seed": ("an integer", lambda x: isinstance(x, int) and not isinstance(x, bool)),
    "trainer": ("a version", _is_text),
    "preset": ("a text", _is_text),
    "data": ("an object", _is_object),
    "metrics": ("an object", _is_object),
    "changes": ("an object", _is_object),
    "least_familiarity": ("a number in 0..1", lambda x: x == 0 or (_is_positive(x) and float(str(x)) <= 1)),
    "license": ("a text", _is_text),
    "seconds": ("a number", _is_number),
    "versions": ("an object", _is_object),
    "weights": ("a text", _is_text),
}
"""The fields of `meta.json`: the words for each, and its test."""

_OPTIONAL: Final = frozenset(("changes", "least_familiarity", "license", "seconds", "versions", "weights"))
"""The fields that may be missing."""
