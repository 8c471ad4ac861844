"""Finds the operations of a converted graph that stay in float, and batch normalisations that are left.

Both formats are read alike: by kinds and by what depends on what. Converters order operations as
they like, so an order tells nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from falx_export.errors import ConversionError

CONVOLUTIONS: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "Conv", "Conv2D", "DepthwiseConv2D"})
_WEIGHTY: Final = CONVOLUTIONS | {"FULLY_CONNECTED", "Gemm", "MatMul", "Dense"}
"""Layers with weights, as TFLite, ONNX and Keras call them."""

_ARITHMETIC: Final = frozenset({"ADD", "DIV", "MUL", "SUB", "Add", "Div", "Mul", "Sub"})
_PASSING: Final = frozenset(
    {"DEQUANTIZE", "QUANTIZE", "TRANSPOSE", "DequantizeLinear", "QuantizeLinear", "Transpose"}
)
"""The same values, stored in another way."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its kind, as the format or Keras calls it, and its tensors, by name or number."""

    kind: str
    inputs: tuple[Hashable, ...]
    outputs: tuple[Hashable, ...]


def left_in_float(operations: Sequence[Operation], outputs: Iterable[Hashable], stem: int) -> set[int]:
    """Returns the indices of operations that are not quantized: the first `stem` convolutions with what lies
    before them, and the last layers with what follows.

    The layers before them hold nearly all weights. In int8, the last ones would leave 256 values for
    probabilities, heatmap, familiarity and no_brain. Each operation stands behind those it depends on.
    """
    convolutions = [index for index, operation in enumerate(operations) if operation.kind in CONVOLUTIONS]
    if len(convolutions) <= stem:
        raise ConversionError(f"expected a graph with more than {stem} convolutions, got {len(convolutions)}")
    last = last_layers(operations, outputs)
    found = set(range(convolutions[stem - 1] + 1)) | last | _behind(last, operations)
    if not any(
        operation.kind in _WEIGHTY for index, operation in enumerate(operations) if index not in found
    ):
        raise ConversionError(
            "expected a graph with layers to quantize between its stem and the last layer before each "
            "output, found none"
        )
    return found


def last_layers(operations: Sequence[Operation], outputs: Iterable[Hashable]) -> set[int]:
    """Returns the indices of layers with weights from which an output is reached without passing another."""
    makers = {output: index for index, operation in enumerate(operations) for output in operation.outputs}
    found, seen, waiting = set(), set(), list(outputs)
    while waiting:
        tensor = waiting.pop()
        if tensor in seen or tensor not in makers:
            continue
        seen.add(tensor)
        index = makers[tensor]
        if operations[index].kind in _WEIGHTY:
            found.add(index)
        else:
            waiting += operations[index].inputs
    return found


def unfolded(operations: Sequence[Operation], constants: Collection[Hashable]) -> list[str]:
    """Finds what is left of normalisations: arithmetic with a constant, as `KIND behind KIND`."""
    makers = _makers(operations)
    found = []
    for operation in operations:
        origins = [_origin(tensor, makers) for tensor in operation.inputs]
        if operation.kind not in _ARITHMETIC or not any(origin in constants for origin in origins):
            continue
        kinds = [makers[origin].kind for origin in origins if origin in makers]
        found += [f"{operation.kind} behind {kind}" for kind in kinds if kind in CONVOLUTIONS]
    return found


def _makers(operations: Sequence[Operation]) -> dict[Hashable, Operation]:
    return {output: operation for operation in operations for output in operation.outputs}


def _origin(tensor: Hashable, makers: dict[Hashable, Operation]) -> Hashable:
    """Returns the tensor whose values these are."""
    while (maker := makers.get(tensor)) is not None and maker.kind in _PASSING:
        tensor = maker.inputs[0]
    return tensor


def _behind(sources: Collection[int], operations: Sequence[Operation]) -> set[int]:
    """Returns the indices of the operations that depend on others."""
    reached = {output for index in sources for output in operations[index].outputs}
    found = set()
    for index, operation in enumerate(operations):
        if not reached.isdisjoint(operation.inputs):
            reached.update(operation.outputs)
            found.add(index)
    return found
