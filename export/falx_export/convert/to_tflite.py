"""Converts to TFLite: in float16, and in int8 with the stem and the head in float.

docs/quantization.md says how int8 came about, and what each part of it brings.

ai-edge-quantizer, which also takes recipes by layer, crashed while calibrating (0.10 with LiteRT 2.3);
the converter's own quantizer takes a list of nodes to leave out and needs nothing more installed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize

from falx_export.convert import flatbuffer
from falx_export.convert.graph import INPUT, output_shapes, readable, serving, unused
from falx_export.convert.operations import Operation, left_in_float
from falx_export.convert.rounding import STEM_CONVOLUTIONS
from falx_export.errors import ConversionError, converting
from falx_runs.silence import progress, silenced

QUANTIZED_OPS: Final = frozenset({"ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN", "PAD"})
"""The operations of the backbone and of the head's first layer; nothing else is quantized."""

FORBIDDEN: Final = ("CUSTOM", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE")
"""Flex operations are custom operations."""


def float16(model: keras.Model) -> bytes:
    """Converts a model with its weights in float16: half the size, computed in float32 on a CPU."""
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return _finished(flatbuffer.parsed(_quietly(converter.convert)), model)


def int8(model: keras.Model, slices: npt.NDArray[np.uint8]) -> bytes:
    """Converts a model to int8, per channel, with the stem and the head in float.

    For the best result its weights are rounded already (`falx_export.convert.rounding`). Ranges of
    activations are taken from the slices, `(N, 224, 224, 1)`.
    """
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]

    def calibration() -> Iterator[list[npt.NDArray[np.uint8]]]:
        for image in progress(slices, "Calibrate TFLite"):
            yield [image[np.newaxis]]

    converter.representative_dataset = calibration
    # The public QuantizationDebugger does these same two steps, but wants the names of the nodes first.
    converter._experimental_calibrate_only = True
    calibrated = _quietly(converter.convert)
    quantize = functools.partial(
        mlir_quantize,
        calibrated,
        input_data_type=tf.float32,
        output_data_type=tf.float32,
        denylisted_nodes=_denied(flatbuffer.parsed(calibrated)),
    )
    quantized = flatbuffer.parsed(_quietly(quantize))
    flatbuffer.without_detours(quantized)
    return _finished(quantized, model)


def _converter(model: keras.Model) -> tf.lite.TFLiteConverter:
    function = serving(model)
    concrete = function.get_concrete_function()  # type: ignore[attr-defined] # TensorFlow has no types
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], function)


def _denied(document: flatbuffer.TfliteGraph) -> list[str]:
    """Returns the nodes that the quantizer must leave alone, by the name of their first output."""
    graph = document.subgraphs[0]
    operations = [
        Operation(kind, tuple(int(x) for x in operator.inputs), tuple(int(x) for x in operator.outputs))
        for kind, operator in zip(flatbuffer.kinds(document), graph.operators, strict=True)
    ]
    in_float = left_in_float(operations, graph.outputs, STEM_CONVOLUTIONS)
    return [
        graph.tensors[operation.outputs[0]].name.decode()
        for index, operation in enumerate(operations)
        if index in in_float or operation.kind not in QUANTIZED_OPS
    ]


def _finished(document: flatbuffer.TfliteGraph, model: keras.Model) -> bytes:
    """Checks a converted graph, gives it its names, and returns its bytes."""
    bad = sorted({kind for kind in flatbuffer.kinds(document) if kind.startswith(FORBIDDEN)})
    if bad:
        raise ConversionError(f"the TFLite graph holds {', '.join(bad)}, which not every engine runs")
    graph = document.subgraphs[0]
    shapes = output_shapes(model)
    # TensorFlow sorts a function's outputs by their names, and the converter loses these.
    found = [tuple(int(x) for x in graph.tensors[index].shape) for index in graph.outputs]
    if found != [shapes[name] for name in sorted(shapes)]:
        raise ConversionError(
            f"the TFLite graph has outputs {found}, expected {shapes} in alphabetical order"
        )
    places = dict(zip(sorted(shapes), graph.outputs, strict=True))
    graph.outputs = [places[name] for name in shapes]
    ends = {graph.inputs[0]: INPUT, **dict(zip(graph.outputs, shapes, strict=True))}
    taken = set(ends.values())
    for index, tensor in enumerate(graph.tensors):
        tensor.name = (ends.get(index) or unused(readable(tensor.name.decode()), taken)).encode()
    graph.name = "falx"
    document.description = "Falx"
    flatbuffer.sign(document)
    return flatbuffer.packed(document)


def _quietly(convert: Callable[[], bytes]) -> bytes:
    """Calls a converter without what its C++ writes to standard error."""
    with silenced(), converting("TensorFlow"):
        return bytes(convert())
