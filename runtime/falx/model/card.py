"""The card: what a model file says about itself, and proof that it is the file that was written.

One JSON document, the same in both formats. In TFLite it is `falx.json` in a zip appended to the
flatbuffer, beside the labels and thresholds once more as the TFLite metadata standard has them
(`labels.txt`, `score_calibration.txt`); in ONNX it is the metadata property `falx`. Only the standard
library is needed to read or write either.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from types import UnionType
from typing import Any, Final, TypeAlias

from falx.decision import Thresholds
from falx.errors import CardError, ChecksumError, ThresholdError
from falx.model.attachment import Format
from falx.model.tensor_spec import IMAGE, OUTPUTS, TensorSpec, check_own_tensors, check_tensors
from falx.slices.limits import Limits
from falx.words import DISCLAIMER, LABELS

__all__ = ["OUTPUTS", "PREPROCESSING", "SCHEMA", "Card", "Format", "SelfTest", "Setting", "TensorSpec"]


JsonObject: TypeAlias = Mapping[str, Any]
"""An object of JSON; its values are looked at before they are used."""

SCHEMA: Final = 2
"""The version of the card's schema; it changes with any change to the fields."""

PREPROCESSING: Final = {"name": "falx-head-1", "height": 224, "width": 224}
"""The one preprocessing this version of Falx knows (`falx.slices.preprocessing`)."""

SHA256: Final = re.compile("(|[0-9a-f]{64})")

KINDS: Final[Mapping[str, tuple[type | UnionType, str]]] = {
    "thresholds": (Thresholds, "falx.Thresholds"),
    "rejection": (Limits, "falx.slices.limits.Limits"),
    "temperature": (int | float, "a number above 0"),
    "self_contained": (bool, "true or false"),
    "metrics": (Mapping, "an object"),
    "provenance": (Mapping, "an object"),
    "weights_sha256": (str, "64 lower-case hexadecimal digits"),
}
"""The types of fields, and what a message calls them."""

QUANTIZATIONS: Final = ("int8", "float16", "float32")


@dataclass(frozen=True, slots=True)
class SelfTest:
    """A drawn phantom of `falx.phantom.PHANTOMS`, and the probabilities this very file answers for it."""

    phantom: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """The setting of a file before `falx retarget` made another of it."""

    thresholds: Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The card of a model file: all that the file says about itself.

    Attributes:
        name, version: of the model.
        license: SPDX identifier or a sentence.
        intended_use: what it is for and what not, in sentences.
        thresholds: the least probability of each label.
        temperature: what the log-odds of a tumour were divided by; already inside the graph.
        metrics: measured quality and what it was measured on; free JSON.
        provenance: trainer, preset, seed, data fingerprint, sources; free JSON.
        quantization: `format` (int8, float16, float32) and `scheme` (a sentence).
        disclaimer: shown wherever a result is.
        labels: in the order of the probabilities; always `falx.words.LABELS`.
        input: the graph's input.
        outputs: `probabilities`, and `heatmap`, `familiarity` and `no_brain` where the model has them
            (`OUTPUTS`).
        preprocessing: its name, height and width.
        rejection: parameters of the rejection checks.
        self_test: phantoms and what this file answers for them; `falx check` compares.
        history: earlier settings of the same model, the oldest first.
        self_contained: whether preparation and decision are in the graph, for programs without Falx;
            `input` and `outputs` are then whatever that graph has.
        weights_sha256: of the file without the card; `embed` fills it in.

    Raises:
        CardError: a field is not what it must be; the message names it.
    """

    # In the order in which they stand in a file, which is proved byte for byte.
    schema: int = SCHEMA
    name: str
    version: str
    license: str
    intended_use: str
    disclaimer: str = DISCLAIMER
    labels: tuple[str, ...] = LABELS
    input: TensorSpec = IMAGE
    outputs: Mapping[str, TensorSpec] = field(
        default_factory=lambda: {"probabilities": TensorSpec("probabilities", "float32", (1, 4))}
    )
    preprocessing: JsonObject = field(default_factory=lambda: dict(PREPROCESSING))
    thresholds: Thresholds
    temperature: float
    rejection: Limits = field(default_factory=Limits)
    metrics: JsonObject
    provenance: JsonObject
    quantization: Mapping[str, str]
    self_test: tuple[SelfTest, ...] = ()
    history: tuple[Setting, ...] = ()
    self_contained: bool = False
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        _same("schema", self.schema, SCHEMA, "use the version of Falx that wrote it")
        for name in ("name", "version", "license", "intended_use", "disclaimer"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise _wrong(name, "a text that is not empty", value)
        _same("labels", self.labels, LABELS, "export the model again with its outputs in this order")
        for name, (kind, expected) in KINDS.items():
            value = getattr(self, name)
            # True is an int to Python.
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise _wrong(name, expected, value)
        # As text: an integer of JSON may be too large for a float.
        if not 0 < float(str(self.temperature)) < math.inf:
            raise _wrong("temperature", "a number above 0", self.temperature)
        _same(
            "preprocessing", dict(self.preprocessing), PREPROCESSING, "use a Falx that has this preprocessing"
        )
        (check_own_tensors if self.self_contained else check_tensors)(self.input, self.outputs)
        _check_quantization(self.quantization)
        for test in self.self_test:
            _check_self_test(test)
        for setting in self.history:
            if not isinstance(setting, Setting):
                raise _wrong("history", "earlier settings with their thresholds", setting)
        if not SHA256.fullmatch(self.weights_sha256):
            raise _wrong("weights_sha256", "64 lower-case hexadecimal digits", self.weights_sha256)
        try:
            # What JSON cannot hold (NaN, arrays) is refused here, not when a file is written.
            self.to_json()
        except (TypeError, ValueError) as error:
            raise CardError(f"card: metrics and provenance must be plain JSON: {error}") from error

    def __hash__(self) -> int:
        return hash(self.to_json())

    @property
    def has_heatmap(self) -> bool:
        """True where the model says where the tumour is."""
        return "heatmap" in self.outputs

    @property
    def has_familiarity(self) -> bool:
        """True where the model says how far a picture looks like those it learned from."""
        return "familiarity" in self.outputs

    def to_dict(self) -> dict[str, Any]:
        """Returns the card as plain JSON values, checksum of the card included."""
        document: dict[str, Any] = json.loads(self.to_json())
        return document

    def to_json(self) -> str:
        """Returns the card as it stands in a model file; equal cards give equal text."""
        body = {one.name: getattr(self, one.name) for one in fields(self)}
        return _dumped({**body, "card_sha256": _checksum(body)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Card:
        """Reads a card.

        Raises:
            CardError: the text is not JSON, is not a card of Falx, or a field is wrong.
            ChecksumError: the card was changed after it was written.
        """
        try:
            document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise CardError(f"card: expected JSON, got text that is not: {error}") from error
        if not isinstance(document, dict) or "card_sha256" not in document or "labels" not in document:
            raise CardError("card: this JSON is not a card of Falx (it lacks card_sha256 or labels)")
        checksum = document.pop("card_sha256")
        # Before the checksum: a card of another schema deserves its own message.
        _same("schema", document.get("schema"), SCHEMA, "use the version of Falx that wrote it")
        _check_names(document)
        card = cls(**{**document, **{name: _parse(name, document[name]) for name in PARSERS}})
        if checksum != _checksum(document):
            raise ChecksumError(
                f"card: card_sha256 is {checksum!r}, but the card's content has {_checksum(document)!r}; "
                "it was changed after it was written: get the file again, or export the model again"
            )
        return card


def _parse(name: str, value: object) -> object:
    try:
        return PARSERS[name](value)
    except ThresholdError as error:
        raise CardError(f"card: {error}") from error
    # OverflowError: an integer of JSON that is too large for a float.
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise CardError(f"card: {name} is not what it must be: {error} (got {_short(value)})") from error


def _setting(value: JsonObject) -> Setting:
    if set(value) != {"thresholds"}:
        raise ValueError("expected thresholds")
    return Setting(Thresholds.from_mapping(value["thresholds"]))


PARSERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "labels": tuple,
    "input": TensorSpec.from_mapping,
    "outputs": lambda value: {name: TensorSpec.from_mapping(spec) for name, spec in value.items()},
    "preprocessing": dict,
    "thresholds": Thresholds.from_mapping,
    "rejection": Limits.from_mapping,
    "quantization": dict,
    "self_test": lambda value: tuple(SelfTest(t["phantom"], tuple(t["probabilities"])) for t in value),
    "history": lambda value: tuple(map(_setting, value)),
}
"""The functions that make what a card holds of its JSON values; other fields are JSON values themselves."""


def _check_names(document: JsonObject) -> None:
    known = {f.name for f in fields(Card)}
    missing, unknown = sorted(known - set(document)), sorted(set(document) - known)
    if missing:
        raise CardError(f"card: lacks {', '.join(missing)}; export the model again")
    if unknown:
        # A damaged name may hold anything, line breaks too.
        names = ", ".join(map(_short, unknown[:3])) + (" and more" if len(unknown) > 3 else "")
        raise CardError(f"card: has {names}, which schema {SCHEMA} does not know")


def _check_quantization(value: object) -> None:
    if not isinstance(value, Mapping) or set(value) != {"format", "scheme"}:
        raise _wrong("quantization", "format and scheme", value)
    if value["format"] not in QUANTIZATIONS:
        raise _wrong("quantization.format", f"one of {', '.join(QUANTIZATIONS)}", value["format"])
    if not isinstance(value["scheme"], str):
        raise _wrong("quantization.scheme", "a text", value["scheme"])


def _check_self_test(test: object) -> None:
    phantom: object = test.phantom if isinstance(test, SelfTest) else None
    if not isinstance(test, SelfTest) or not isinstance(phantom, str):
        raise _wrong("self_test", "phantoms with their probabilities", test)
    values: tuple[object, ...] = test.probabilities
    if len(values) != len(LABELS) or not all(isinstance(p, int | float) and 0 <= p <= 1 for p in values):
        raise _wrong("self_test", f"{len(LABELS)} probabilities in 0..1", values)


def _same(name: str, got: object, expected: object, remedy: str) -> None:
    if got != expected or type(got) is not type(expected):
        raise CardError(f"card: {name} must be {_short(expected)}, got {_short(got)}; {remedy}")


def _wrong(name: str, expected: str, got: object) -> CardError:
    return CardError(f"card: {name} must be {expected}, got {_short(got)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _checksum(body: JsonObject) -> str:
    """Returns the SHA-256 of the card in canonical JSON, without the field that holds it."""
    return hashlib.sha256(_dumped(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


_dumped = partial(
    json.dumps,
    default=lambda part: dict(part) if isinstance(part, Mapping) else asdict(part),
    ensure_ascii=False,
    allow_nan=False,
)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document
