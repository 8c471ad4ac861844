"""Imports of packages that not every installation has; an error names the extra and how to install it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from falx.errors import FalxError


@contextmanager
def needs(
    what: str, extra: str | None, error: type[FalxError], *, package: str | None = None
) -> Iterator[None]:
    """Turns an import that fails in its block into an error that says what to install.

    ```python
    with needs("a DICOM report", "dicom", DicomUnavailable):
        from highdicom import sr
    ```

    `what` is the subject of the message and `extra` the extra of Falx that brings the package. A `package`
    is named beside the extra, or where there is none.
    """
    try:
        yield
    except ImportError as cause:
        missing = (cause.name or "").partition(".")[0]
        install = package if extra is None else f"'falx[{extra}]'"
        name = package or missing
        absent = isinstance(cause, ModuleNotFoundError) and name.replace("-", "_").startswith(missing)
        lacks = f"{name}, which cannot be imported ({cause})"
        if absent:
            lacks = f"the extra {extra}" if package is None else f"{name}, which is not installed"
        raise error(f"{what} needs {lacks}: pip install {install}") from cause
