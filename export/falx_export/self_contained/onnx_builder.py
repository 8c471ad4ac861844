"""Computation graphs in ONNX, written as they would be written in NumPy.

`Tensor` has NumPy's operators, and `Graph` a method for each operator that is needed besides. A
calculation gets its name when it is done, with `Graph.named`; the steps on the way to it are named
after it, so that a graph viewer shows `head/foreground` behind `head/foreground/Floor`.

Operators: https://onnx.ai/onnx/operators/, in the versions of opset 17.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from falx_export.convert.graph import unused

Number: TypeAlias = "Tensor | int | float"
"""A tensor, or a number that becomes a constant of the other operand's type."""

Attribute: TypeAlias = int | str | Sequence[int]
"""A setting of an operator."""

BOOL: Final = np.dtype(np.bool_)


def _operator(name: str, dtype: npt.DTypeLike | None = None) -> Callable[[Tensor, Number], Tensor]:
    """Returns the method for an operator of two operands; its result has the first one's type, or `dtype`."""
    return lambda tensor, other: tensor.graph.node(name, tensor, other, dtype=dtype)


@dataclass(eq=False, slots=True)
class Tensor:
    """A value in a graph; its name is empty until the calculation it is part of is named."""

    graph: Graph = field(repr=False)
    dtype: np.dtype[np.generic]
    name: str = ""

    __add__ = _operator("Add")
    __sub__ = _operator("Sub")
    __mul__ = _operator("Mul")
    __truediv__ = _operator("Div")
    __lt__ = _operator("Less", BOOL)
    __le__ = _operator("LessOrEqual", BOOL)
    __gt__ = _operator("Greater", BOOL)
    __ge__ = _operator("GreaterOrEqual", BOOL)
    __and__ = _operator("And")
    __or__ = _operator("Or")
    # `==` compares the Python objects.
    equals = _operator("Equal", BOOL)

    def __rsub__(self, other: Number) -> Tensor:
        return self.graph.node("Sub", self.graph.like(self, other), self)

    def __rtruediv__(self, other: Number) -> Tensor:
        return self.graph.node("Div", self.graph.like(self, other), self)

    def __floordiv__(self, other: Number) -> Tensor:
        """Returns the quotient of integers that are not negative; ONNX's Div cuts off the rest."""
        assert self.dtype.kind in "iu", self.dtype  # noqa: S101 - our own invariant
        return self.graph.node("Div", self, other)

    def __invert__(self) -> Tensor:
        return self.graph.node("Not", self)

    def __abs__(self) -> Tensor:
        return self.graph.node("Abs", self)

    @property
    def transposed(self) -> Tensor:
        """The tensor with its axes in reverse order."""
        return self.graph.node("Transpose", self)

    def to(self, dtype: npt.DTypeLike) -> Tensor:
        """Returns the tensor in another type; floats become integers by cutting off towards zero."""
        target = np.dtype(dtype)
        if target == self.dtype:
            return self
        return self.graph.node("Cast", self, dtype=target, to=helper.np_dtype_to_tensor_dtype(target))


@dataclass(slots=True)
class _Calculation:
    operator: str
    inputs: Sequence[Tensor | None]
    output: Tensor
    attributes: Mapping[str, Attribute]
    name: str = ""


class Graph:
    """A graph that grows; each method adds a node and gives its output."""

    def __init__(self) -> None:
        """Starts an empty graph."""
        self._nodes: list[_Calculation | onnx.NodeProto] = []
        self._unnamed: list[_Calculation] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._values: list[onnx.ValueInfoProto] = []
        self._scopes: list[str] = []
        self._taken: set[str] = set()

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Puts `NAME/` before the names that are given inside."""
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def named(self, name: str, tensor: Tensor) -> Tensor:
        """Gives a calculation its name, and the steps since the last naming names that begin with it.

        The name stands within the scopes that are open, and once in a graph. The tensor must not have a name
        yet.
        """
        full = "/".join([*self._scopes, name])
        if tensor.name:
            raise ValueError(f"{full}: has the name {tensor.name} already")
        tensor.name = self._take(full)
        for node in self._unnamed:
            if node.output is tensor:
                node.name = full
                continue
            node.name = node.output.name = unused(f"{full}/{node.operator}", self._taken)
        self._unnamed.clear()
        return tensor

    def input(self, name: str, dtype: npt.DTypeLike) -> Tensor:
        """Returns a value that is given to the graph."""
        return Tensor(self, np.dtype(dtype), self._take(name))

    def output(self, name: str, tensor: Tensor) -> Tensor:
        """Returns the value once more, under a name outside of all scopes."""
        scopes, self._scopes = self._scopes, []
        result = self.named(name, self.node("Identity", tensor) if tensor.name else tensor)
        self._scopes = scopes
        return result

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike) -> Tensor:
        """Adds a given value, under a name outside of all scopes; the same name is the same value."""
        array = np.asarray(value, object if dtype is str else dtype)
        tensor = numpy_helper.from_array(array, name)
        if self._constants.setdefault(name, tensor) != tensor:
            raise ValueError(f"{name}: is the name of another constant")
        return Tensor(self, array.dtype, name)

    def like(self, tensor: Tensor, value: Number) -> Tensor:
        """Returns a number as a constant of a tensor's type; a tensor as it is."""
        return value if isinstance(value, Tensor) else self.scalar(value, tensor.dtype)

    def scalar(self, value: float, dtype: npt.DTypeLike) -> Tensor:
        """Returns a number as a constant without axes."""
        kind = np.dtype(dtype)
        return self.constant(f"constant/{kind}/{value}", value, kind)

    def node(
        self,
        operator: str,
        *inputs: Number | None,
        dtype: npt.DTypeLike | None = None,
        **attributes: Attribute,
    ) -> Tensor:
        """Adds an operator of ONNX with one output.

        Args:
            operator: its name in ONNX.
            inputs: the first must be a tensor; numbers become constants of its type.
            dtype: the output's; by default the first input's.
            attributes: the operator's settings.
        """
        first = inputs[0]
        assert isinstance(first, Tensor)  # noqa: S101 - our own invariant
        tensors = [None if value is None else self.like(first, value) for value in inputs]
        output = Tensor(self, first.dtype if dtype is None else np.dtype(dtype))
        node = _Calculation(operator, tensors, output, attributes)
        self._nodes.append(node)
        self._unnamed.append(node)
        return output

    def side(self, tensor: Tensor, axis: int) -> Tensor:
        """Returns the length of an axis: int64, no axes."""
        shape = self.node("Shape", tensor, dtype=np.int64)
        return self.node("Gather", shape, self.scalar(axis, np.int64))

    def integers(self, *values: Number) -> Tensor:
        """Returns numbers side by side: int64 `(n,)`."""
        numbers = [value for value in values if not isinstance(value, Tensor)]
        if len(numbers) == len(values):
            text = ",".join(f"{number}" for number in numbers)
            return self.constant(f"constant/int64/[{text}]", numbers, np.int64)
        one = self.integers(0)
        parts = []
        for value in values:
            if isinstance(value, Tensor):
                parts.append(self.node("Unsqueeze", value, one))
            else:
                parts.append(self.integers(value))
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def range(self, length: Tensor, dtype: npt.DTypeLike = np.int64) -> Tensor:
        """Returns 0, 1, ... below a length without axes."""
        zero, one = self.scalar(0, np.int64), self.scalar(1, np.int64)
        return self.node("Range", zero, length, one).to(dtype)

    def total(self, tensor: Tensor, *axes: int, keep: bool = False) -> Tensor:
        """Returns the sum over axes, over all where none is named."""
        over = self.integers(*axes) if axes else None
        return self.node("ReduceSum", tensor, over, keepdims=int(keep))

    def count(self, mask: Tensor, *axes: int) -> Tensor:
        """Returns the number of true elements of a mask, along axes or in all."""
        return self.total(mask.to(np.int32), *axes)

    def most(self, tensor: Tensor, *axes: int) -> Tensor:
        """Returns the greatest along axes, over all where none is named."""
        return self.node("ReduceMax", tensor, keepdims=0, **({"axes": list(axes)} if axes else {}))

    def least(self, tensor: Tensor, *axes: int) -> Tensor:
        """Returns the least along axes, over all where none is named."""
        return self.node("ReduceMin", tensor, keepdims=0, **({"axes": list(axes)} if axes else {}))

    def maximum(self, first: Tensor, second: Number) -> Tensor:
        """Returns the greater, elementwise."""
        return self.node("Max", first, second)

    def minimum(self, first: Tensor, second: Number) -> Tensor:
        """Returns the lesser, elementwise."""
        return self.node("Min", first, second)

    def where(self, mask: Tensor, true: Tensor, false: Number) -> Tensor:
        """Returns `true` where the mask is, elsewhere `false`."""
        return self.node("Where", mask, true, self.like(true, false), dtype=true.dtype)

    def gather(self, tensor: Tensor, index: Number, axis: int = 0) -> Tensor:
        """Returns the elements at an index along an axis."""
        place = index if isinstance(index, Tensor) else self.scalar(index, np.int64)
        return self.node("Gather", tensor, place, axis=axis)

    def column(self, tensor: Tensor) -> Tensor:
        """Returns the tensor with one more axis at the end."""
        return self.node("Unsqueeze", tensor, self.integers(-1))

    def slice(
        self,
        tensor: Tensor,
        starts: Sequence[Number],
        ends: Sequence[Number],
        steps: Sequence[Number] | None = None,
    ) -> Tensor:
        """Returns `tensor[start:end:step, ...]` of the first axes; negative numbers count from the end."""
        axes = self.integers(*range(len(starts)))
        step = None if steps is None else self.integers(*steps)
        return self.node("Slice", tensor, self.integers(*starts), self.integers(*ends), axes, step)

    def smallest(self, tensor: Tensor, count: Tensor, *, largest: bool = False) -> Tensor:
        """Returns the smallest (largest) elements of a float32 tensor along the last axis, in order."""
        return self.node("TopK", tensor, self.integers(count), axis=-1, largest=int(largest), sorted=1)

    def insert(self, graph: onnx.GraphProto) -> dict[str, Tensor]:
        """Adds the nodes of another graph, whose inputs are values of this one; returns outputs by name."""
        self._nodes.extend(graph.node)
        self._constants.update({tensor.name: tensor for tensor in graph.initializer})
        self._values.extend(graph.value_info)
        self._taken.update(name for node in graph.node for name in node.output)
        return {
            output.name: Tensor(
                self, helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type), output.name
            )
            for output in graph.output
        }

    def built(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        documentation: str,
    ) -> onnx.GraphProto:
        """Returns the graph as ONNX; constants that nothing uses are left out."""
        if self._unnamed:
            raise ValueError(f"{self._unnamed[-1].operator}: its calculation has no name")
        nodes = [node if isinstance(node, onnx.NodeProto) else _proto(node) for node in self._nodes]
        used = {name for node in nodes for name in node.input}
        constants = [tensor for key, tensor in self._constants.items() if key in used]
        return helper.make_graph(
            nodes, name, inputs, outputs, constants, doc_string=documentation, value_info=self._values
        )

    def _take(self, name: str) -> str:
        if name in self._taken:
            raise ValueError(f"{name}: is the name of another value")
        self._taken.add(name)
        return name


def _proto(node: _Calculation) -> onnx.NodeProto:
    inputs = ["" if tensor is None else tensor.name for tensor in node.inputs]
    while inputs and not inputs[-1]:
        inputs.pop()
    outputs = [node.output.name]
    if node.operator == "TopK":
        # Its second output must have a name, though nothing needs it.
        outputs.append(f"{node.name}/places")
    made = helper.make_node(node.operator, inputs, outputs, name=node.name)
    made.attribute.extend(
        helper.make_attribute(name, value) for name, value in sorted(node.attributes.items())
    )
    return made
