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

import importlib
from typing import TYPE_CHECKING, Any

from falx._version import __version__

if TYPE_CHECKING:
    from falx.classifier import Classifier, load
    from falx.decision import Thresholds
    from falx.errors import (
        EngineUnavailable,
        FalxError,
        FalxWarning,
        ModelError,
        ThresholdError,
        UnknownEngine,
        UnreadableImage,
    )
    from falx.model.card import Card
    from falx.prediction import Failure, Prediction

__all__ = [
    "Card",
    "Classifier",
    "EngineUnavailable",
    "Failure",
    "FalxError",
    "FalxWarning",
    "ModelError",
    "Prediction",
    "ThresholdError",
    "Thresholds",
    "UnknownEngine",
    "UnreadableImage",
    "__version__",
    "load",
]

_HOMES = {
    "Card": "falx.model.card",
    "Classifier": "falx.classifier",
    "EngineUnavailable": "falx.errors",
    "Failure": "falx.prediction",
    "FalxError": "falx.errors",
    "FalxWarning": "falx.errors",
    "ModelError": "falx.errors",
    "Prediction": "falx.prediction",
    "ThresholdError": "falx.errors",
    "Thresholds": "falx.decision",
    "UnknownEngine": "falx.errors",
    "UnreadableImage": "falx.errors",
    "load": "falx.classifier",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'falx' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
