"""Falx: what is in a brain MRI slice, decided on the CPU where the image is, or that it cannot tell.

```python
import falx

classifier = falx.load()
prediction = classifier.predict("slice.png")
prediction.decision, prediction.confidence, prediction.recommendation
```

For research and education only. Falx is not a medical device and makes no diagnosis.

Importing this package loads no engine and changes nothing outside it; NumPy and Pillow are loaded
with the first name that needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from falx._version import __version__

if TYPE_CHECKING:
    from falx.classifier import Classifier, load
    from falx.decision import Thresholds
    from falx.engines import Inference, OnnxOptions
    from falx.errors import (
        Cancelled,
        CardError,
        ChecksumError,
        DicomUnavailable,
        EngineUnavailable,
        FalxError,
        FalxWarning,
        GraphError,
        ImageForbidden,
        ImageNotFound,
        ModelError,
        ModelNotFound,
        NotASlice,
        ThresholdError,
        UnknownEngine,
        UnreadableImage,
        VolumeUnavailable,
    )
    from falx.model.card import Card
    from falx.prediction import Failure, Location, ModelIdentity, Prediction
    from falx.progress import Progress
    from falx.reading.pixels import PixelArray
    from falx.reading.series import NotUsed, Series
    from falx.reading.tags import Geometry
    from falx.slices.preprocessing import Frame
    from falx.slices.reasons import Reason
    from falx.slices.slice import Origin
    from falx.study import AnsweredSeries, Study, Verdict
    from falx.timings import Timings

__all__ = [
    "AnsweredSeries",
    "Cancelled",
    "Card",
    "CardError",
    "ChecksumError",
    "Classifier",
    "DicomUnavailable",
    "EngineUnavailable",
    "Failure",
    "FalxError",
    "FalxWarning",
    "Frame",
    "Geometry",
    "GraphError",
    "ImageForbidden",
    "ImageNotFound",
    "Inference",
    "Location",
    "ModelError",
    "ModelIdentity",
    "ModelNotFound",
    "NotASlice",
    "NotUsed",
    "OnnxOptions",
    "Origin",
    "PixelArray",
    "Prediction",
    "Progress",
    "Reason",
    "Series",
    "Study",
    "ThresholdError",
    "Thresholds",
    "Timings",
    "UnknownEngine",
    "UnreadableImage",
    "Verdict",
    "VolumeUnavailable",
    "__version__",
    "load",
]

_HOMES = {
    "classifier": ("Classifier", "load"),
    "decision": ("Thresholds",),
    "engines": ("Inference", "OnnxOptions"),
    "model.card": ("Card",),
    "prediction": ("Failure", "Location", "ModelIdentity", "Prediction"),
    "progress": ("Progress",),
    "reading.pixels": ("PixelArray",),
    "reading.series": ("NotUsed", "Series"),
    "reading.tags": ("Geometry",),
    "slices.preprocessing": ("Frame",),
    "slices.reasons": ("Reason",),
    "slices.slice": ("Origin",),
    "study": ("AnsweredSeries", "Study", "Verdict"),
    "timings": ("Timings",),
}
"""The modules of the names that are not errors."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'falx' has no attribute {name!r}")
    from importlib import import_module

    home = next((module for module, names in _HOMES.items() if name in names), "errors")
    value = getattr(import_module(f"falx.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
