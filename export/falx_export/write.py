"""Put files where they belong, all of them or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from falx_export.errors import OutputExists

__all__ = ["REPORT", "refuse_to_overwrite", "write"]

REPORT: Final = "parity.json"
"""Goes last and is removed first: where it lies, the files beside it are those it speaks of."""


def refuse_to_overwrite(folder: Path, names: list[str]) -> None:
    """Say so before the work where the result would be in the way.

    Raises:
        OutputExists: one of the files exists, or the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExists(f"{folder}: expected a folder to write into, found a file; give another --out")
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise OutputExists(f"{folder}: already holds {', '.join(there)}; give another --out, or --overwrite")


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, which is made where it is missing.

    They are written beside it and moved in when all are complete, so that a process killed at any
    moment leaves no file that is not whole.

    Args:
        folder: of the files.
        files: their content by name; `parity.json` among them.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, content in files.items():
            # Nothing takes a .part for a model, should this process die here.
            with (work / f"{name}.part").open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        folder.mkdir(exist_ok=True)
        (folder / REPORT).unlink(missing_ok=True)
        for name in sorted(files, key=lambda name: name == REPORT):
            (work / f"{name}.part").replace(folder / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
