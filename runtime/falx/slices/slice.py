"""One grey slice, and where it comes from where a file holds several."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from falx.slices.reasons import Reason

__all__ = ["Holder", "Origin", "Part", "Slice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a slice stands in a DICOM object or a volume; the attributes are those of the JSON.

    Nothing else of a data set becomes part of a result: no name, date, description or private element.
    """

    format: str
    frame: int | None = None
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    series_instance_uid: str | None = None
    study_instance_uid: str | None = None
    plane: str | None = None
    sequence: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The origin as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One grey slice.

    Attributes:
        pixels: `(H, W)` uint8, 0 black to 255 white, at least 1 x 1.
        colour: mean distance between the strongest and the weakest colour channel, 0 (grey) to 1.
        origin: where in a DICOM object or a volume it stands; None for other pictures.
        doubt: why it may be no slice of a head although nothing decisive speaks against it; None where
            nothing does.
    """

    pixels: npt.NDArray[np.uint8]
    colour: float = 0.0
    origin: Origin | None = None
    doubt: Reason | None = None


class Holder(Protocol):
    """A file or data set that holds several slices."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def path(self) -> str | None:
        """Of the file, as it was given; None where it is none."""

    def read(self, number: int) -> Slice:
        """The slice of this number, from 1."""

    def origin(self, number: int) -> Origin | None:
        """Where the slice of this number stands; None where nothing is known of that."""


@dataclass(frozen=True, slots=True)
class Part:
    """One slice of a file that holds several, to be given to a classifier in place of a file.

    Attributes:
        holder: what holds it.
        number: which one, from 1.
    """

    holder: Holder
    number: int
