"""Imports of packages that not every installation has; an error names the package and how to install it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from falx.errors import FalxError


@contextmanager
def needs(what: str, install: str, error: type[FalxError], *, package: str | None = None) -> Iterator[None]:
    """Turns an import that fails in its block into an error that says what to install.

    ```python
    with needs("a DICOM report", "'falx[dicom]'", DicomUnavailable):
        from highdicom import sr
    ```

    Args:
        what: needs the package: the subject of the message.
        install: the argument of `pip install` that brings the package.
        error: the class to raise; the failed import becomes its cause.
        package: its name for people; None takes the name of the module that is missing.
    """
    try:
        yield
    except ImportError as cause:
        missing = (cause.name or "").partition(".")[0]
        name = package or missing
        absent = isinstance(cause, ModuleNotFoundError) and name.replace("-", "_").startswith(missing)
        state = "is not installed" if absent else f"cannot be imported ({cause})"
        raise error(f"{what} needs {name}, which {state}: pip install {install}") from cause
