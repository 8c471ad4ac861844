"""The standard TFLite Metadata of a graph: what tools that know nothing of Falx read in it.

A flatbuffer of its own (`metadata_schema.fbs`, identifier M001) in the graph's entry TFLITE_METADATA. It
says what goes in and what comes out, and names the files in the zip behind the graph: the labels, and the
thresholds. https://ai.google.dev/edge/litert/conversion/tensorflow/metadata

The standard knows one threshold for all labels. Ours differ, so that they stand in its score calibration:
each label's probability is kept (the logistic function of its inverse) from its threshold on, and is 0
below. The one threshold then drops what is 0. So a reader gets the decided label, or none where Falx says
`ambiguous`; and `falx retarget` has only that file to change.

The classes are generated from the schema and come with MediaPipe, which keeps the standard now; its own
writer cannot be imported in 1.2 (it lacks `mediapipe.tasks.cc`), and knows neither version nor license.
"""

from __future__ import annotations

from typing import Any, Final

import flatbuffers  # type: ignore[import-untyped]
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

from falx.card import Card
from falx.container import CALIBRATION_FILE, CARD_FILE, LABELS_FILE
from falx.tensors import TensorSpec
from falx.words import DECISIONS
from falx_export.convert import flatbuffer
from falx_export.errors import ConversionError

__all__ = ["described"]

ENTRY: Final = "TFLITE_METADATA"
IDENTIFIER: Final = b"M001"
PARSER_VERSION: Final = "1.0.0"
"""The oldest version of the schema that has all that is used here; a list of what each brought stands at
the top of the schema."""

LEAST_SCORE: Final = 0.001
"""Drops the scores that the calibration made 0. Not above any threshold that is of use."""

DESCRIPTIONS: Final = {
    "probabilities": "The probability, 0..1, of each label; their sum is 1.",
    "heatmap": "By rows, the probability, 0..1, that the tumour is in that part of the image.",
    "familiarity": "The probability, 0..1, that the image is a slice of a brain like those learned from.",
    "decision": "One of "
    + ", ".join(f"{index} {word}" for index, word in enumerate(DECISIONS))
    + ". Thresholds are in the graph.",
    "confidence": "The probability, 0..1, of the decided label; 0 where none is decided.",
}
_RANGES: Final = {"decision": (0, len(DECISIONS) - 1)}
"""The least and the greatest value of an output, where they are not 0 and 1."""


def described(payload: bytes, card: Card) -> bytes:
    """A graph with its metadata.

    Args:
        payload: a TFLite graph without a card.
        card: that it will get (`falx.card.embed`), which puts the files behind it that are named here.

    Raises:
        ConversionError: the graph's input or outputs are not those of the card.
    """
    document = flatbuffer.parsed(payload)
    graph = document.subgraphs[0]
    ends = [list(flatbuffer.named(document, indices)) for indices in (graph.inputs, graph.outputs)]
    expected = [[card.input.name], list(card.outputs)]
    if ends != expected:
        raise ConversionError(f"the TFLite graph has inputs and outputs {ends}, its card {expected}")
    part = schema.SubGraphMetadataT()
    part.inputTensorMetadata = [_image(card.input)]
    part.outputTensorMetadata = [_output(name) for name in card.outputs]
    model = schema.ModelMetadataT()
    model.name, model.version, model.license = card.name, card.version, card.license
    model.description = f"{card.intended_use} {card.disclaimer}"
    model.minParserVersion = PARSER_VERSION
    model.subgraphMetadata = [part]
    model.associatedFiles = [
        _file(
            CARD_FILE, "The card of Falx: all that is known of the model.", schema.AssociatedFileType.UNKNOWN
        )
    ]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    flatbuffer.add_metadata(document, ENTRY, bytes(builder.Output()))
    return flatbuffer.packed(document)


def _image(spec: TensorSpec) -> Any:
    _, height, width, channels = spec.shape
    properties = schema.ImagePropertiesT()
    properties.colorSpace = schema.ColorSpaceType.GRAYSCALE if channels == 1 else schema.ColorSpaceType.RGB
    properties.defaultSize = schema.ImageSizeT()
    properties.defaultSize.height, properties.defaultSize.width = height, width
    options = schema.NormalizationOptionsT()
    # The graph takes grey levels as they are.
    options.mean, options.std = [0.0], [1.0]
    image = _tensor(
        spec.name,
        "A slice of a head as `falx.preprocessing` prepares it: grey levels, 0 black to 255 white"
        + ("." if channels == 1 else ", the same in every channel."),
        (0, 255),
    )
    image.content = _content(schema.ContentProperties.ImageProperties, properties)
    image.processUnits = [_unit(schema.ProcessUnitOptions.NormalizationOptions, options)]
    return image


def _output(name: str) -> Any:
    output = _tensor(name, DESCRIPTIONS[name], _RANGES.get(name, (0, 1)))
    output.content = _content(schema.ContentProperties.FeatureProperties, schema.FeaturePropertiesT())
    if name != "probabilities":
        return output
    kinds = schema.AssociatedFileType
    output.associatedFiles = [
        _file(LABELS_FILE, "A label a line, in the order of the probabilities.", kinds.TENSOR_AXIS_LABELS),
        _file(
            CALIBRATION_FILE,
            "A line a label; its last value is the label's threshold, the others change no probability.",
            kinds.TENSOR_AXIS_SCORE_CALIBRATION,
        ),
    ]
    calibration = schema.ScoreCalibrationOptionsT()
    calibration.scoreTransformation = schema.ScoreTransformationType.INVERSE_LOGISTIC
    calibration.defaultScore = 0.0
    thresholding = schema.ScoreThresholdingOptionsT()
    thresholding.globalScoreThreshold = LEAST_SCORE
    output.processUnits = [
        _unit(schema.ProcessUnitOptions.ScoreCalibrationOptions, calibration),
        _unit(schema.ProcessUnitOptions.ScoreThresholdingOptions, thresholding),
    ]
    return output


def _tensor(name: str, description: str, ends: tuple[int, int]) -> Any:
    tensor = schema.TensorMetadataT()
    tensor.name, tensor.description = name, description
    tensor.stats = schema.StatsT()
    tensor.stats.min, tensor.stats.max = [float(ends[0])], [float(ends[1])]
    return tensor


def _content(kind: int, properties: Any) -> Any:
    content = schema.ContentT()
    content.contentPropertiesType, content.contentProperties = kind, properties
    return content


def _unit(kind: int, options: Any) -> Any:
    unit = schema.ProcessUnitT()
    unit.optionsType, unit.options = kind, options
    return unit


def _file(name: str, description: str, kind: int) -> Any:
    file = schema.AssociatedFileT()
    file.name, file.description, file.type = name, description, kind
    return file
