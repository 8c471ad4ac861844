"""Joining graphs: what is kept, what is left out, and what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

from falx_export.convert import flatbuffer
from falx_export.errors import ConversionError


def converted(function: Any, *shapes: tuple[int, ...]) -> Any:

    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    traced = tf.function(function, input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], traced)
    return flatbuffer.parsed(converter.convert())


def named(document: Any, inputs: list[str], outputs: list[str]) -> Any:
    graph = document.subgraphs[0]
    for index, name in zip([*graph.inputs, *graph.outputs], [*inputs, *outputs], strict=True):
        graph.tensors[int(index)].name = name.encode()
    return document


@pytest.fixture
def first() -> Any:
    """`x` `(1, 3)` -> `sum` `(1, 1)`, and `scaled` `(1, 3)`, for which there is a constant of its own."""
    factors = np.array([[2.0, 3.0, 5.0]], np.float32)
    document = converted(lambda x: (tf.reduce_sum(x, 1, keepdims=True), tf.abs(x) * factors), (1, 3))
    order = [int(document.subgraphs[0].tensors[int(i)].shape[1]) for i in document.subgraphs[0].outputs]
    return named(document, ["x"], ["sum" if width == 1 else "scaled" for width in order])


@pytest.fixture
def second() -> Any:
    """`value` `(1, 1)` -> `shifted`."""
    return named(converted(lambda value: tf.abs(value) + 7.0, (1, 1)), ["value"], ["shifted"])


def run(document: Any, **inputs: Any) -> dict[str, Any]:
    flatbuffer.sign(document)
    interpreter = Interpreter(model_content=flatbuffer.packed(document))
    return dict(interpreter.get_signature_runner("serving_default")(**inputs))


def test_a_joined_graph_does_one_after_the_other(first: Any, second: Any) -> None:
    document = flatbuffer.joined(first, second, {"value": "sum"}, ["shifted", "scaled"])
    answer = run(document, x=np.array([[-1.0, -4.0, 2.0]], np.float32))
    assert answer["shifted"].tolist() == [[10.0]]
    assert answer["scaled"].tolist() == [[2.0, 12.0, 10.0]]


def test_what_no_output_needs_is_left_out(first: Any, second: Any) -> None:
    assert {"SUM", "MUL"} <= set(flatbuffer.kinds(first))
    document = flatbuffer.joined(first, second, {"value": "sum"}, ["shifted"])
    assert "MUL" not in flatbuffer.kinds(document)
    assert flatbuffer.kinds(document).count("ABS") == 1
    factors = np.array([2, 3, 5], np.float32).tobytes()
    assert all(buffer.data is None or bytes(buffer.data) != factors for buffer in document.buffers)
    assert len(document.operatorCodes) == len(set(flatbuffer.kinds(document)))
    assert run(document, x=np.array([[1.0, 2.0, 3.0]], np.float32))["shifted"].tolist() == [[13.0]]


def test_no_tensor_has_the_name_of_another(first: Any, second: Any) -> None:
    for document in (first, second):
        ends = {int(i) for i in (*document.subgraphs[0].inputs, *document.subgraphs[0].outputs)}
        for index, tensor in enumerate(document.subgraphs[0].tensors):
            if index not in ends:
                tensor.name = b"shifted"
    document = flatbuffer.joined(first, second, {"value": "sum"}, ["shifted", "scaled"])
    names = [tensor.name for tensor in document.subgraphs[0].tensors]
    assert len(names) == len(set(names))
    assert list(flatbuffer.named(document, document.subgraphs[0].outputs)) == ["shifted", "scaled"]


@pytest.mark.parametrize(
    ("wires", "outputs", "message"),
    [
        ({"value": "nothing"}, ["shifted"], r"cannot join TFLite graphs: .* for \['value'\] and "),
        ({}, ["shifted"], r"cannot join TFLite graphs: \{\} for \['value'\] and \['scaled', 'sum'\]"),
        ({"value": "sum"}, ["shifted", "more"], "cannot join TFLite graphs: no output more"),
    ],
)
def test_graphs_that_do_not_fit_are_refused(
    first: Any, second: Any, wires: dict[str, str], outputs: list[str], message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        flatbuffer.joined(first, second, wires, outputs)


def test_the_more_demanding_version_of_the_runtime_is_kept(first: Any, second: Any) -> None:
    flatbuffer.add_metadata(first, "min_runtime_version", b"1.14.0\0\0")
    flatbuffer.add_metadata(second, "min_runtime_version", b"2.5.0\0\0")
    document = flatbuffer.joined(first, second, {"value": "sum"}, ["shifted"])
    found = [e.buffer for e in document.metadata if e.name == b"min_runtime_version"]
    assert [bytes(document.buffers[buffer].data) for buffer in found] == [b"2.5.0\0\0"]


def test_metadata_of_the_same_name_is_replaced(first: Any) -> None:
    before = len(first.metadata or [])
    flatbuffer.add_metadata(first, "note", b"one")
    flatbuffer.add_metadata(first, "note", b"another")
    again = flatbuffer.parsed(flatbuffer.packed(first))
    assert len(again.metadata) == before + 1
    assert bytes(again.buffers[again.metadata[-1].buffer].data) == b"another"
