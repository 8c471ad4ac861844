"""Everything Falx raises on purpose.

```
FalxError
├── UnreadableImage(ValueError)              an input that cannot be turned into one grey slice
│   ├── ImageNotFound(FileNotFoundError)     its file, or an image in its folder, is not there
│   ├── ImageForbidden(PermissionError)      its file may not be read
│   ├── DicomUnavailable(ImportError)        it is DICOM, and what reads it is not installed
│   ├── VolumeUnavailable(ImportError)       it is a volume, and nibabel is not installed
│   └── NotASlice                            it is DICOM, and by its tags no MR slice of a head
├── ModelError(ValueError)                   a model file that cannot be used
│   ├── ModelNotFound(FileNotFoundError)     it is not there
│   ├── CardError                            its card is missing, foreign or wrong
│   ├── ChecksumError                        it is not the file that was written
│   └── GraphError                           its graph is not what its card says
├── EngineUnavailable(ImportError)           the engine asked for cannot run here
├── UnknownEngine(ValueError)                there is no engine of that name
├── ThresholdError(ValueError)               thresholds outside (0, 1], missing, or for no label
├── Cancelled                                a caller's progress function asked to stop
├── HeatmapUnavailable(ValueError)           a heatmap is asked of a model that makes none
├── OutputError(OSError)                     a file or folder that cannot be written, or is there already
└── AddressUnavailable(OSError)              an address or port that cannot be listened at
FalxWarning(UserWarning)                     works, but not as well as it could
```

Rooms add errors of their own: `falx.workstation.errors`, `falx.app.streamlit_server`, `falx.app.fonts` and
`falx.command.journal`.

Each error is also the builtin a caller would expect, so `except ValueError` and `except FalxError`
both do what they say. A message says what was expected, what came, and what to do.
"""

# ruff: noqa: N818 - each name says what is wrong; `Error` would add nothing to `UnreadableImage`

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from falx.slices.reasons import Reason
    from falx.slices.slice import Origin

__all__ = [
    "AddressUnavailable",
    "Cancelled",
    "CardError",
    "ChecksumError",
    "DicomUnavailable",
    "EngineUnavailable",
    "FalxError",
    "FalxWarning",
    "GraphError",
    "HeatmapUnavailable",
    "ImageForbidden",
    "ImageNotFound",
    "ModelError",
    "ModelNotFound",
    "NotASlice",
    "OutputError",
    "ThresholdError",
    "UnknownEngine",
    "UnreadableImage",
    "VolumeUnavailable",
]


class FalxError(Exception):
    """Anything Falx raises on purpose. Two are equal where they say the same, in this process or another."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and (self.args, vars(self)) == (other.args, vars(other))

    def __hash__(self) -> int:
        return hash((type(self), self.args))


class UnreadableImage(FalxError, ValueError):
    """An input cannot be turned into one grey slice."""


# What is an OSError names it first: Dask makes an error again by the first `__new__` of its
# bases, and OSError allows no other than its own.
class ImageNotFound(FileNotFoundError, UnreadableImage):
    """The file of an input does not exist, or a folder holds no image."""


class ImageForbidden(PermissionError, UnreadableImage):
    """The file of an input may not be read."""


class DicomUnavailable(UnreadableImage, ImportError):
    """An input is DICOM, and a package that reads it is not installed."""


class VolumeUnavailable(UnreadableImage, ImportError):
    """An input is a volume, and the package that reads it is not installed."""


class NotASlice(UnreadableImage):
    """A DICOM object is, by its tags, no MR slice of a head. A classifier answers it with `rejected`.

    Attributes:
        reason: why a classifier rejects the picture.
        origin: where in the object.
    """

    def __init__(self, message: str, reason: Reason, origin: Origin | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.origin = origin

    def __reduce__(self) -> tuple[type[NotASlice], tuple[str, Reason, Origin | None]]:
        return type(self), (str(self), self.reason, self.origin)


class ModelError(FalxError, ValueError):
    """A model file cannot be used."""


class ModelNotFound(FileNotFoundError, ModelError):
    """The model file does not exist."""


class CardError(ModelError):
    """A card is missing, is not Falx's, or says something it must not."""


class ChecksumError(ModelError):
    """A model file is not, byte for byte, the file that was written."""


class GraphError(ModelError):
    """A graph cannot be run, or its inputs and outputs are not those of its card."""


class EngineUnavailable(FalxError, ImportError):
    """The engine asked for is not installed, or does not run here."""


class UnknownEngine(FalxError, ValueError):
    """There is no engine of that name."""


class ThresholdError(FalxError, ValueError):
    """A threshold lies outside (0, 1], is missing, or belongs to no label."""


class Cancelled(FalxError):
    """A caller's progress function asked to stop."""


class HeatmapUnavailable(FalxError, ValueError):
    """A heatmap is asked of a model that makes none."""


class OutputError(FalxError, OSError):
    """A file or folder cannot be written, or is there already and would be replaced."""


class AddressUnavailable(FalxError, OSError):
    """An address and port cannot be listened at: the port is taken, or the address is another machine's."""


class FalxWarning(UserWarning):
    """Something works, but not as well as it could; the message says what would."""
