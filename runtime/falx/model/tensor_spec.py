"""The inputs and outputs of a graph: the part of the card that engines compare with the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from falx.errors import CardError, GraphError

SIDE: Final = 224
"""`falx.slices.preprocessing.SIZE`, which brings NumPy; a card needs the standard library only."""

INPUT_SHAPE: Final = (1, SIDE, SIDE, 1)
OUTPUTS: Final = {
    "probabilities": "(1, 4)",
    "heatmap": "(1, N, N) with N in 1..224",
    "familiarity": "(1, 1)",
    "no_brain": "(1, 1)",
}
"""The outputs that a graph may have, in this order, and their shapes; only the first is in every model."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a graph.

    Attributes:
        name, dtype: as the graph calls them.
        shape: a number for each axis; a name for one of any length, which only self-contained graphs have.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @classmethod
    def from_mapping(cls, value: Mapping[str, Any]) -> TensorSpec:
        """Makes a spec of what stands in the card."""
        if set(value) != {"name", "dtype", "shape"}:
            raise ValueError("expected name, dtype and shape")
        return cls(value["name"], value["dtype"], tuple(value["shape"]))


IMAGE: Final = TensorSpec("image", "uint8", INPUT_SHAPE)
"""The input of every graph but self-contained ones."""


def is_output(name: str, shape: Sequence[object]) -> bool:
    """Tells whether a graph may have this output in this shape, with a batch of one in front."""
    if name == "heatmap":
        return len(shape) == 3 and shape[0] == 1 and shape[1] == shape[2] and shape[1] in range(1, SIDE + 1)
    return name in OUTPUTS and tuple(shape) == ((1, 4) if name == "probabilities" else (1, 1))


def check_tensors(image: TensorSpec, outputs: Mapping[str, TensorSpec]) -> None:
    """Proves that Falx can use a graph with this input and these outputs."""
    if image != IMAGE:
        raise _wrong("input", IMAGE, image)
    if "probabilities" not in outputs:
        raise CardError(f"card: outputs must have probabilities, got {', '.join(outputs) or 'none'}")
    for name, spec in outputs.items():
        if name not in OUTPUTS:
            raise CardError(f"card: outputs must be of {', '.join(OUTPUTS)}, got {name!r}")
        if (spec.name, spec.dtype) != (name, "float32") or not is_output(name, spec.shape):
            raise _wrong(f"outputs.{name}", f"{name}, float32, {OUTPUTS[name]}", spec)


def check_own_tensors(image: TensorSpec, outputs: Mapping[str, TensorSpec]) -> None:
    """Proves that a self-contained graph names its tensors; it may have any."""
    if not outputs:
        raise CardError("card: outputs must have at least one, got none")
    for name, spec in {"input": image, **{f"outputs.{key}": spec for key, spec in outputs.items()}}.items():
        if not (_is_text(spec.name) and _is_text(spec.dtype)) or not all(
            _is_axis(axis) for axis in spec.shape
        ):
            raise _wrong(name, "a name, a type and axes, each a number from 1 or a name", spec)
    for name, spec in outputs.items():
        if spec.name != name:
            raise _wrong(f"outputs.{name}", f"the output {name!r}", spec)


def compare(kind: str, found: Iterable[TensorSpec], expected: Iterable[TensorSpec]) -> None:
    """Compares the inputs or the outputs of a graph with those of its card, in any order."""
    got, wanted = (
        ", ".join(sorted(f"{s.name} {s.dtype} {list(s.shape)}" for s in specs)) or "none"
        for specs in (found, expected)
    )
    if got != wanted:
        raise GraphError(f"the graph's {kind}s are {got}, its card says {wanted}; export the model again")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_axis(value: object) -> bool:
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return number or _is_text(value)


def _wrong(name: str, expected: object, got: TensorSpec) -> CardError:
    return CardError(f"card: {name} must be {expected}, got {got}; export the model again")
