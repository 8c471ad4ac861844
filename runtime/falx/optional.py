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

    `what` is the subject of the message, `install` what `pip install` is given, and `package` a name for
    people where the missing module has another.
    """
    try:
        yield
    except ImportError as cause:
        missing = (cause.name or "").partition(".")[0]
        name = package or missing
        absent = isinstance(cause, ModuleNotFoundError) and name.replace("-", "_").startswith(missing)
        state = "is not installed" if absent else f"cannot be imported ({cause})"
        raise error(f"{what} needs {name}, which {state}: pip install {install}") from cause
