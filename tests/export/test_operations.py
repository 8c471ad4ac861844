"""Which operations stay in float, told by what depends on what."""

from __future__ import annotations

import pytest

from falx_export.errors import ConversionError
from falx_export.operations import Operation, left_in_float, unfolded

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


def in_float(operations: list[Operation], stem: int = 1) -> list[str]:
    return [str(operations[index].outputs[0]) for index in sorted(left_in_float(operations, stem))]


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


def test_a_graph_of_another_kind_is_refused() -> None:
    with pytest.raises(ConversionError, match="with one pooling and more than 1 convolutions, got 0 and 3"):
        left_in_float(BACKBONE, 1)
    with pytest.raises(ConversionError, match="with one pooling and more than 3 convolutions, got 1 and 3"):
        left_in_float(BACKBONE + POOLED, 3)
    with pytest.raises(ConversionError, match="a layer with weights behind the pooling, found none"):
        left_in_float(BACKBONE + POOLED[:2], 1)


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
