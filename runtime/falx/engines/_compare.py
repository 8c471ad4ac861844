"""Compares a graph with its card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from falx.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from falx.model.card import TensorSpec


def compare(kind: str, found: Iterable[TensorSpec], expected: Iterable[TensorSpec]) -> None:
    """Compares the inputs or the outputs of a graph with those of its card, in any order.

    Raises:
        GraphError: they differ.
    """
    got, wanted = _listed(found), _listed(expected)
    if got != wanted:
        raise GraphError(f"the graph's {kind}s are {got}, its card says {wanted}; export the model again")


def _listed(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(sorted(f"{s.name} {s.dtype} {list(s.shape)}" for s in specs)) or "none"
