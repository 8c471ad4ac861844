"""Make `tiny.tflite` and `tiny.onnx`: graphs with Falx's inputs and outputs and a known answer; and
`decides.tflite` and `decides.onnx`: the same probabilities, and 1 for each that reaches its threshold, which
is in the graph.

Run by hand, in an environment with TensorFlow and onnx, when that answer changes:

    python tests/data/make_models.py

The answer is a function of the mean brightness of the tensor, and its heatmap is the mean brightness
of each 32 x 32 cell; `tests/conftest.py` computes the same with NumPy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from tensorflow.lite.python import schema_py_generated as schema

FOLDER = Path(__file__).parent
SLOPES = [-8.0, 0.0, 8.0, -1.0]
OFFSETS = [2.0, 0.0, -2.0, 0.0]
THRESHOLDS = [0.85, 0.60, 0.55, 0.55]
"""The built-in ones; the nearest float32 of each is not below it."""


class Tiny(tf.Module):  # type: ignore[misc] # TensorFlow has no types
    @tf.function(input_signature=[tf.TensorSpec([1, 224, 224, 1], tf.uint8, name="image")])  # type: ignore[untyped-decorator]
    def answer(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.cast(image, tf.float32) / 255.0
        logits = tf.reduce_mean(values) * tf.constant([SLOPES]) + tf.constant([OFFSETS])
        cells = tf.nn.avg_pool2d(values, 32, 32, "VALID")[..., 0]
        return {"probabilities": tf.nn.softmax(logits), "heatmap": cells}


def make_tflite() -> bytes:
    module = Tiny()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.answer})
        return bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


class Decides(tf.Module):  # type: ignore[misc] # TensorFlow has no types
    @tf.function(input_signature=[tf.TensorSpec([1, 224, 224, 1], tf.uint8, name="image")])  # type: ignore[untyped-decorator]
    def answer(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        mean = tf.reduce_mean(tf.cast(image, tf.float32) / 255.0)
        probabilities = tf.nn.softmax(mean * tf.constant([SLOPES]) + tf.constant([OFFSETS]))
        reached = tf.cast(probabilities >= tf.constant(THRESHOLDS), tf.float32)
        return {"probabilities": probabilities, "reached": reached}


def make_deciding_tflite() -> bytes:
    module = Decides()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.answer.get_concrete_function()], module
    )
    document = schema.ModelT.InitFromPackedBuf(converter.convert(), 0)
    graph = document.subgraphs[0]
    wanted = np.array(THRESHOLDS, "<f4").tobytes()
    for tensor in graph.tensors:
        data = document.buffers[tensor.buffer].data
        if data is not None and bytes(data) == wanted:
            tensor.name = "thresholds"
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(document.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


MEAN = [
    helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
    helper.make_node("Mul", ["float", "scale"], ["values"]),
    helper.make_node("ReduceMean", ["values"], ["mean4"], axes=[1, 2, 3], keepdims=1),
    helper.make_node("Reshape", ["mean4", "one"], ["mean"]),
    helper.make_node("Mul", ["mean", "slopes"], ["scaled"]),
    helper.make_node("Add", ["scaled", "offsets"], ["logits"]),
    helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
]
"""Turns the image into the probabilities."""

CONSTANTS = {"scale": ([], [1 / 255]), "slopes": ([1, 4], SLOPES), "offsets": ([1, 4], OFFSETS)}


def onnx_model(
    name: str,
    nodes: list[onnx.NodeProto],
    outputs: dict[str, list[int]],
    shapes: dict[str, list[int]],
    *constants: onnx.TensorProto,
) -> bytes:
    """Returns a model of the image's mean and more nodes, with constants and the shapes that nodes need."""
    initializers = [helper.make_tensor(n, TensorProto.FLOAT, s, v) for n, (s, v) in CONSTANTS.items()]
    initializers += [helper.make_tensor(n, TensorProto.INT64, [len(s)], s) for n, s in shapes.items()]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 224, 224, 1])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()]
    graph = helper.make_graph([*MEAN, *nodes], name, [image], ends, [*initializers, *constants])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def make_deciding_onnx() -> bytes:
    nodes = [
        helper.make_node("GreaterOrEqual", ["probabilities", "thresholds"], ["compared"]),
        helper.make_node("Cast", ["compared"], ["reached"], to=TensorProto.FLOAT),
    ]
    # As raw bytes, as converters write them: Falx finds them so.
    thresholds = numpy_helper.from_array(np.array(THRESHOLDS, np.float32), "thresholds")
    outputs = {"probabilities": [1, 4], "reached": [1, 4]}
    return onnx_model("decides", nodes, outputs, {"one": [1, 1]}, thresholds)


def make_onnx() -> bytes:
    nodes = [
        helper.make_node("Reshape", ["values", "planes"], ["plane"]),
        helper.make_node("AveragePool", ["plane"], ["pooled"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Reshape", ["pooled", "cells"], ["heatmap"]),
    ]
    shapes = {"planes": [1, 1, 224, 224], "cells": [1, 7, 7], "one": [1, 1]}
    return onnx_model("tiny", nodes, {"probabilities": [1, 4], "heatmap": [1, 7, 7]}, shapes)


if __name__ == "__main__":
    (FOLDER / "tiny.tflite").write_bytes(make_tflite())
    (FOLDER / "tiny.onnx").write_bytes(make_onnx())
    (FOLDER / "decides.tflite").write_bytes(make_deciding_tflite())
    (FOLDER / "decides.onnx").write_bytes(make_deciding_onnx())
