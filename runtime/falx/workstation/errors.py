"""Errors of reports and of the node, in the tree of `falx.errors`.

```
FalxError
├── ReportError(ValueError)        no DICOM report or picture can be made from these images
├── SettingsError(ValueError)      a setting of `falx listen` is missing or wrong
├── SpoolError(OSError)            the folder of the spool cannot be used
│   └── SpoolFull                  it has no room for an image
├── WorkerError(RuntimeError)      the process that classifies does not start
└── StudyUnanswered(RuntimeError)  a study was not classified, and is the cause as far as one can tell
```
"""

# ruff: noqa: N818 - some names say what is wrong

from __future__ import annotations

from falx.debug import place
from falx.errors import FalxError


class ReportError(FalxError, ValueError):
    """No DICOM report or picture can be made from these images."""


class SettingsError(FalxError, ValueError):
    """A setting of `falx listen` is missing or wrong."""


class SpoolError(FalxError, OSError):
    """The folder of the spool cannot be used."""


class SpoolFull(SpoolError):
    """The spool has no room for an image; nothing of the image was kept."""


class WorkerError(FalxError, RuntimeError):
    """The process that classifies does not start."""


class StudyUnanswered(FalxError, RuntimeError):
    """A study was not classified; as far as one can tell, the study itself is the cause."""


def cause(error: BaseException) -> str:
    """Returns an error in words of Falx or of the system, or its place: other words may quote a patient."""
    if isinstance(error, FalxError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"an unexpected error in {place(error)}"
