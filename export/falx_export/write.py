"""Puts files where they belong, all of them or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from falx.writing import lacks_room, write_through
from falx_export.errors import OutputExists, WriteError

REPORT: Final = "parity.json"
"""Goes last and is removed first: where it lies, the files beside it are those it speaks of."""


def refuse_to_overwrite(folder: Path, names: list[str]) -> None:
    """Refuses, before the work, where files would be in the way of the result.

    Raises:
        OutputExists: one of the files exists, or the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExists(f"{folder}: expected a folder to write into, found a file; give another --out")
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise OutputExists(f"{folder}: already holds {', '.join(there)}; give another --out, or --overwrite")


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files, `parity.json` among them, into a folder, which is made where it is missing.

    They are written under names that nothing takes for a model, and named when all are complete. A folder
    that is new appears with all of them in one step. In one that exists, each takes its place for itself:
    a process killed meanwhile leaves whole files, old and new, and no report.

    Raises:
        WriteError: there is no room for them; nothing of them is left.
        OSError: the folder cannot be made or written to; names it.
    """
    folder = folder.resolve()
    exists = folder.exists()
    if not exists:
        folder.parent.mkdir(parents=True, exist_ok=True)
    # Inside a folder that exists: it may be a mount, and files don't move from one file system to another.
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder if exists else folder.parent))
    try:
        _write_parts(work, folder, files)
        if exists:
            (folder / REPORT).unlink(missing_ok=True)
            _name(work, folder, files)
        else:
            _name(work, work, files)
            work.chmod(0o777 & ~_mask())
            work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_parts(work: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        for name, content in files.items():
            # Nothing takes a .part for a model, should this process die here.
            write_through(work / f"{name}.part", content)
    except OSError as error:
        if not lacks_room(error):
            raise
        free = shutil.disk_usage(work).free
        raise WriteError(
            f"{folder}: {error.strerror}; the files take {_megabytes(sum(map(len, files.values())))} and "
            f"{_megabytes(free)} are left: make room, or give another --out"
        ) from error


def _name(work: Path, folder: Path, names: Iterable[str]) -> None:
    """Gives complete files their names, the report last."""
    for name in sorted(names, key=lambda name: name == REPORT):
        (work / f"{name}.part").replace(folder / name)


def _mask() -> int:
    """Returns what this process takes from the permissions of its files. It can only be read by setting."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
