"""Converts to ONNX: in float32, and in int8 (static, per channel, QDQ) with the stem and the head in float.

Activations are uint8 and weights int8: the pair that ONNX Runtime has its fastest kernels for on x86.
Processors with VNNI sum its products exactly; on older ones the kernels add pairs of products in 16
bits, which would saturate where both are near their ends. So weights have 64 steps either way in place of
127 (`reduce_range`): no sum of two products saturates, and processors differ only in how they
round between steps (docs/quantization.md, Processors, says what either costs).
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Final

import keras
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]
import tf2onnx  # type: ignore[import-untyped]
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from tf2onnx.optimizer import _get_optimizers  # type: ignore[import-untyped]

from falx.model.tensor_spec import OUTPUTS
from falx_export.convert.graph import INPUT, output_shapes, readable, serving, unused
from falx_export.convert.onnx_format import IR_VERSION, OPSET, prove
from falx_export.convert.operations import Operation, left_in_float
from falx_export.convert.rounding import STEM_CONVOLUTIONS
from falx_export.errors import ConversionError, converting
from falx_runs.silence import progress

STEPS: Final = 64
"""Between 0 and a channel's largest weight: 2 · 255 · 64 is below 2^15, 2 · 255 · 65 is not."""

_NUMBER: Final = re.compile(r"__\d+(?=$|[:/])")
"""The number that tf2onnx appends to names to tell them apart."""

# Of equal nodes it leaves one, in each process another. ONNX Runtime leaves the first.
_get_optimizers().pop("merge_duplication")


def float32(model: keras.Model) -> bytes:
    """Converts a model in float32."""
    return _serialized(_converted(model))


def int8(model: keras.Model, slices: npt.NDArray[np.uint8]) -> bytes:
    """Converts a model to int8 with the stem and the head in float.

    For the best result its weights are rounded to `STEPS` (`falx_export.convert.rounding`). Ranges of
    activations are taken from the slices, `(N, 224, 224, 1)`.
    """
    graph = _converted(model)
    # The quantizer works on files.
    with tempfile.TemporaryDirectory() as folder, converting("ONNX Runtime's quantizer"):
        source, target = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(_serialized(graph))
        quantize_static(
            source,
            target,
            _Reader(slices),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            nodes_to_exclude=_excluded(graph.graph),
        )
        quantized = onnx.load(target)
    _check(quantized, model)
    return _serialized(quantized)


class _Reader(CalibrationDataReader):  # type: ignore[misc] # ONNX Runtime has no types
    """Hands out slices one by one, and shows how far it is."""

    def __init__(self, slices: npt.NDArray[np.uint8]) -> None:
        self._slices = iter(progress(slices, "Calibrate ONNX"))

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        image = next(self._slices, None)
        return None if image is None else {INPUT: image[np.newaxis]}


def _converted(model: keras.Model) -> onnx.ModelProto:
    function = serving(model)
    signature = function.input_signature  # type: ignore[attr-defined] # TensorFlow has no types
    with converting("tf2onnx"):
        converted, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    _canonical(converted.graph)
    with converting("ONNX Runtime"):
        converted = _fused(converted)
    _canonical(converted.graph)
    # The quantizer needs shapes, and its own pre-processing would want sympy for them.
    with converting("ONNX's shape inference"):
        converted = onnx.shape_inference.infer_shapes(converted, check_type=True, strict_mode=True)
    _check(converted, model)
    return converted


def _fused(converted: onnx.ModelProto) -> onnx.ModelProto:
    """Folds paddings into the convolutions behind them, as tf2onnx leaves them undone.

    ONNX Runtime's basic optimisations do so, and make standard operators only. (The quantizer's
    pre-processing does the same, but goes on where it fails.)
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fused.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(
            converted.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
        )
        fused = onnx.load(path)
    del fused.opset_import[:]
    fused.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    return fused


def _check(converted: onnx.ModelProto, model: keras.Model) -> None:
    """Proves that a graph is valid, and has the operations, input and outputs that it must have."""
    prove(converted)
    ends = [
        (end.name, tuple(dim.dim_value for dim in end.type.tensor_type.shape.dim))
        for end in [*converted.graph.input, *converted.graph.output]
    ]
    expected = [
        (INPUT, (1, *model.inputs[0].shape[1:])),
        *output_shapes(model).items(),
    ]
    if ends != expected:
        raise ConversionError(f"the ONNX graph has inputs and outputs {ends}, expected {expected}")


def _canonical(graph: onnx.GraphProto) -> None:
    """Orders and names nodes and constants by what they compute.

    tf2onnx keeps nodes in sets and numbers them as they come, so each process has another order and
    other numbers. Here, an operand comes before its operator, operands from left to right; a node is
    called as in Keras, without numbers; a constant is called after the node that it belongs to.
    """
    makers = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = sorted(graph.output, key=lambda output: list(OUTPUTS).index(output.name))
    nodes: list[onnx.NodeProto] = []
    placed: set[str] = set()

    def place(name: str) -> None:
        node = makers.get(name)
        if node is None or node.output[0] in placed:
            return
        placed.add(node.output[0])
        for operand in node.input:
            place(operand)
        nodes.append(node)

    for output in outputs:
        place(output.name)

    ends = [INPUT, *(output.name for output in outputs)]
    plain = {name: _NUMBER.sub("", name) for node in nodes for name in node.output}
    taken = set(ends)
    names = {"": "", **{name: name for name in ends}}
    used: list[str] = []
    for node in nodes:
        for name in node.output:
            if name not in names:
                names[name] = unused(readable(plain[name]), taken)
        for index, name in enumerate(node.input):
            if name not in names:
                used.append(name)
                names[name] = unused(f"{names[node.output[0]]}.input{index}", taken)
    for node in nodes:
        operands, results = [names[name] for name in node.input], [names[name] for name in node.output]
        del node.input[:], node.output[:]
        node.input.extend(operands)
        node.output.extend(results)
        node.name = results[0]
    kept = [constants[name] for name in used]
    for tensor, name in zip(kept, used, strict=True):
        tensor.name = names[name]
    # Copies: emptying a list of protobuf takes its elements along.
    for field, items in (("node", nodes), ("initializer", kept), ("output", outputs)):
        copies = [type(item).FromString(item.SerializeToString()) for item in items]
        del getattr(graph, field)[:]
        getattr(graph, field).extend(copies)
    del graph.value_info[:]
    # It told the number that the function happened to have in this process.
    graph.name, graph.doc_string = "falx", ""


def _operations(graph: onnx.GraphProto) -> list[Operation]:
    return [Operation(node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node]


def _excluded(graph: onnx.GraphProto) -> list[str]:
    """Returns the nodes that the quantizer must leave alone."""
    outputs = [output.name for output in graph.output]
    in_float = left_in_float(_operations(graph), outputs, STEM_CONVOLUTIONS)
    return [node.name for index, node in enumerate(graph.node) if index in in_float]


def _serialized(model: onnx.ModelProto) -> bytes:
    """Returns the bytes of a model: the same model gives the same bytes, whoever made it."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "falx", "", ""
    del model.metadata_props[:]
    return bytes(model.SerializeToString(deterministic=True))
