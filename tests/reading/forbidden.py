"""A file and a folder that may not be read, whoever runs the tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def forbidden() -> Iterator[Path]:
    """A folder anyone may enter, in which nobody may read `secret` and `secret.png`."""
    # Not pytest's folder, which lets nobody pass: root may read everything, so it becomes nobody here.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "secret").mkdir(mode=0)
        (folder / "secret.png").touch(mode=0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            (folder / "secret").chmod(0o700)
