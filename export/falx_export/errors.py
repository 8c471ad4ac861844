"""Errors that the export raises on purpose.

```
FalxError
└── ExportError
    ├── OutputExists(FileExistsError)    files are in the way, and overwriting was not asked for
    ├── ConversionError(ValueError)      a converted graph is not what an engine needs
    ├── WriteError(OSError)              there is no room for the files
    └── ParityError                      an exported file answers too differently from Keras
```

A run or data that cannot be used are a `falx_runs.errors.RunError` or `DataError`.
"""

# ruff: noqa: N818 - as in `falx.errors`: each name says what is wrong

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from falx.errors import FalxError


class ExportError(FalxError):
    """Anything the export raises on purpose."""


class OutputExists(ExportError, FileExistsError):
    """Files of this name exist, and overwriting was not asked for."""


class ConversionError(ExportError, ValueError):
    """A converted graph holds what an engine cannot run, or not what was asked for."""


class WriteError(ExportError, OSError):
    """The files cannot be written for want of room; none of them is left."""


class ParityError(ExportError):
    """An exported file's answers lie past the tolerance from those of Keras."""


@contextmanager
def converting(tool: str) -> Iterator[None]:
    """Turns what a converter raises into a `ConversionError` that names it."""
    try:
        yield
    except ConversionError:
        raise
    # A converter raises whatever its passes raise.
    except Exception as error:
        raise ConversionError(f"{tool} cannot convert the model: {error}") from error
