"""One grey slice, and the place it comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from falx.errors import UnreadableImage
    from falx.slices.reasons import Reason

__all__ = ["Holder", "Origin", "Part", "Slice", "Unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The place of a slice in a DICOM object or a volume; the attributes are those of the JSON.

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
        """Returns the origin as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One grey slice.

    Attributes:
        pixels: `(H, W)` uint8, 0 black to 255 white, at least 1 x 1.
        colour: mean distance between the strongest and the weakest colour channel, 0 (grey) to 1.
        origin: where in a DICOM object or a volume it stands; None for other pictures.
        doubt: what speaks against a slice of a head without deciding it; None where nothing does.
    """

    pixels: npt.NDArray[np.uint8]
    colour: float = 0.0
    origin: Origin | None = None
    doubt: Reason | None = None


@runtime_checkable
class Holder(Protocol):
    """A file or data set that holds slices."""

    @property
    def name(self) -> str:
        """The name that messages give the file."""

    @property
    def path(self) -> str | None:
        """The path of the file, as it was given; None where there is none."""

    @property
    def frames(self) -> int:
        """The number of slices."""

    def read(self, number: int) -> Slice:
        """Reads the slice of this number, from 1."""

    def origin(self, number: int) -> Origin | None:
        """Returns where the slice of this number stands; None where nothing is known of that."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that cannot be read, in the place of its slices: reading the one it has raises its error.

    Attributes:
        name: The name that messages give the file.
        path: The path of the file, as it was given; None where there is none.
        error: Why the file cannot be read.
        frames: 1.
    """

    name: str
    path: str | None
    error: UnreadableImage
    frames: int = 1

    def read(self, number: int) -> Slice:  # noqa: ARG002 - as other holders
        """Raises the error."""
        raise self.error.with_traceback(None)

    def origin(self, number: int) -> None:
        """Returns None."""


@dataclass(frozen=True, slots=True)
class Part:
    """One slice of a file that holds several, to be given to a classifier in place of a file.

    Attributes:
        holder: The file or data set.
        number: Which of its slices, from 1.
    """

    holder: Holder
    number: int
