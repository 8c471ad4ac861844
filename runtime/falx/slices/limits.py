"""The parameters of the rejection checks, which stand in the card beside the thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the rejection checks; the defaults are the built-in ones.

    Chosen on Falx's training and validation data so that hardly a slice of it is rejected (a test of
    `falx.slices.rejection` holds how few, where that data is at hand), while drawn noise, gradients, shapes
    and pages of text are. Those few have a grey background or a bright neck in the corners. Plain checks
    cannot tell a head from all else that is bright on black: a flower before a dark hedge or a chest film
    with dark margins passes.

    Attributes:
        minimum_side: a slice with a shorter side, in pixels, is `too_small`.
        minimum_contrast: a slice whose brightness spans fewer grey levels, 0..255, is `blank`.
        maximum_colour: a slice with a higher mean distance between its strongest and weakest colour
            channel, 0..1, is `not_grey`.
        maximum_background: `no_head` where the second darkest corner is brighter than this fraction of
            the slice's bright parts.
        maximum_third_corner: the same for the third darkest corner; a neck may reach the fourth.
        minimum_head: `no_head` where less than this fraction of the slice is bright.
        minimum_solidity: `no_head` where less than this fraction of what the bright parts enclose is
            bright on the coarse grid: it is scattered.
        minimum_lit: the same on the slice's own pixels: lines on black, such as text.
        minimum_detail: `no_head` where neighbours on the coarse grid differ by less than this fraction
            of the bright parts: drawings and gradients.
        maximum_detail: `no_head` where they differ by more: noise.
        least_familiarity: `unfamiliar`, or `no_brain`, where the model, if it says so, gives the picture a
            lower probability of being a slice of a brain at all, 0..1; 0 rejects nothing. Each model has its
            own.

    Raises:
        ValueError: a value is not a number of its range.
    """

    minimum_side: float = 64
    minimum_contrast: float = 24
    maximum_colour: float = 0.05
    maximum_background: float = 0.20
    maximum_third_corner: float = 0.40
    minimum_head: float = 0.06
    minimum_solidity: float = 0.65
    minimum_lit: float = 0.55
    minimum_detail: float = 0.025
    maximum_detail: float = 0.50
    least_familiarity: float = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{field.name} must be a number, got {value!r}")  # noqa: TRY004 - one type
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{field.name} must be finite and not negative, got {value!r}")
        if self.least_familiarity > 1:
            raise ValueError(f"least_familiarity must be in 0..1, got {self.least_familiarity!r}")

    def to_dict(self) -> dict[str, float]:
        """Returns the parameters by name."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, float]) -> Limits:
        """Returns limits from a mapping; those that it leaves out are as built in.

        Raises:
            ValueError: a name is unknown or a value is not of its range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown parameter {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return cls(**values)
