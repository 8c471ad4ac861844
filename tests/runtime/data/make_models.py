"""Make `tiny.tflite` and `tiny.onnx`: graphs with Falx's inputs and outputs and a known answer.

Run by hand, in an environment with TensorFlow and onnx, when that answer changes:

    python tests/runtime/data/make_models.py

The answer is a function of the mean brightness of the tensor, and its heatmap is the mean brightness
of each 32 x 32 cell; `tests/runtime/conftest.py` computes the same with NumPy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import tensorflow as tf
from onnx import TensorProto, helper

FOLDER = Path(__file__).parent
SLOPES = [-8.0, 0.0, 8.0, -1.0]
OFFSETS = [2.0, 0.0, -2.0, 0.0]


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


def make_onnx() -> bytes:
    constants = {
        "scale": ([], [1 / 255]),
        "slopes": ([1, 4], SLOPES),
        "offsets": ([1, 4], OFFSETS),
    }
    shapes = {"planes": [1, 1, 224, 224], "cells": [1, 7, 7], "one": [1, 1]}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["values"]),
        helper.make_node("ReduceMean", ["values"], ["mean4"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean4", "one"], ["mean"]),
        helper.make_node("Mul", ["mean", "slopes"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offsets"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("Reshape", ["values", "planes"], ["plane"]),
        helper.make_node("AveragePool", ["plane"], ["pooled"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Reshape", ["pooled", "cells"], ["heatmap"]),
    ]
    initializers = [helper.make_tensor(n, TensorProto.FLOAT, s, v) for n, (s, v) in constants.items()]
    initializers += [helper.make_tensor(n, TensorProto.INT64, [len(s)], s) for n, s in shapes.items()]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 224, 224, 1])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("heatmap", TensorProto.FLOAT, [1, 7, 7]),
        ],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    (FOLDER / "tiny.tflite").write_bytes(make_tflite())
    (FOLDER / "tiny.onnx").write_bytes(make_onnx())
