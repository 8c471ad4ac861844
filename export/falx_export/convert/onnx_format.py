"""The version of the ONNX format that Falx writes, and the operators that its graphs may hold."""

from __future__ import annotations

from typing import Final

import onnx

from falx_export.errors import ConversionError

OPSET: Final = 17
"""Per-channel QuantizeLinear needs 13; 17 is read by every ONNX Runtime from 1.12 on."""

IR_VERSION: Final = 8
"""The file format that goes with opset 17."""

FORBIDDEN: Final = frozenset({"If", "Loop", "Scan"})

DOMAINS: Final = frozenset({"", "ai.onnx"})
"""Operators of other domains run in one engine only."""


def prove(model: onnx.ModelProto) -> None:
    """Proves that a graph is valid, and holds operators that every engine runs."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"the ONNX graph is not valid: {error}") from error
    bad = {n.op_type for n in model.graph.node if n.op_type in FORBIDDEN or n.domain not in DOMAINS}
    if bad:
        raise ConversionError(f"the ONNX graph holds {', '.join(sorted(bad))}, which not every engine runs")
