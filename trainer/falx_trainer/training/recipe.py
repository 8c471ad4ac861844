"""The recipe: every setting of a training run, in three presets, a TOML file and the command line.

Precedence: command line, then TOML file, then preset. The resolved recipe is written into the
run folder as `recipe.toml` and makes the same run again.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from falx.errors import FalxError

T = TypeVar("T")


class RecipeError(FalxError, ValueError):
    """A setting that is unknown, of the wrong type or out of its range."""


def _setting(default: T, help_text: str, low: float | None = None, high: float | None = None) -> T:
    return field(default=default, metadata={"help": help_text, "low": low, "high": high})


def _choice(default: str, help_text: str, *choices: str) -> str:
    return field(default=default, metadata={"help": help_text, "choices": choices})


@dataclass(frozen=True)
class _RecipePart:
    def __post_init__(self) -> None:
        # 1 and 1.0 are one setting, and must be one in the run folder's text.
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            if type(setting.default) is float and type(value) is int:
                object.__setattr__(self, setting.name, float(value))


ECHO: Final = (
    "epochs that see the same varied images, whose frozen features are computed once (data echoing: "
    "Choi et al. 2019, arXiv:1907.05550)"
)


@dataclass(frozen=True)
class Stage1(_RecipePart):
    """The first stage: the backbone is frozen, and only the head learns."""

    layers: ClassVar = 0
    full: ClassVar = 0
    epochs: int = _setting(12, "most epochs of stage 1", 0, 1000)
    learning_rate: float = _setting(1e-4, "Adam's step size in stage 1", 0, 1)
    patience: int = _setting(4, "epochs without a better validation loss before stage 1 ends", 1, 1000)
    echo: int = _setting(3, ECHO, 1, 100)


@dataclass(frozen=True)
class Stage2(_RecipePart):
    """The second stage: the backbone's last layers learn too; batch normalisation keeps its statistics."""

    echo: int = _setting(1, ECHO, 1, 100)
    full: int = _setting(
        0, "how many of the last epochs see images of 224 pixels, where those before are smaller", 0, 1000
    )
    epochs: int = _setting(15, "epochs of stage 2, at most where the schedule is plateau", 0, 1000)
    learning_rate: float = _setting(5e-6, "Adam's step size in stage 2 (its peak, where it varies)", 0, 1)
    patience: int = _setting(
        5, "epochs without a better validation loss before the plateau schedule ends stage 2", 1, 1000
    )
    layers: int = _setting(60, "how many of the backbone's last layers are trainable", 0, 154)
    schedule: str = _choice(
        "plateau",
        "plateau: the rate is lowered where the validation loss no longer falls, and the best epoch is kept; "
        "cosine: it falls to zero over exactly these epochs, and the last is kept; "
        "cycles: it follows the same curve once a cycle, from its peak again each time, and the mean of the "
        "weights at the ends of the last cycles is kept",
        "plateau",
        "cosine",
        "cycles",
    )
    cycle: int = _setting(
        3, "epochs of a cycle; the first may be shorter, and with 1 the rate stays", 1, 1000
    )
    averaged: int = _setting(5, "how many of the last cycles' ends are averaged, at most", 1, 1000)
    plateau_patience: int = _setting(
        2, "epochs without a better validation loss before the plateau schedule lowers the rate", 1, 1000
    )
    plateau_factor: float = _setting(0.2, "what the plateau schedule multiplies the rate by", 0, 1)


@dataclass(frozen=True)
class Augmentation(_RecipePart):
    """The variation of training images, each time anew. Probabilities are those of the step being applied."""

    rotation: float = _setting(20.0, "largest rotation, degrees either way", 0, 180)
    zoom_min: float = _setting(0.75, "smallest scale", 0.1, 1)
    zoom_max: float = _setting(1.25, "largest scale", 1, 10)
    shift: float = _setting(0.08, "largest shift, fraction of the width, each way", 0, 1)
    shear: float = _setting(0.10, "largest shear, as tangent", 0, 1)
    brightness_min: float = _setting(0.7, "smallest brightness factor", 0, 1)
    brightness_max: float = _setting(1.3, "largest brightness factor", 1, 10)
    flip: float = _setting(0.5, "probability of mirroring left and right", 0, 1)
    gamma: float = _setting(0.3, "largest gamma exponent, as natural logarithm either way", 0, 3)
    noise: float = _setting(0.0, "largest standard deviation of added noise, grey levels", 0, 255)
    blur: float = _setting(0.0, "largest standard deviation of Gaussian blur, pixels", 0, 20)
    bias_field: float = _setting(0.25, "largest strength of a smooth brightness field, as logarithm", 0, 3)
    tone_curve: float = _setting(0.0, "probability that tissues change contrast by a random tone curve", 0, 1)
    spectrum: float = _setting(
        0.0, "probability that the coarse amplitudes of the spectrum are mixed with another slice's", 0, 1
    )
    strip: float = _setting(0.0, "probability that the rim of the head (skin, skull) is taken away", 0, 1)


@dataclass(frozen=True)
class Counterfactual(_RecipePart):
    """The making of images that did not happen, so that only the lesion can tell a tumour from none."""

    transplant: float = _setting(0.0, "share of healthy images that are given another head's lesion", 0, 1)
    inverted: float = _setting(
        0.0, "share of those lesions whose contrast to the tissue is turned over", 0, 1
    )
    control: float = _setting(0.0, "share of images that are given healthy tissue with the same seam", 0, 1)


@dataclass(frozen=True)
class Recipe(_RecipePart):
    """All settings of a run. The defaults of this class are the preset `classic`."""

    seed: int = _setting(7, "seed of everything random", 0, 2**31 - 1)
    batch: int = _setting(16, "images a step", 1, 4096)
    size: int = _setting(
        224, "pixels each way of the images learned from, a multiple of 32, until the last epochs", 96, 224
    )
    without: str = _setting(
        "", "collections left out of training, by name with commas: thresholds are chosen on them, not on val"
    )
    precision: str = _choice(
        "float32",
        "of the convolutions while training; auto: bfloat16 where the processor has it",
        "float32",
        "bfloat16",
        "auto",
    )
    dense: int = _setting(256, "width of the head's hidden layer", 1, 4096)
    dropout: float = _setting(0.45, "share of the hidden layer dropped in training", 0, 0.95)
    head: str = _choice(
        "gap",
        "gap: global average pooling, then the dense layers; map: and beside them the evidence for a "
        "tumour at each of 14 x 14 places, learned from the boxes: the heatmap",
        "gap",
        "map",
    )
    untyped: str = _choice(
        "drop",
        "tumours of no recorded class: drop them, or learn from them that the slice is not healthy",
        "drop",
        "partial",
    )
    balance: str = _choice(
        "class_weights",
        "class_weights: every image once an epoch, weighted by its class (scikit-learn's 'balanced'); "
        "sources: images are drawn; labels have fixed shares, and within a label a collection's share goes "
        "with the square root of its size",
        "class_weights",
        "sources",
    )
    box_weight: float = _setting(
        0.0, "weight of the loss that holds the map of evidence to the boxes", 0, 100
    )
    place_weight: float = _setting(
        0.0, "weight of the loss that wants the strongest evidence inside a box", 0, 100
    )
    seen_weight: float = _setting(
        0.0,
        "weight of the loss that wants the map by itself to say whether there is a tumour, boxed or not",
        0,
        100,
    )
    blind: str = _choice(
        "keep",
        "sequences in which fewer than half of a collection's boxed tumours show (boxes drawn on another "
        "one): keep: learn their labels; doubt: a slice in which nothing shows is either, by chance",
        "keep",
        "doubt",
    )
    blind_healthy: float = _setting(
        0.25, "how often such a slice is shown as healthy; otherwise it has a tumour", 0, 1
    )
    drawn_outliers: float = _setting(
        0.0, "share of drawn pictures that are no head, for an output that tells them (0: without it)", 0, 0.9
    )
    real_outliers: float = _setting(
        0.0, "share of real pictures that are no slice of a brain, where --outliers gives some", 0, 0.9
    )
    missed_tumors: float = _setting(
        0.01, "the no_tumor threshold is the lowest that misses at most this share of tumours", 0, 1
    )
    false_alarms: float = _setting(
        1.0,
        "the thresholds of the tumours are raised until at most this share of healthy slices is decided one",
        0,
        1,
    )
    no_tumor: float = _setting(
        0.0, "the no_tumor threshold, where a run without a collection has chosen it on it (0: chosen)", 0, 1
    )
    stage1: Stage1 = field(default_factory=Stage1)
    stage2: Stage2 = field(default_factory=Stage2)
    augmentation: Augmentation = field(default_factory=Augmentation)
    counterfactual: Counterfactual = field(default_factory=Counterfactual)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, setting, value in settings(self):
            _check(name, setting, value)
        if self.size % 32:
            raise RecipeError(f"size: expected a multiple of 32, got {self.size}")
        for name in ("box_weight", "place_weight", "seen_weight"):
            if getattr(self, name) and self.head != "map":
                raise RecipeError(
                    f"{name} needs head = 'map', which says where the evidence is; or set {name} = 0"
                )

    @property
    def tells_outliers(self) -> bool:
        """True where the network has an output that says if a picture is a slice of a brain."""
        return self.drawn_outliers + self.real_outliers > 0

    def override(self, changes: Mapping[str, object]) -> Recipe:
        """Returns a copy with some settings changed, given by dotted name, such as `{"stage2.epochs": 3}`.

        Raises:
            RecipeError: for an unknown name, a wrong type or a value out of range.
        """
        known = {name for name, _, _ in settings(self)}
        nested: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            if name not in known:
                raise RecipeError(f"unknown setting {name!r}; expected one of: {', '.join(sorted(known))}")
            part, _, leaf = name.rpartition(".")
            nested.setdefault(part, {})[leaf] = value
        parts = {
            part: dataclasses.replace(getattr(self, part), **leaves)
            for part, leaves in nested.items()
            if part
        }
        return dataclasses.replace(self, **nested.get("", {}), **parts)

    def changes(self, preset: Recipe) -> dict[str, object]:
        """Returns the settings, by dotted name, whose values differ from a preset's."""
        theirs = {name: value for name, _, value in settings(preset)}
        return {name: value for name, _, value in settings(self) if value != theirs[name]}

    def to_toml(self) -> str:
        """Returns the recipe as a TOML document that `read_toml` reads."""
        sections: dict[str, list[str]] = {}
        for name, _, value in settings(self):
            part, _, leaf = name.rpartition(".")
            text = f'"{value}"' if isinstance(value, str) else repr(value)
            sections.setdefault(part, []).append(f"{leaf} = {text}")
        heads = {part: [f"[{part}]"] if part else [] for part in sections}
        return "\n\n".join("\n".join(heads[part] + lines) for part, lines in sections.items()) + "\n"


def settings(recipe: Recipe) -> Iterator[tuple[str, dataclasses.Field[object], object]]:
    """Gives every setting as its dotted name, its field and its value, in order."""
    for outer in dataclasses.fields(recipe):
        value = getattr(recipe, outer.name)
        if dataclasses.is_dataclass(value):
            for inner in dataclasses.fields(value):
                yield f"{outer.name}.{inner.name}", inner, getattr(value, inner.name)
        else:
            yield outer.name, outer, value


def read_toml(path: Path) -> dict[str, object]:
    """Reads the settings in a TOML file, by dotted name."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: expected a TOML file with settings of a recipe: {error}") from error
    flat: dict[str, object] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{leaf}": inner for leaf, inner in value.items()})
        else:
            flat[name] = value
    return flat


def _check(name: str, setting: dataclasses.Field[object], value: object) -> None:
    if setting.default is dataclasses.MISSING:  # a part: those of the right class are taken apart
        raise RecipeError(f"{name}: expected settings of {name}, got {value!r}")
    expected = type(setting.default)
    if type(value) is not expected:
        raise RecipeError(f"{name}: expected {expected.__name__}, got {value!r}")
    choices = setting.metadata.get("choices")
    if choices and value not in choices:
        raise RecipeError(f"{name}: expected one of {', '.join(choices)}; got {value!r}")
    low, high = setting.metadata.get("low"), setting.metadata.get("high")
    if isinstance(value, int | float) and low is not None and high is not None and not low <= value <= high:
        raise RecipeError(f"{name}: expected a value from {low} to {high}, got {value!r}")


CLASSIC: Final = Recipe()

DEFAULT: Final = Recipe(
    batch=32,
    size=160,
    precision="auto",
    head="map",
    untyped="partial",
    balance="sources",
    box_weight=3.0,
    place_weight=0.3,
    seen_weight=0.2,
    blind="doubt",
    drawn_outliers=0.04,
    real_outliers=0.08,
    missed_tumors=0.01,
    false_alarms=0.02,
    stage1=Stage1(epochs=4, learning_rate=1e-3, echo=4),
    stage2=Stage2(
        epochs=48, full=12, learning_rate=1e-4, layers=100, schedule="cycles", cycle=1, averaged=12
    ),
    augmentation=Augmentation(
        gamma=0.5, noise=8.0, blur=1.2, bias_field=0.4, tone_curve=0.15, spectrum=0.2, strip=0.15
    ),
    counterfactual=Counterfactual(transplant=0.25, inverted=0.3, control=0.2),
)

OWN: Final = dataclasses.replace(
    DEFAULT,
    size=224,
    batch=16,
    real_outliers=0.0,
    stage1=Stage1(epochs=6, learning_rate=1e-4, echo=2),
    stage2=Stage2(epochs=8, learning_rate=3e-5, layers=60, schedule="cosine", echo=2),
)

PRESETS: Final[Mapping[str, Recipe]] = {"default": DEFAULT, "classic": CLASSIC, "own": OWN}
