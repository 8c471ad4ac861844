"""Both converters on the trainer's heads: what ends up in int8, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import keras
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from keras import layers
from tensorflow.lite.python import schema_py_generated as schema
from tests import cards
from tf2onnx.optimizer.merge_duplicated_nodes_optimizer import (  # type: ignore[import-untyped]
    MergeDuplicatedNodesOptimizer,
)

from falx import engines
from falx.model.card import Card
from falx_export import export
from falx_export.convert import rounding, to_onnx, to_tflite
from falx_export.convert.graph import output_shapes
from falx_export.errors import ConversionError
from falx_export.proof import parity, samples
from falx_runs.run_folder import Calibration
from falx_trainer.training import network

Layers = list[tuple[tuple[int, ...], bool]]
"""Each layer with weights: its kernel's dimensions, sorted and without ones, and whether it is int8."""


def kernel(shape: Any) -> tuple[int, ...]:
    return tuple(sorted(int(x) for x in shape if x != 1))


def tflite_layers(payload: bytes) -> Layers:
    document = schema.ModelT.InitFromPackedBuf(payload, 0)
    kinds = {value: kind for kind, value in vars(schema.BuiltinOperator).items() if kind.isupper()}
    graph = document.subgraphs[0]
    layers = []
    for operator in graph.operators:
        kind = kinds[document.operatorCodes[operator.opcodeIndex].builtinCode]
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            values, weights = (graph.tensors[x] for x in operator.inputs[:2])
            result = graph.tensors[operator.outputs[0]]
            coarse = {x.type == schema.TensorType.INT8 for x in (values, weights, result)}
            assert len(coarse) == 1, weights.name
            layers.append((kernel(weights.shape), coarse.pop()))
    return layers


def onnx_layers(payload: bytes) -> Layers:
    graph = onnx.load_from_string(payload).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    layers = []
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            maker = makers.get(node.input[1])
            coarse = maker is not None and maker.op_type == "DequantizeLinear"
            weights = constants[maker.input[0] if coarse and maker else node.input[1]]
            if coarse:
                assert makers[node.input[0]].op_type == "DequantizeLinear"
                assert weights.dtype == np.int8
                # Two products with uint8 stay within 16 bits, as kernels for x86 without VNNI sum them.
                assert np.abs(weights.astype(int)).max() == to_onnx.STEPS
                assert 2 * 255 * to_onnx.STEPS < 2**15
            layers.append((kernel(weights.shape), coarse))
    return layers


EVIDENCE = {(48, 1280): True, (32, 48): True, (3, 3, 48, 48): True, (48,): False, (4,): False}
"""The layers of the head with evidence: `coarse`, `fine`, `around`, `evidence`, `local`."""


@pytest.fixture(scope="module")
def noise() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (3, 224, 224, 1)).astype(np.uint8)


@pytest.fixture(scope="module", params=[("gap", 2048), ("map", 16)], ids=str)
def head(
    request: pytest.FixtureRequest, build: Callable[..., Any]
) -> tuple[Any, dict[tuple[int, ...], bool]]:
    """A model, and which layers of its head are int8."""
    kind, dense = request.param
    expected = {tuple(sorted((dense, 1280))): True, tuple(sorted((4, dense))): False}
    expected |= EVIDENCE | {(3, dense): False} if kind == "map" else {}
    return build(kind, dense), expected


# The quantizers warn of what the export asks of them on purpose.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_int8_is_all_but_the_stem_and_the_last_layers(
    head: Any, noise: npt.NDArray[np.uint8], suffix: str
) -> None:
    model, expected = head
    if suffix == "tflite":
        layers = tflite_layers(to_tflite.int8(model, noise))
    else:
        layers = onnx_layers(to_onnx.int8(model, noise))
    assert {shape: coarse for shape, coarse in layers if shape in expected} == expected
    stem = rounding.STEM_CONVOLUTIONS
    rest = [coarse for shape, coarse in layers if shape not in expected]
    assert rest == [False] * stem + [True] * (52 - stem)


def shallow(slices: npt.NDArray[np.uint8]) -> Any:
    """The trainer's head on a few convolutions: through fifty of random weights, rounding grows too far.

    What it answers differs between these slices.
    """
    keras.utils.set_random_seed(4)
    image = keras.Input((224, 224, 1), name="image")
    values = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    for channels, stride in ((8, 4), (8, 1), (16, 2), (32, 2)):
        values = layers.Conv2D(channels, 3, stride, padding="same", kernel_initializer="he_normal")(values)
        values = detail = layers.ReLU(6.0)(values)
    values = layers.ReLU(6.0)(layers.Conv2D(64, 3, 2, padding="same", kernel_initializer="he_normal")(values))
    backbone = keras.Model(image, [values, detail], name="backbone")
    shapes = [tuple(tensor.shape[1:]) for tensor in backbone.outputs]
    with (
        mock.patch.object(network, "FEATURES_SHAPE", shapes[0]),
        mock.patch.object(network, "DETAIL_SHAPE", shapes[1]),
    ):
        made = network._head("map", 16, 0.0, 7, familiarity=True)
    random = np.random.default_rng(9)
    for name, size in {"logits": 8, "local": 0.5, "familiarity": 30, "evidence": 2}.items():
        layer = made.get_layer(name)
        layer.kernel.assign(random.normal(0, size, layer.kernel.shape))
    whole = keras.Model(image, made(backbone(image)))
    answers = whole.predict(slices.astype(np.float32), verbose=0)
    for name in ("logits", "familiarity"):
        # So that neither is certain of everything.
        made.get_layer(name).bias.assign(-answers[name].mean(axis=0))
    return network.inference_model(network.Network(backbone, made, whole, ()), Calibration(1.5, 0.5, 1.2))


def card_of(model: Any, quantization: str) -> Card:
    kind = {"format": quantization, "scheme": "none"}
    return cards.card(output_shapes(model), temperature=1.5, quantization=kind)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_output_is_that_of_keras_in_the_runtimes_engines(data: Path) -> None:
    slices = samples.read(data, 12, 6)
    # What lies beyond the ranges of so few slices would be cut off.
    seen = np.concatenate([slices.calibration, slices.parity])
    model = shallow(seen)
    expected = parity.keras_answers(model, slices.parity)
    assert {name: values.shape[1:] for name, values in expected.items()} == {
        "probabilities": (4,),
        "heatmap": (14, 14),
        "familiarity": (1,),
        "no_brain": (1,),
    }
    # Else any constant would do.
    spread = {name: float(np.ptp(values, axis=0).max()) for name, values in expected.items()}
    assert min(spread.values()) > 0.3
    calibrated: Any = SimpleNamespace(calibration=seen, described=slices.described)
    graphs = export._converted(model, calibrated)
    assert [(graph.quantization, graph.format) for graph in graphs] == list(export.FILES)
    for graph in graphs:
        kind, quantization = graph.format, graph.quantization
        tolerance = {"float32": 1e-4, "float16": 0.01, "int8": 0.1}[quantization]
        card = card_of(model, quantization)
        engine = engines.start(engines.choose(None, kind), graph.payload, card, threads=1)
        got = parity.engine_answers(engine, slices.parity)
        assert list(got) == ["probabilities", "heatmap", "familiarity", "no_brain"]
        for name, values in expected.items():
            assert got[name].shape == values.shape
            difference = float(np.abs(got[name] - values).max())
            assert difference <= tolerance, (kind, quantization, name)


def small() -> Any:
    image = keras.Input((224, 224, 1))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, strides=4)(image))
    return keras.Model(image, {"probabilities": layers.Dense(4, "softmax")(pooled)})


def test_equal_layers_have_one_name_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    image = keras.Input((224, 224, 1))
    logits = layers.Dense(4)(layers.GlobalAveragePooling2D()(image))
    equal = [layers.Softmax(name=name)(logits) for name in ("first", "second")]
    model = keras.Model(image, {"probabilities": layers.Average()(equal)})
    grouped = MergeDuplicatedNodesOptimizer._group_nodes_by_type_inputs
    made = []
    for step in (1, -1):
        # tf2onnx keeps them in a set, whose order is another one in each process.
        turned = lambda graph, step=step: {key: nodes[::step] for key, nodes in grouped(graph).items()}  # noqa: E731
        monkeypatch.setattr(
            MergeDuplicatedNodesOptimizer, "_group_nodes_by_type_inputs", staticmethod(turned)
        )
        made.append(to_onnx.float32(model))
    assert made[0] == made[1]
    assert [node.op_type for node in onnx.load_from_string(made[0]).graph.node].count("Softmax") == 1


def fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no such thing")


@pytest.mark.parametrize(
    ("place", "tool"),
    [
        ("tf2onnx.convert.from_function", "tf2onnx"),
        ("falx_export.convert.to_onnx._fused", "ONNX Runtime"),
        ("onnx.shape_inference.infer_shapes", "ONNX's shape inference"),
        ("falx_export.convert.to_onnx.quantize_static", "ONNX Runtime's quantizer"),
    ],
)
def test_a_converter_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, noise: npt.NDArray[np.uint8], place: str, tool: str
) -> None:
    monkeypatch.setattr("falx_export.convert.to_onnx.left_in_float", lambda *_: set())
    monkeypatch.setattr(place, fail)
    with pytest.raises(ConversionError, match=f"^{tool} cannot convert the model: no such thing$"):
        to_onnx.int8(small(), noise)


def test_tensorflow_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    converter = SimpleNamespace(target_spec=SimpleNamespace(), convert=fail)
    monkeypatch.setattr(to_tflite, "_converter", lambda _: converter)
    with pytest.raises(ConversionError, match=r"^TensorFlow cannot convert the model: no such thing$"):
        to_tflite.float16(small())
