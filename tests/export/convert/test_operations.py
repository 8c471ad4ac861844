"""The operations that stay in float follow from what depends on what."""

from __future__ import annotations

import pytest

from falx_export.convert.operations import Operation, left_in_float, unfolded
from falx_export.errors import ConversionError

BACKBONE = [
    Operation("Cast", ("image",), ("a",)),
    Operation("Conv", ("a", "w"), ("b",)),
    Operation("Conv", ("b", "w"), ("c",)),
    Operation("Conv", ("c", "w"), ("d",)),
    Operation("Clip", ("d",), ("features",)),
]
POOLED = [
    Operation("GlobalAveragePool", ("features",), ("pool",)),
    Operation("Squeeze", ("pool",), ("flat",)),
    Operation("MatMul", ("flat", "w"), ("sum",)),
    Operation("Add", ("sum", "bias"), ("biased",)),
    Operation("Relu", ("biased",), ("hidden",)),
    Operation("MatMul", ("hidden", "w"), ("logits",)),
    Operation("Add", ("logits", "bias"), ("more",)),
    Operation("Softmax", ("more",), ("probabilities",)),
]
MAP = [
    Operation("Conv", ("features", "w"), ("evidence",)),
    Operation("Sigmoid", ("evidence",), ("heatmap",)),
]


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
    turned = [
        Operation("Transpose", ("features",), ("turned",)),
        Operation("ReduceMean", ("turned",), ("pool",)),
        *POOLED[1:],
    ]
    assert {"evidence", "heatmap"} <= set(in_float(BACKBONE + turned + MAP))


EVIDENCE = [
    Operation("Conv", ("features", "w"), ("coarse",)),
    Operation("Resize", ("coarse",), ("finer",)),
    Operation("Conv", ("d", "w"), ("fine",)),
    Operation("Add", ("finer", "fine"), ("both",)),
    Operation("Relu", ("both",), ("both_relu",)),
    Operation("Conv", ("both_relu", "w"), ("around",)),
    Operation("Conv", ("around", "w"), ("evidence",)),
    Operation("Sigmoid", ("evidence",), ("heatmap",)),
    Operation("ReduceMax", ("evidence",), ("strongest",)),
    Operation("MatMul", ("strongest", "w"), ("local",)),
    Operation("Add", ("more", "local"), ("sum",)),
    Operation("Softmax", ("sum",), ("probabilities",)),
    Operation("Gemm", ("hidden", "w"), ("known",)),
    Operation("Sigmoid", ("known",), ("familiarity",)),
]


def test_of_a_head_of_many_layers_the_last_before_each_output() -> None:
    # The other way to probabilities also ends in a layer of its own.
    assert in_float(BACKBONE + POOLED[:-1] + EVIDENCE) == [
        *("a", "b", "logits", "more", "evidence", "heatmap", "strongest", "local", "sum"),
        *("probabilities", "known", "familiarity"),
    ]


def test_an_output_that_others_are_computed_from_is_one_all_the_same() -> None:
    behind = [
        *MAP,
        Operation("MatMul", ("heatmap", "w"), ("x",)),
        Operation("Sigmoid", ("x",), ("familiarity",)),
    ]
    assert in_float(BACKBONE + behind) == ["a", "b", "evidence", "heatmap", "x", "familiarity"]


def test_a_graph_of_another_kind_is_refused() -> None:
    with pytest.raises(ConversionError, match="expected a graph with more than 3 convolutions, got 3"):
        left_in_float(BACKBONE + POOLED, OUTPUTS, 3)
    nothing = (
        "expected a graph with layers to quantize between its stem and the last layer before each output"
    )
    with pytest.raises(ConversionError, match=nothing):
        left_in_float(BACKBONE, ["features"], 2)


@pytest.mark.parametrize("kind", ["Add", "Mul", "Sub", "Div"])
def test_arithmetic_behind_a_convolution_is_batch_normalisation(kind: str) -> None:
    behind = [*BACKBONE, Operation(kind, ("d", "scale"), ("e",))]
    assert unfolded(behind, {"w", "scale"}) == [f"{kind} behind Conv"]
    # A residual connection adds what was computed.
    assert unfolded(behind, {"w"}) == []
    assert unfolded(BACKBONE + POOLED + MAP, {"w", "bias"}) == []


def test_it_is_found_in_a_quantized_graph() -> None:
    behind = [
        *BACKBONE,
        Operation("QuantizeLinear", ("d", "step"), ("coarse",)),
        Operation("DequantizeLinear", ("coarse", "step"), ("e",)),
        Operation("DequantizeLinear", ("scale", "step"), ("f",)),
        Operation("Mul", ("f", "e"), ("g",)),
    ]
    assert unfolded(behind, {"w", "scale", "step"}) == ["Mul behind Conv"]
