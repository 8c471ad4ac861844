"""The benchmark of the export compares files with the plain ones of their format."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from onnx import parser

if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("needs TensorFlow", allow_module_level=True)

from benchmarks import export_size
from benchmarks.export_size import Graph

DATA = Path(__file__).parents[1] / "data"


def tiny(kind: str) -> bytes:
    return (DATA / f"tiny.{kind}").read_bytes()


@pytest.mark.parametrize(("kind", "some"), [("tflite", "SOFTMAX"), ("onnx", "Softmax")])
def test_files_are_compared_with_the_first(kind: str, some: str) -> None:
    data = tiny(kind)
    longer = data + bytes(len(data)) if kind == "tflite" else data
    rows = export_size.measure([Graph("plain", data, kind), Graph("other", longer, kind)], runs=3, warm_up=1)
    assert [row.name for row in rows] == ["plain", "other"]
    assert [row.size for row in rows] == [len(data), len(longer)]
    assert [row.size_ratio for row in rows] == [1, len(longer) / len(data)]
    assert rows[0].time_ratio == 1
    assert all(row.p50_ms >= 0 for row in rows)
    assert rows[0].kinds == rows[1].kinds
    assert rows[0].kinds[some] == 1
    assert rows[0].operations == sum(rows[0].kinds.values())


def test_an_axis_of_any_length_is_that_of_a_slice_and_channels_are_one() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    any_size (uint8[height,width,channels] image) => (int64[3] sides) { sides = Shape(image) }"""
    infer = export_size._onnx(parser.parse_model(text).SerializeToString())
    assert np.asarray(infer()).tolist() == [[512, 512, 1]]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_plain_model_is_the_same_network_for_colour_and_not_folded() -> None:
    import keras

    from falx_trainer.training import network
    from falx_trainer.training.calibration import Calibration

    built = network.build("map", 8, 0.0, 7, None, familiarity=True)
    trained = network.inference_model(built, Calibration(1.0))
    plain = export_size.plain_model(trained)
    assert plain.inputs[0].shape == (None, 224, 224, 3)
    shapes = {name: tensor.shape for name, tensor in trained.output.items()}
    assert {name: tensor.shape for name, tensor in plain.output.items()} == shapes
    layers = [layer for part in plain.layers for layer in getattr(part, "layers", [part])]
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in layers) == 52
    kernel = built.head.get_layer("logits").kernel
    assert any(variable is kernel for variable in plain.weights)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"export_size: .*: has neither \.tflite nor \.onnx files"):
        export_size.main([str(tmp_path)])
