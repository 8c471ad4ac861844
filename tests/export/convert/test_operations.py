"""The operations that stay in float follow from what depends on what."""

from __future__ import annotations

import pytest

from falx_export.convert.operations import Operation, left_in_float
from falx_export.errors import ConversionError


def operations(*rows: str) -> list[Operation]:
    """Operations, each told as `Kind: inputs -> output`."""
    split = [(kind, ends.split(" -> ")) for kind, ends in (row.split(": ") for row in rows)]
    return [Operation(kind, tuple(given.split()), (made,)) for kind, (given, made) in split]


BACKBONE = operations(
    "Cast: image -> a", "Conv: a w -> b", "Conv: b w -> c", "Conv: c w -> d", "Clip: d -> features"
)
POOLED = operations(
    "GlobalAveragePool: features -> pool",
    "Squeeze: pool -> flat",
    "MatMul: flat w -> sum",
    "Add: sum bias -> biased",
    "Relu: biased -> hidden",
    "MatMul: hidden w -> logits",
    "Add: logits bias -> more",
    "Softmax: more -> probabilities",
)
MAP = operations("Conv: features w -> evidence", "Sigmoid: evidence -> heatmap")


OUTPUTS = ["probabilities", "heatmap", "familiarity"]


def in_float(operations: list[Operation], stem: int = 1) -> list[str]:
    return [str(operations[index].outputs[0]) for index in sorted(left_in_float(operations, OUTPUTS, stem))]


def test_the_stem_and_all_behind_the_hidden_layer() -> None:
    assert in_float(BACKBONE + POOLED) == ["a", "b", "logits", "more", "probabilities"]
    assert in_float(BACKBONE + POOLED, stem=2)[:3] == ["a", "b", "c"]


@pytest.mark.parametrize("place", range(len(POOLED) + 1))
def test_the_map_wherever_the_converter_put_it(place: int) -> None:
    operations = BACKBONE + POOLED[:place] + MAP + POOLED[place:]
    assert set(in_float(operations)) == {"a", "b", "logits", "more", "probabilities", "evidence", "heatmap"}


def test_the_map_past_a_change_of_layout() -> None:
    turned = operations("Transpose: features -> turned", "ReduceMean: turned -> pool")
    assert {"evidence", "heatmap"} <= set(in_float(BACKBONE + turned + POOLED[1:] + MAP))


EVIDENCE = operations(
    "Conv: features w -> coarse",
    "Resize: coarse -> finer",
    "Conv: d w -> fine",
    "Add: finer fine -> both",
    "Relu: both -> both_relu",
    "Conv: both_relu w -> around",
    "Conv: around w -> evidence",
    "Sigmoid: evidence -> heatmap",
    "ReduceMax: evidence -> strongest",
    "MatMul: strongest w -> local",
    "Add: more local -> sum",
    "Softmax: sum -> probabilities",
    "Gemm: hidden w -> known",
    "Sigmoid: known -> familiarity",
)


def test_the_last_layer_before_each_output() -> None:
    # The other way to probabilities also ends in a layer of its own.
    assert in_float(BACKBONE + POOLED[:-1] + EVIDENCE) == [
        *("a", "b", "logits", "more", "evidence", "heatmap", "strongest", "local", "sum"),
        *("probabilities", "known", "familiarity"),
    ]
    # An output that others are computed from is one all the same.
    behind = MAP + operations("MatMul: heatmap w -> x", "Sigmoid: x -> familiarity")
    assert in_float(BACKBONE + behind) == ["a", "b", "evidence", "heatmap", "x", "familiarity"]


def test_a_graph_of_another_kind_is_refused() -> None:
    with pytest.raises(ConversionError, match="expected a graph with more than 3 convolutions, got 3"):
        left_in_float(BACKBONE + POOLED, OUTPUTS, 3)
