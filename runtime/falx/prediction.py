"""The answer for a slice: a prediction, or a failure where an input could not be read.

Both are values: they compare, hash, pickle and copy, and go through `dataclasses.asdict`.

As JSON (version 1; within a version keys are only added), `to_dict()` gives what follows; `schema.json` in
this package says it to programs (JSON Schema):

| key | value |
|---|---|
| `schema` | 1, the version of this table |
| `path` | as it was given; null where the input was not a file |
| `decision` | a label, `ambiguous` or `rejected` |
| `confidence` | the probability of the decided label; null for `ambiguous` and `rejected` |
| `band` | `high`, `moderate` or `low`; null where `confidence` is |
| `probabilities` | of every label, in 0..1; null for `rejected`: they would mean nothing |
| `recommendation` | a sentence |
| `thresholds` | the least probability of every label at which it was decided |
| `thresholds_changed` | the labels whose threshold a caller gave, different from the model's own |
| `reason` | only for `rejected`: `code` (a key of `falx.slices.reasons`), `message` |
| `origin` | only for DICOM and for volumes: where in them the slice stands, see below |
| `model` | `name`, `version`, and `sha256` of the file |
| `elapsed_ms` | from opening the input to the decision, in milliseconds |
| `timings` | only where asked for: what each step took, in milliseconds (`falx.timings`) |

and a failure gives `schema`, `path`, `error`, with `type` (a class of `falx.errors`) and `message`, and
`origin` as above. The `origin` of a slice has, each null where it is unknown:

| key | value |
|---|---|
| `format` | `dicom`, `nifti`, `mgh`, `nrrd`, `tiff` (a page of several) or `array` (a volume of a caller) |
| `frame` | which frame of a file of several, or which slice of a volume, from 1; null in a file of one |
| `sop_class_uid`, `sop_instance_uid` | of the DICOM object |
| `series_instance_uid`, `study_instance_uid` | of its series and study |
| `plane` | `axial`, `coronal` or `sagittal`, within 45 degrees |
| `sequence` | `T1`, `T1C+`, `T2`, `FLAIR`, `PD` or `DWI`, as far as the tags tell |

The `path` of a frame is that of its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from falx.decision import Thresholds
from falx.errors import UnreadableImage
from falx.frozen import FrozenDict
from falx.slices.preprocessing import SIZE, Frame
from falx.slices.reasons import Reason
from falx.slices.slice import Origin
from falx.timings import Timings

if TYPE_CHECKING:
    import numpy.typing as npt


__all__ = ["SCHEMA", "Failure", "Location", "ModelIdentity", "Prediction"]

SCHEMA: Final = 1
"""The version of the JSON that results become."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The model that answered: name and version from its card, and the SHA-256 of its file in hexadecimal."""

    name: str
    version: str
    sha256: str

    def to_dict(self) -> dict[str, str]:
        """Returns the identity as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Location:
    """The place in a slice where a tumour would be, as the model says it.

    Attributes:
        cells: `(N, N)` float32, the probability, 0..1, that the tumour is in that part of the tensor.
        frame: the part of the slice that the tensor shows.
        shape: height and width of the slice, in pixels.
    """

    cells: npt.NDArray[np.float32]
    frame: Frame
    shape: tuple[int, int]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[bytes, Frame, tuple[int, int]]:
        return self.cells.tobytes(), self.frame, self.shape

    def heatmap(self) -> npt.NDArray[np.float32]:
        """Returns the cells on the slice: `(H, W)` float32, 0..1; 0 outside the frame."""
        frame = self.frame
        left, top, width, height = frame.content
        scale = self.cells.shape[0] / SIZE
        box = (left * scale, top * scale, (left + width) * scale, (top + height) * scale)
        cells = Image.fromarray(np.ascontiguousarray(self.cells, np.float32))
        inside = cells.resize((frame.width, frame.height), Image.Resampling.BILINEAR, box=box)
        out = np.zeros(self.shape, np.float32)
        out[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = np.asarray(inside)
        return out.clip(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Prediction:
    """The answer for one slice. Two are equal where they say the same, however long each took.

    The attributes are those of the JSON, None where that has null or nothing, and `location`: what `heatmap`
    is made of; None where the model makes none, and for `rejected`.
    """

    decision: str
    confidence: float | None
    band: str | None
    probabilities: Mapping[str, float] | None
    recommendation: str
    thresholds: Thresholds
    thresholds_changed: tuple[str, ...] = ()
    reason: Reason | None
    elapsed_ms: float = field(compare=False)
    model: ModelIdentity
    path: str | None
    location: Location | None = None
    origin: Origin | None = None
    timings: Timings = field(default=Timings(0.0), compare=False)

    def __post_init__(self) -> None:
        if self.probabilities is not None:
            object.__setattr__(self, "probabilities", FrozenDict(self.probabilities))

    def __repr__(self) -> str:
        sure = "" if self.confidence is None else f" {self.confidence:.3f} ({self.band})"
        why = "" if self.reason is None else f" {self.reason.code}"
        return f"<falx.Prediction {self.decision}{sure}{why} by {self.model.name}{_of(self)}>"

    def _repr_html_(self) -> str:
        """Returns the answer as HTML for notebooks; the slice is in it where its file can be read again."""
        # Here: few programs are notebooks.
        from falx.notebook import card, picture

        shown, note = picture(self.path, self.origin.frame if self.origin else None, self.heatmap)
        why = "" if self.reason is None else self.reason.message
        changed = ", ".join(f"{label} {self.thresholds[label]:g}" for label in self.thresholds_changed)
        given = f"Thresholds of the caller: {changed}." if changed else ""
        model = f"{self.model.name} {self.model.version}, {self.elapsed_ms:.0f} ms"
        return card(self.decision, self.probabilities, [why, self.recommendation, given, note, model], shown)

    @property
    def heatmap(self) -> npt.NDArray[np.float32] | None:
        """The place where a tumour would be: `(H, W)` float32, 0..1, on the slice as a viewer shows it.

        Made anew at each access. None where the model makes none, and for `rejected`.
        """
        return None if self.location is None else self.location.heatmap()

    def to_dict(self, *, timings: bool = False) -> dict[str, Any]:
        """Returns the prediction as plain JSON values; see the table of this module."""
        reason = {"code": self.reason.code, "message": self.reason.message} if self.reason else None
        return {
            "schema": SCHEMA,
            "path": self.path,
            "decision": self.decision,
            "confidence": self.confidence,
            "band": self.band,
            "probabilities": None if self.probabilities is None else dict(self.probabilities),
            "recommendation": self.recommendation,
            "thresholds": self.thresholds.to_dict(),
            "thresholds_changed": list(self.thresholds_changed),
            **({"reason": reason} if reason else {}),
            **({"origin": self.origin.to_dict()} if self.origin else {}),
            "model": self.model.to_dict(),
            "elapsed_ms": round(self.elapsed_ms, 2),
            **({"timings": self.timings.to_dict()} if timings else {}),
        }


@dataclass(frozen=True, slots=True, repr=False)
class Failure:
    """The answer for an input that could not be read; the attributes are those of the JSON."""

    path: str | None
    error: UnreadableImage
    origin: Origin | None = None

    def __repr__(self) -> str:
        return f"<falx.Failure {type(self.error).__name__}{_of(self)}>"

    def to_dict(self, *, timings: bool = False) -> dict[str, Any]:  # noqa: ARG002 - as a prediction's
        """Returns the failure as plain JSON values; see the table of this module. It never has timings."""
        error = {"type": type(self.error).__name__, "message": str(self.error)}
        origin = {"origin": self.origin.to_dict()} if self.origin else {}
        return {"schema": SCHEMA, "path": self.path, "error": error, **origin}


def _of(result: Prediction | Failure) -> str:
    """Returns which input a result is of, on one line; empty where it was not a file."""
    if result.path is None:
        return ""
    frame = None if result.origin is None else result.origin.frame
    return f" of {result.path!r}" + ("" if frame is None else f" frame {frame}")
