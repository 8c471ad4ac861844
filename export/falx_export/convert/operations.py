"""Finds the operations of a converted graph that stay in float.

Both formats are read alike: by kinds and by what depends on what. Converters order operations as
they like, so an order tells nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from falx_export.errors import ConversionError

_CONVOLUTIONS: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "Conv", "Conv2D", "DepthwiseConv2D"})
_WEIGHTY: Final = _CONVOLUTIONS | {"FULLY_CONNECTED", "Gemm", "MatMul", "Dense"}
"""Layers with weights, as TFLite, ONNX and Keras call them."""


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
    convolutions = [index for index, operation in enumerate(operations) if operation.kind in _CONVOLUTIONS]
    if len(convolutions) <= stem:
        raise ConversionError(f"expected a graph with more than {stem} convolutions, got {len(convolutions)}")
    last = last_layers(operations, outputs)
    return set(range(convolutions[stem - 1] + 1)) | last | _behind(last, operations)


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


def _behind(sources: Collection[int], operations: Sequence[Operation]) -> set[int]:
    """Returns the indices of the operations that depend on others."""
    reached = {output for index in sources for output in operations[index].outputs}
    found = set()
    for index, operation in enumerate(operations):
        if not reached.isdisjoint(operation.inputs):
            reached.update(operation.outputs)
            found.add(index)
    return found
