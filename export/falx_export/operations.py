"""Which operations of a converted graph stay in float, and whether a batch normalisation is left.

The same for both formats: told by kinds and by what depends on what. Converters order operations as
they like, so an order tells nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from falx_export.errors import ConversionError

__all__ = ["CONVOLUTIONS", "Operation", "left_in_float", "unfolded"]

CONVOLUTIONS: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "Conv"})
_POOLINGS: Final = frozenset({"MEAN", "GlobalAveragePool", "ReduceMean"})
_WEIGHTY: Final = CONVOLUTIONS | {"FULLY_CONNECTED", "Gemm", "MatMul"}
_AFTER: Final = frozenset({"ADD", "RELU", "Add", "Relu"})
"""A layer's bias and activation, where they are operations of their own."""

_ARITHMETIC: Final = frozenset({"ADD", "DIV", "MUL", "SUB", "Add", "Div", "Mul", "Sub"})
_PASSING: Final = frozenset(
    {"DEQUANTIZE", "QUANTIZE", "TRANSPOSE", "DequantizeLinear", "QuantizeLinear", "Transpose"}
)
"""The same values, stored in another way."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a graph.

    Attributes:
        kind: as the format calls it.
        inputs, outputs: tensors, by name or number.
    """

    kind: str
    inputs: tuple[Hashable, ...]
    outputs: tuple[Hashable, ...]


def left_in_float(operations: Sequence[Operation], stem: int) -> set[int]:
    """The indices of operations that aren't quantized: the stem, and the head but for its weighty layer.

    The head is all that depends on the backbone's output. Of it, the pooling and the hidden layer
    behind it are quantized: they hold the weights. Behind them, probabilities would have 256 values.

    Args:
        operations: each behind those it depends on.
        stem: how many convolutions stay in float at the start, and what lies before them.

    Raises:
        ConversionError: the graph is not a backbone, a pooling and a hidden layer.
    """
    poolings = [index for index, operation in enumerate(operations) if operation.kind in _POOLINGS]
    convolutions = [index for index, operation in enumerate(operations) if operation.kind in CONVOLUTIONS]
    if len(poolings) != 1 or len(convolutions) <= stem:
        raise ConversionError(
            f"expected a graph with one pooling and more than {stem} convolutions, "
            f"got {len(poolings)} and {len(convolutions)}"
        )
    features = _origin(operations[poolings[0]].inputs[0], _makers(operations))
    head = _behind(features, operations)
    return set(range(convolutions[stem - 1] + 1)) | (head - _hidden(poolings[0], operations))


def unfolded(operations: Sequence[Operation], constants: Collection[Hashable]) -> list[str]:
    """What is left of batch normalisations: arithmetic with a constant directly behind a convolution.

    Args:
        operations: of a graph.
        constants: its tensors that hold given values.

    Returns:
        `KIND behind KIND` of each; none where all are folded into the convolutions.
    """
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
    """The tensor whose values these are."""
    while (maker := makers.get(tensor)) is not None and maker.kind in _PASSING:
        tensor = maker.inputs[0]
    return tensor


def _behind(tensor: Hashable, operations: Sequence[Operation]) -> set[int]:
    """The operations that depend on a tensor."""
    reached, found = {tensor}, set()
    for index, operation in enumerate(operations):
        if not reached.isdisjoint(operation.inputs):
            reached.update(operation.outputs)
            found.add(index)
    return found


def _hidden(pooling: int, operations: Sequence[Operation]) -> set[int]:
    """The pooling and all that follows up to the end of the first layer with weights."""
    found = {pooling}
    reached, weighty = set(operations[pooling].outputs), False
    for index, operation in enumerate(operations):
        if reached.isdisjoint(operation.inputs):
            continue
        if weighty and operation.kind not in _AFTER:
            break
        weighty = weighty or operation.kind in _WEIGHTY
        found.add(index)
        reached = set(operation.outputs)
    if not weighty:
        raise ConversionError("expected a layer with weights behind the pooling, found none")
    return found
