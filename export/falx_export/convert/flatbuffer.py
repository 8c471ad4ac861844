"""Reads TFLite graphs, which are flatbuffers, joins them end to start, and writes them again.

A joined graph holds the very weights and operations of its parts. So what is put before or behind a
quantized graph costs no second quantization, and cannot change what it answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from falx.model.attachment import TFLITE_IDENTIFIER
from falx_export.convert.graph import unused
from falx_export.errors import ConversionError

TfliteGraph: TypeAlias = schema.ModelT
"""A graph in the mutable form of the TFLite schema."""

_KINDS: Final = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
_ABSENT: Final = -1
"""Stands for an optional input that is not given."""

_RUNTIME: Final = b"min_runtime_version"
"""The metadata entry with the oldest version of TFLite that has every operation."""


def parsed(data: bytes) -> TfliteGraph:
    """Reads a graph."""
    return schema.ModelT.InitFromPackedBuf(data, 0)


def packed(document: TfliteGraph) -> bytes:
    """Returns the bytes of a graph; equal graphs give equal bytes."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(document.Pack(builder), file_identifier=TFLITE_IDENTIFIER)
    return bytes(builder.Output())


def kinds(document: TfliteGraph) -> list[str]:
    """Returns the kind of each operation, in their order, as `BuiltinOperator` calls it."""
    codes = [_KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in document.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in document.subgraphs[0].operators]


def named(document: TfliteGraph, indices: Iterable[int]) -> dict[str, int]:
    """Returns the indices of tensors, a graph's inputs or outputs, by their names."""
    return {document.subgraphs[0].tensors[int(index)].name.decode(): int(index) for index in indices}


def joined(
    first: TfliteGraph, second: TfliteGraph, wires: Mapping[str, str], outputs: Sequence[str]
) -> TfliteGraph:
    """Joins two graphs, which are taken apart: some outputs of the first become the inputs of the second.

    Args:
        first: a graph.
        second: a graph all of whose inputs are wired.
        wires: the names of outputs of the first, by the names of the second's inputs.
        outputs: names of the result's outputs, of either part, in their order. What none of them depends
            on is left out.

    Returns:
        A graph with the inputs of the first, without signatures (`sign` gives it one).
    """
    start, end = first.subgraphs[0], second.subgraphs[0]
    ends, starts = named(first, start.outputs), named(second, end.inputs)
    if set(starts) != set(wires) or not set(wires.values()) <= set(ends):
        raise ConversionError(f"cannot join TFLite graphs: {wires} for {sorted(starts)} and {sorted(ends)}")
    codes, buffers, tensors = len(first.operatorCodes), len(first.buffers), len(start.tensors)
    moved = {starts[name]: ends[wire] for name, wire in wires.items()} | {_ABSENT: _ABSENT}
    for tensor in end.tensors:
        tensor.buffer += buffers
    for operator in end.operators:
        operator.opcodeIndex += codes
        operator.inputs = [moved.get(int(i), int(i) + tensors) for i in operator.inputs]
        operator.outputs = [int(i) + tensors for i in operator.outputs]
    available = ends | {name: index + tensors for name, index in named(second, end.outputs).items()}
    missing = [name for name in outputs if name not in available]
    if missing:
        raise ConversionError(f"cannot join TFLite graphs: no output {', '.join(missing)}")
    first.metadata = _both_metadata(first, second, buffers)
    first.operatorCodes += second.operatorCodes
    first.buffers += second.buffers
    start.tensors += end.tensors
    start.operators += end.operators
    start.outputs = [available[name] for name in outputs]
    first.signatureDefs = None
    _prune(first)
    _name_apart(first, outputs)
    return first


def without_detours(document: TfliteGraph) -> None:
    """Takes out quantizations of a tensor that are undone at once: they only round it.

    TFLite's quantizer leaves one behind a sigmoid that it was told to leave alone.
    """
    graph = document.subgraphs[0]
    makers = {int(o.outputs[0]): (o, kind) for o, kind in zip(graph.operators, kinds(document), strict=True)}
    spared: dict[int, int] = {}
    for index, (operator, kind) in makers.items():
        maker, makes = makers.get(int(operator.inputs[0]), (None, ""))
        if kind == "DEQUANTIZE" and makes == "QUANTIZE":
            spared[index] = int(maker.inputs[0])
    for operator in graph.operators:
        operator.inputs = [spared.get(int(i), int(i)) for i in operator.inputs]
    graph.outputs = [spared.get(int(i), int(i)) for i in graph.outputs]
    _prune(document)


def sign(document: TfliteGraph) -> None:
    """Gives a graph the signature `serving_default`, with its inputs and outputs by their names."""
    graph = document.subgraphs[0]

    def maps(indices: Iterable[int]) -> list[schema.TensorMapT]:
        entries = []
        # Engines find the entries by name; sorted, as the converter writes them.
        for name, index in sorted(named(document, indices).items()):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            entries.append(entry)
        return entries

    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.subgraphIndex = 0
    signature.inputs = maps(graph.inputs)
    signature.outputs = maps(graph.outputs)
    document.signatureDefs = [signature]


def add_metadata(document: TfliteGraph, name: str, content: bytes) -> None:
    """Adds an entry to a graph's metadata, or replaces the one of this name."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    for entry in document.metadata or []:
        if entry.name == name.encode():
            document.buffers[entry.buffer] = buffer
            return
    entry = schema.MetadataT()
    entry.name, entry.buffer = name.encode(), len(document.buffers)
    document.buffers.append(buffer)
    document.metadata = [*(document.metadata or []), entry]


def _both_metadata(first: TfliteGraph, second: TfliteGraph, buffers: int) -> list[schema.MetadataT]:
    """Returns the first graph's entries, with the runtime version of the more demanding graph."""
    older, newer = ({e.name: e for e in part.metadata or []}.get(_RUNTIME) for part in (first, second))
    if older and newer:
        versions = [
            tuple(int(x) for x in bytes(part.buffers[entry.buffer].data).rstrip(b"\0").split(b"."))
            for part, entry in ((first, older), (second, newer))
        ]
        if versions[1] > versions[0]:
            older.buffer = newer.buffer + buffers
    return list(first.metadata or [])


def _prune(document: TfliteGraph) -> None:
    """Leaves out the operations, tensors and buffers that no output depends on."""
    graph = document.subgraphs[0]
    needed, kept = {int(i) for i in graph.outputs}, []
    for operator in reversed(graph.operators):
        if not needed.isdisjoint(int(i) for i in operator.outputs):
            needed.update(int(i) for i in (*operator.inputs, *operator.outputs) if i != _ABSENT)
            kept.append(operator)
    graph.operators = kept[::-1]
    needed.update(int(i) for i in graph.inputs)
    places = {old: new for new, old in enumerate(sorted(needed))} | {_ABSENT: _ABSENT}
    graph.tensors = [graph.tensors[old] for old in sorted(needed)]
    graph.inputs = [places[int(i)] for i in graph.inputs]
    graph.outputs = [places[int(i)] for i in graph.outputs]
    for operator in graph.operators:
        operator.inputs = [places[int(i)] for i in operator.inputs]
        operator.outputs = [places[int(i)] for i in operator.outputs]
    _prune_codes(document)
    _prune_buffers(document)


def _prune_codes(document: TfliteGraph) -> None:
    operators, codes = document.subgraphs[0].operators, document.operatorCodes

    def key(code: schema.OperatorCodeT) -> tuple[int, int, int, bytes | None]:
        return code.builtinCode, code.deprecatedBuiltinCode, code.version, code.customCode

    kept = {key(codes[operator.opcodeIndex]): codes[operator.opcodeIndex] for operator in operators}
    places = {entry: place for place, entry in enumerate(kept)}
    for operator in operators:
        operator.opcodeIndex = places[key(codes[operator.opcodeIndex])]
    document.operatorCodes = list(kept.values())


def _prune_buffers(document: TfliteGraph) -> None:
    entries = document.metadata or []
    # The first buffer is empty, and stands for "none" by convention.
    used = sorted({0, *(t.buffer for t in document.subgraphs[0].tensors), *(e.buffer for e in entries)})
    places = {old: new for new, old in enumerate(used)}
    document.buffers = [document.buffers[old] for old in used]
    for holder in (*document.subgraphs[0].tensors, *entries):
        holder.buffer = places[holder.buffer]


def _name_apart(document: TfliteGraph, outputs: Sequence[str]) -> None:
    """Gives every tensor a name of its own; inputs and outputs keep theirs."""
    graph = document.subgraphs[0]
    ends = {int(i) for i in (*graph.inputs, *graph.outputs)}
    taken = set(outputs) | set(named(document, graph.inputs))
    for index, tensor in enumerate(graph.tensors):
        if index not in ends:
            tensor.name = unused(tensor.name.decode(), taken).encode()
