"""Writes files so that each is there whole or not at all, even where the process is killed meanwhile.

Locks keep a second process from a file that one works with.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

LOCKED_AT: Final = 2**31 - 2
"""The byte that is locked on Windows, where nobody can read what is: far behind the end of most files, and as
far as its function reaches."""


def write_whole(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Writes a file that gets its name only once it is whole and on the disk; of an error nothing is left.

    Raises FileExistsError where a file of that name is not to be replaced.
    """
    if not replace and path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    # In the same folder: only within one file system does a file get another name without being copied.
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    write_through(part, data)
    try:
        if replace:
            part.replace(path)
        else:
            _name(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_through(path: Path, data: bytes) -> None:
    """Writes a new file, and returns when it is on the disk; of an error nothing is left.

    Raises FileExistsError where there is one of that name.
    """
    file = path.open("xb")
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def locked(descriptor: int) -> bool:
    """Takes an open file for this process alone, until it closes the file or ends.

    Returns False where another process has it. Raises OSError where it cannot be locked, such as on a disk of
    another machine.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            before = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.lseek(descriptor, LOCKED_AT, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, before, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def lacks_room(error: OSError) -> bool:
    """Tells whether a file could not be written for want of space, size or quota, which Windows has not."""
    return error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


def _name(part: Path, path: Path) -> None:
    """Gives a whole file its name, unless another file has it."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    # A file system without hard links, such as FAT. There the name is taken first, by an empty file.
    except OSError:
        path.open("xb").close()
        try:
            part.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
