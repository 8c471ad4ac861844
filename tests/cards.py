"""The card of a tiny model, any field of which can be another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from falx.decision import DEFAULT_THRESHOLDS
from falx.model.card import Card
from falx.model.tensor_spec import TensorSpec

PLAIN: dict[str, tuple[int, ...]] = {"probabilities": (1, 4), "heatmap": (1, 7, 7)}


def card(shapes: Mapping[str, tuple[int, ...]] = PLAIN, **changes: Any) -> Card:
    """Returns a card whose outputs have these shapes, with fields changed."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "version": "1.2.3",
        "license": "Apache-2.0",
        "intended_use": "Tests.",
        "thresholds": DEFAULT_THRESHOLDS,
        "temperature": 1.0,
        "metrics": {"accuracy": 0.5, "data": {"name": "none"}},
        "provenance": {"seed": 7},
        "quantization": {"format": "float32", "scheme": "none"},
        "outputs": {name: TensorSpec(name, "float32", shape) for name, shape in shapes.items()},
    }
    return Card(**fields | changes)


CARD = card()
