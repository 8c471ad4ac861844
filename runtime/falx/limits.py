"""The parameters of the rejection checks, which stand in the card beside the thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the rejection checks draw their lines; the defaults are the built-in ones.

    Attributes:
        minimum_side: a slice with a shorter side, in pixels, is `too_small`.
        minimum_contrast: a slice whose brightness spans fewer grey levels, 0..255, is `blank`.
        maximum_colour: a slice with a higher mean distance between its strongest and weakest
            colour channel, 0..1, is `not_grey`.

    Raises:
        ValueError: a value is not a number of its range.
    """

    minimum_side: float = 48
    minimum_contrast: float = 24
    maximum_colour: float = 0.08

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{field.name} must be a number, got {value!r}")  # noqa: TRY004 - one type
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{field.name} must be finite and not negative, got {value!r}")

    def to_dict(self) -> dict[str, float]:
        """The parameters by name."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, float]) -> Limits:
        """Limits from a mapping; what it leaves out is as built in.

        Raises:
            ValueError: a name is unknown or a value is not of its range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown parameter {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return cls(**values)
