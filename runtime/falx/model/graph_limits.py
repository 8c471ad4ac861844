"""A constant of a graph, found by its name, so that its values can be changed where they lie.

Only values of a fixed size: nothing moves, so every offset in the file stays true. The formats:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (protobuf) and
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
(flatbuffer; its layout: https://flatbuffers.dev/internals/). Read by hand, so that the runtime needs
neither library.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from falx.errors import ModelError
from falx.model.attachment import Format, fields

THRESHOLDS: Final = "thresholds"
"""The constant of self-contained graphs with the thresholds, float32 `(4,)`, in the order of the labels."""

FLOAT_BYTES: Final = 4

ONNX: Final = {
    "graph": 7,
    "initializer": 5,
    "dims": 1,
    "data_type": 2,
    "float_data": 4,
    "name": 8,
    "raw_data": 9,
}
"""Numbers of fields: of ModelProto, GraphProto, and from `dims` on of TensorProto."""

ONNX_FLOAT: Final = 1

TFLITE: Final = {"subgraphs": 2, "buffers": 4, "tensors": 0, "type": 1, "buffer": 2, "name": 3, "data": 0}
"""Indices of fields: two of Model, one of SubGraph, three of Tensor, one of Buffer."""

TFLITE_FLOAT32: Final = 0


def find(payload: bytes, kind: Format, name: str, count: int) -> int:
    """Finds where `count` float32 values lie in a graph without a card, little-endian: their first byte.

    A longer name in TFLite may end in the name, where converters put scopes before. Raises ModelError where
    there is not exactly one such constant, or it has another type or size.
    """
    try:
        found = list(_onnx(payload, name) if kind == "onnx" else _tflite(payload, name))
    # A graph that is not well-formed leads anywhere.
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ModelError(f"the graph cannot be read: {error}; export the model again") from error
    if len(found) != 1:
        raise ModelError(
            f"expected one constant {name!r} in the graph, found {len(found)}; export the model again"
        )
    start, size, is_float = found[0]
    if not is_float or size != count * FLOAT_BYTES:
        raise ModelError(
            f"expected the graph's constant {name!r} to be {count} values of float32, got {size} bytes of "
            f"{'float32' if is_float else 'another type'}; export the model again"
        )
    return start


Found = tuple[int, int, bool]
"""First byte, size in bytes, and whether the values are float32."""


def _onnx(payload: bytes, name: str) -> Iterator[Found]:
    for graph, content in _of(payload, 0, len(payload), ONNX["graph"]):
        for tensor, end in _of(payload, graph, content, ONNX["initializer"]):
            if [payload[a:b] for a, b in _of(payload, tensor, end, ONNX["name"])] != [name.encode()]:
                continue
            types = [payload[a:b] for a, b in _of(payload, tensor, end, ONNX["data_type"])]
            # Floats lie in either field as the same bytes.
            values = [x for key in ("raw_data", "float_data") for x in _of(payload, tensor, end, ONNX[key])]
            start, stop = values[0] if len(values) == 1 else (0, 0)
            yield start, stop - start, types == [bytes([ONNX_FLOAT])]


def _of(payload: bytes, start: int, end: int, number: int) -> Iterator[tuple[int, int]]:
    """Yields start and end of each field of a number in the protobuf message between two positions."""
    for found, _, content, stop in fields(payload[start:end]):
        if found == number:
            yield start + content, start + stop


def _tflite(payload: bytes, name: str) -> Iterator[Found]:
    table = _Table(payload, _number(payload, 0, "I"))
    buffers = table.tables(TFLITE["buffers"])
    tensors = [
        tensor for graph in table.tables(TFLITE["subgraphs"]) for tensor in graph.tables(TFLITE["tensors"])
    ]
    users = [tensor.scalar(TFLITE["buffer"], "I") for tensor in tensors]
    for tensor, buffer in zip(tensors, users, strict=True):
        if not tensor.text(TFLITE["name"]).endswith(name):
            continue
        if users.count(buffer) > 1:
            raise ModelError(
                f"the graph's constant {name!r} shares its values with another; export the model again"
            )
        start, size = buffers[buffer].vector(TFLITE["data"])
        if start + size > len(payload):
            raise IndexError("a buffer reaches past its end")
        yield start, size, tensor.scalar(TFLITE["type"], "b") == TFLITE_FLOAT32


class _Table:
    """A table of a flatbuffer: fields found through a table of their offsets, absent where it says 0."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._offsets = position - _number(data, position, "i")
        self._size = _number(data, self._offsets, "H")

    def _field(self, index: int) -> int | None:
        entry = 4 + 2 * index
        offset = _number(self._data, self._offsets + entry, "H") if entry < self._size else 0
        return self._position + offset if offset else None

    def scalar(self, index: int, form: Literal["I", "b"]) -> int:
        """Returns a number; 0, the schema's default, where it is absent."""
        at = self._field(index)
        return 0 if at is None else _number(self._data, at, form)

    def vector(self, index: int) -> tuple[int, int]:
        """Returns the position of the first element of a vector, and how many there are."""
        at = self._field(index)
        if at is None:
            return 0, 0
        start = at + _number(self._data, at, "I")
        return start + 4, _number(self._data, start, "I")

    def text(self, index: int) -> str:
        """Returns a text."""
        start, length = self.vector(index)
        return self._data[start : start + length].decode()

    def tables(self, index: int) -> list[_Table]:
        """Returns a vector of tables."""
        start, count = self.vector(index)
        places = range(start, start + 4 * count, 4)
        return [_Table(self._data, at + _number(self._data, at, "I")) for at in places]


def _number(data: bytes, position: int, form: Literal["I", "i", "H", "b"]) -> int:
    if position < 0:
        raise IndexError("an offset points before the start")
    return int(struct.unpack_from(f"<{form}", data, position)[0])


def least_float32(values: Iterable[float]) -> npt.NDArray[np.float32]:
    """Returns the least float32 numbers that are not below some numbers, as graphs hold limits.

    A float32 probability reaches a limit exactly where it reaches the least float32 that does.
    """
    exact = np.array(list(values), np.float64)
    near = exact.astype(np.float32)
    return np.where(near < exact, np.nextafter(near, np.float32(np.inf)), near)
