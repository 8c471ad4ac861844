"""Constants are found in graphs that other libraries wrote, and nothing is read past an end."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny

from falx.errors import ModelError
from falx.model import attachment, graph_limits
from falx.model.card import Format

# What `tests/data/make_models.py` gives the tiny graphs.
SLOPES = np.array([-8.0, 0.0, 8.0, -1.0], np.float32)
OFFSETS = np.array([2.0, 0.0, -2.0, 0.0], np.float32)


def at(payload: bytes, start: int) -> list[float]:
    return [float(x) for x in np.frombuffer(payload[start : start + 16], "<f4")]


def test_constants_of_an_onnx_graph() -> None:
    payload = tiny.graph("onnx")
    for name, values in (("slopes", SLOPES), ("offsets", OFFSETS)):
        assert at(payload, graph_limits.find(payload, "onnx", name, 4)) == values.tolist()
    scale = graph_limits.find(payload, "onnx", "scale", 1)
    assert struct.unpack_from("<f", payload, scale)[0] == pytest.approx(1 / 255)


def tflite_names(payload: bytes) -> list[str]:
    table = graph_limits._Table(payload, struct.unpack_from("<I", payload)[0])
    (graph,) = table.tables(graph_limits.TFLITE["subgraphs"])
    return [
        tensor.text(graph_limits.TFLITE["name"]) for tensor in graph.tables(graph_limits.TFLITE["tensors"])
    ]


def test_constants_of_a_tflite_graph() -> None:
    payload = tiny.graph("tflite")
    found = {}
    for name in tflite_names(payload):
        try:
            found[name] = at(payload, graph_limits.find(payload, "tflite", name, 4))
        except ModelError:
            continue
    assert sorted(found.values()) == sorted([SLOPES.tolist(), OFFSETS.tolist()])


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_no_such_constant(kind: Format) -> None:
    with pytest.raises(ModelError, match="expected one constant 'absent' in the graph, found 0; export"):
        graph_limits.find(tiny.graph(kind), kind, "absent", 4)


def test_a_constant_of_another_type_or_size() -> None:
    with pytest.raises(
        ModelError, match=r"'slopes' to be 3 values of float32, got 16 bytes of float32; export"
    ):
        graph_limits.find(tiny.graph("onnx"), "onnx", "slopes", 3)
    with pytest.raises(ModelError, match=r"'planes' to be 4 values of float32, got .* bytes of another type"):
        graph_limits.find(tiny.graph("onnx"), "onnx", "planes", 4)


def onnx_with(*tensors: bytes) -> bytes:
    """A model of these initializers and no more."""
    graph = b"".join(attachment._tagged(5, tensor) for tensor in tensors)
    return b"\x08\x08" + attachment._tagged(7, graph)


def onnx_tensor(values: bytes, field: int = 9, name: bytes = b"thresholds") -> bytes:
    return b"\x08\x04\x10\x01" + attachment._tagged(8, name) + attachment._tagged(field, values)


@pytest.mark.parametrize("field", [4, 9])
def test_floats_of_either_field_of_onnx(field: int) -> None:
    values = np.array([0.25, 0.5, 0.75, 1], "<f4").tobytes()
    payload = onnx_with(onnx_tensor(b"\0" * 8, name=b"my_thresholds"), onnx_tensor(values, field))
    start = graph_limits.find(payload, "onnx", "thresholds", 4)
    assert payload[start : start + 16] == values


def test_two_of_a_name_are_none() -> None:
    payload = onnx_with(onnx_tensor(bytes(16)), onnx_tensor(bytes(16)))
    with pytest.raises(ModelError, match="expected one constant 'thresholds' in the graph, found 2"):
        graph_limits.find(payload, "onnx", "thresholds", 4)


def test_values_that_two_tensors_share_are_not_changed() -> None:
    payload = bytearray(tiny.graph("tflite"))
    table = graph_limits._Table(bytes(payload), struct.unpack_from("<I", payload)[0])
    tensors = table.tables(graph_limits.TFLITE["subgraphs"])[0].tables(graph_limits.TFLITE["tensors"])
    holders: list[tuple[Any, int]] = [(x, x.scalar(graph_limits.TFLITE["buffer"], "I")) for x in tensors]
    one, other = [
        x for x, _ in holders if at_or_none(bytes(payload), x.text(3)) in (SLOPES.tolist(), OFFSETS.tolist())
    ]
    place = other._field(graph_limits.TFLITE["buffer"])
    struct.pack_into("<I", payload, place, one.scalar(graph_limits.TFLITE["buffer"], "I"))
    with pytest.raises(ModelError, match="shares its values with another; export the model again"):
        graph_limits.find(bytes(payload), "tflite", one.text(3), 4)


def at_or_none(payload: bytes, name: str) -> list[float] | None:
    try:
        return at(payload, graph_limits.find(payload, "tflite", name, 4))
    except ModelError:
        return None


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
@given(data=st.data())
def test_damaged_graphs_give_the_documented_error(kind: Format, data: st.DataObject) -> None:
    from pathlib import Path

    whole = (Path(__file__).parents[1] / "data" / f"tiny.{kind}").read_bytes()
    payload = bytearray(whole[: data.draw(st.integers(8, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, len(payload) - 1), max_size=4)):
        payload[place] = data.draw(st.integers(0, 255))
    try:
        start = graph_limits.find(bytes(payload), kind, "slopes", 4)
    except ModelError:
        return
    assert 0 <= start <= len(payload) - 16
