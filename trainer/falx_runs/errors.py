"""Errors of data and of runs.

```
FalxError
├── DataError(ValueError)   a manifest, or a folder of images, cannot be used
└── RunError(ValueError)    a run folder cannot be used
```
"""

from __future__ import annotations

from falx.errors import FalxError


class DataError(FalxError, ValueError):
    """A manifest, or a folder of images, cannot be used; the message names the file or folder."""


class RunError(FalxError, ValueError):
    """A run folder cannot be used; the message names what is missing or wrong in it."""
