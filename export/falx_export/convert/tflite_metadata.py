"""The standard TFLite Metadata of a graph: what tools that know nothing of Falx read in it.

A flatbuffer of its own (`metadata_schema.fbs`, identifier M001) in the graph's entry TFLITE_METADATA. It
says what goes in and what comes out, and names the files in the zip behind the graph: the labels, and the
thresholds. https://ai.google.dev/edge/litert/conversion/tensorflow/metadata

The standard knows one threshold for all labels. Ours differ, so that they stand in its score calibration:
each label's probability is kept (the logistic function of its inverse) from its threshold on, and is 0
below. The one threshold then drops what is 0. So a reader gets the decided label, or none where Falx says
`ambiguous`; and `falx retarget` has only that file to change.

MediaPipe keeps the standard now. Its own writer cannot be imported in 1.2 (`mediapipe.tasks.cc` is missing),
and knows neither version nor license; so the tables are laid out here, and MediaPipe reads them in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import flatbuffers  # type: ignore[import-untyped]

from falx.model.attachment import CALIBRATION_FILE, CARD_FILE, LABELS_FILE
from falx.model.card import Card
from falx.model.tensor_spec import TensorSpec
from falx.words import DECISIONS
from falx_export.convert import flatbuffer
from falx_export.errors import ConversionError

ENTRY: Final = "TFLITE_METADATA"
IDENTIFIER: Final = b"M001"
PARSER_VERSION: Final = "1.0.0"
"""The oldest version of the schema that has all that is used here; a list of what each brought stands at
the top of the schema."""

LEAST_SCORE: Final = 0.001
"""Drops the scores that the calibration made 0. Not above any threshold that is of use."""

SCHEMA: Final = {
    "AssociatedFile": ("name", "description", "type"),
    "Content": ("content_properties_type", "content_properties"),
    "FeatureProperties": (),
    "ImageProperties": ("color_space", "default_size"),
    "ImageSize": ("width", "height"),
    "ModelMetadata": (
        *("name", "description", "version", "subgraph_metadata", "author", "license", "associated_files"),
        "min_parser_version",
    ),
    "NormalizationOptions": ("mean", "std"),
    "ProcessUnit": ("options_type", "options"),
    "ScoreCalibrationOptions": ("score_transformation", "default_score"),
    "ScoreThresholdingOptions": ("global_score_threshold",),
    "Stats": ("max", "min"),
    "SubGraphMetadata": ("name", "description", "input_tensor_metadata", "output_tensor_metadata"),
    "TensorMetadata": (
        *("name", "description", "dimension_names", "content", "process_units", "stats", "associated_files"),
    ),
}
"""The tables that are used here, with their fields in the order of `metadata_schema.fbs`."""

SCALARS: Final = {
    "type": "Int8",
    "color_space": "Int8",
    "score_transformation": "Int8",
    "content_properties_type": "Uint8",
    "options_type": "Uint8",
    "width": "Uint32",
    "height": "Uint32",
    "default_score": "Float32",
    "global_score_threshold": "Float32",
}
"""The type of each field that is a number."""

# Of the enumerations and unions of the schema.
GRAYSCALE, RGB = 2, 1
UNKNOWN, TENSOR_AXIS_LABELS, TENSOR_AXIS_SCORE_CALIBRATION = 0, 2, 4
INVERSE_LOGISTIC = 2
CONTENTS: Final = {"FeatureProperties": 1, "ImageProperties": 2}
UNITS: Final = {"NormalizationOptions": 1, "ScoreCalibrationOptions": 2, "ScoreThresholdingOptions": 3}

Reference: TypeAlias = "str | SchemaTable | Sequence[SchemaTable | float]"
"""A value that lies outside the table that refers to it."""

FieldValue: TypeAlias = "Reference | float"


class SchemaTable(NamedTuple):
    """A table of the schema: its name in `SCHEMA`, and its fields; those left out have their defaults."""

    name: str
    fields: Mapping[str, FieldValue]


DESCRIPTIONS: Final = {
    "probabilities": "The probability, 0..1, of each label; their sum is 1.",
    "heatmap": "By rows, the probability, 0..1, that the tumour is in that part of the image.",
    "familiarity": "The probability, 0..1, that the image is a slice of a brain like those learned from.",
    "no_brain": "The probability, 0..1, that the image is of a head, but shows no brain.",
    "decision": "One of "
    + ", ".join(f"{index} {word}" for index, word in enumerate(DECISIONS))
    + ". Thresholds are in the graph.",
    "confidence": "The probability, 0..1, of the decided label; 0 where none is decided.",
}
_RANGES: Final = {"decision": (0, len(DECISIONS) - 1)}
"""The least and the greatest value of an output, where they are not 0 and 1."""


def described(payload: bytes, card: Card) -> bytes:
    """Returns a graph with its metadata, for the card and files that `embed` puts behind it."""
    document = flatbuffer.parsed(payload)
    graph = document.subgraphs[0]
    ends = [list(flatbuffer.named(document, indices)) for indices in (graph.inputs, graph.outputs)]
    expected = [[card.input.name], list(card.outputs)]
    if ends != expected:
        raise ConversionError(f"the TFLite graph has inputs and outputs {ends}, its card {expected}")
    part: dict[str, FieldValue] = {
        "input_tensor_metadata": [_image(card.input)],
        "output_tensor_metadata": [_output(name) for name in card.outputs],
    }
    model: dict[str, FieldValue] = {
        "name": card.name,
        "description": f"{card.intended_use} {card.disclaimer}",
        "version": card.version,
        "subgraph_metadata": [SchemaTable("SubGraphMetadata", part)],
        "license": card.license,
        "associated_files": [_file(CARD_FILE, "The card of Falx: all that is known of the model.", UNKNOWN)],
        "min_parser_version": PARSER_VERSION,
    }
    builder = flatbuffers.Builder(1024)
    builder.Finish(_packed(builder, SchemaTable("ModelMetadata", model)), IDENTIFIER)
    flatbuffer.add_metadata(document, ENTRY, bytes(builder.Output()))
    return flatbuffer.packed(document)


def _packed(builder: flatbuffers.Builder, value: Reference) -> int:
    """Writes a table, a vector or a string, what it refers to first; returns its offset in the buffer."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, SchemaTable):
        # What a table refers to lies outside it, and comes before it.
        laid = {
            name: _packed(builder, field)
            for name, field in value.fields.items()
            if not isinstance(field, int | float)
        }
        builder.StartObject(len(SCHEMA[value.name]))
        for slot, name in enumerate(SCHEMA[value.name]):
            if name in laid:
                builder.PrependUOffsetTRelativeSlot(slot, laid[name], 0)
            elif name in value.fields:
                getattr(builder, f"Prepend{SCALARS[name]}Slot")(slot, value.fields[name], 0)
        return int(builder.EndObject())
    offsets = [_packed(builder, item) if isinstance(item, SchemaTable) else item for item in value]
    builder.StartVector(4, len(offsets), 4)
    for offset, item in zip(reversed(offsets), reversed(value), strict=True):
        (builder.PrependUOffsetTRelative if isinstance(item, SchemaTable) else builder.PrependFloat32)(offset)
    return int(builder.EndVector())


def _image(spec: TensorSpec) -> SchemaTable:
    _, height, width, channels = spec.shape
    grey = channels == 1
    size = SchemaTable("ImageSize", {"width": width, "height": height})
    # The graph takes grey levels as they are.
    normalization = SchemaTable("NormalizationOptions", {"mean": [0.0], "std": [1.0]})
    return _tensor(
        spec.name,
        "A slice of a head as `falx.slices.preprocessing` prepares it: grey levels, 0 black to 255 white"
        + ("." if grey else ", the same in every channel."),
        (0, 255),
        SchemaTable("ImageProperties", {"color_space": GRAYSCALE if grey else RGB, "default_size": size}),
        {"process_units": [_unit(normalization)]},
    )


def _output(name: str) -> SchemaTable:
    content = SchemaTable("FeatureProperties", {})
    rest: Mapping[str, FieldValue] = {}
    if name == "probabilities":
        calibration = {"score_transformation": INVERSE_LOGISTIC, "default_score": 0.0}
        least = {"global_score_threshold": LEAST_SCORE}
        rest = {
            "process_units": [
                _unit(SchemaTable("ScoreCalibrationOptions", calibration)),
                _unit(SchemaTable("ScoreThresholdingOptions", least)),
            ],
            "associated_files": [
                _file(LABELS_FILE, "A label a line, in the order of the probabilities.", TENSOR_AXIS_LABELS),
                _file(
                    CALIBRATION_FILE,
                    "A line a label; its last value is the label's threshold, the others change no "
                    "probability.",
                    TENSOR_AXIS_SCORE_CALIBRATION,
                ),
            ],
        }
    return _tensor(name, DESCRIPTIONS[name], _RANGES.get(name, (0, 1)), content, rest)


def _tensor(
    name: str,
    description: str,
    ends: tuple[int, int],
    properties: SchemaTable,
    rest: Mapping[str, FieldValue],
) -> SchemaTable:
    kind = CONTENTS[properties.name]
    stats = {"max": [float(ends[1])], "min": [float(ends[0])]}
    fields: dict[str, FieldValue] = {
        "name": name,
        "description": description,
        "content": SchemaTable(
            "Content", {"content_properties_type": kind, "content_properties": properties}
        ),
        "stats": SchemaTable("Stats", stats),
        **rest,
    }
    return SchemaTable(
        "TensorMetadata", {key: fields[key] for key in SCHEMA["TensorMetadata"] if key in fields}
    )


def _unit(options: SchemaTable) -> SchemaTable:
    return SchemaTable("ProcessUnit", {"options_type": UNITS[options.name], "options": options})


def _file(name: str, description: str, kind: int) -> SchemaTable:
    return SchemaTable("AssociatedFile", {"name": name, "description": description, "type": kind})
