"""A file of answers from which a batch that was killed at any moment goes on.

One JSON object a line, as `falx predict --json` prints them. A process that is killed, or a machine that
loses its power, may leave part of the last line: Linux stops a write between two pages of memory. That part
is taken away when the file is opened again, and its input is answered anew.

A line is an answer, also where it says that an input could not be read: it is not tried again. To try those
again, take their lines out of the file (`grep -v '"error"'`).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from falx.errors import FalxError
from falx.prediction import SCHEMA, Failure, ModelIdentity, Prediction
from falx.writing import lacks_room, locked


class ResumeError(FalxError, ValueError):
    """A file of answers cannot be written, or does not hold what a batch could go on with."""


class Journal:
    """The answers of a batch, those of earlier runs first.

    `answered` is how many lines there were for each path when the file was opened, `failures` how many of
    these say that an input could not be read.
    """

    def __init__(self, path: str | os.PathLike[str], model: ModelIdentity) -> None:
        """Opens the file, or makes it, for this process alone."""
        self._path = Path(path)
        self.answered: Counter[str] = Counter()
        self.failures = 0
        try:
            # Not for appending: what is left of a line is written over.
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            self._file: BinaryIO = os.fdopen(descriptor, "r+b", buffering=0)
        except OSError as error:
            raise ResumeError(f"{path}: cannot write answers here: {error.strerror}") from error
        try:
            self._lock()
            self._end = self._read(model)
            self._file.truncate(self._end)
            self._file.seek(self._end)
        except OSError as error:
            self._file.close()
            raise ResumeError(f"{path}: cannot go on with this file: {error.strerror}") from error
        except ResumeError:
            self._file.close()
            raise

    def take(self, path: str) -> bool:
        """Tells whether a line answers this path already; a path that is given twice needs two."""
        if not self.answered[path]:
            return False
        self.answered[path] -= 1
        return True

    def add(self, result: Prediction | Failure, *, timings: bool = False) -> None:
        """Writes the line of an answer; where it cannot, the file ends with the line before it."""
        line = (json.dumps(result.to_dict(timings=timings)) + "\n").encode()
        try:
            written = self._file.write(line)
            while written < len(line):
                # A disk that is nearly full takes part of it, and says why the next time.
                written += self._file.write(line[written:])
        except OSError as error:
            self._file.truncate(self._end)
            room = "; make room" if lacks_room(error) else ""
            raise ResumeError(
                f"{self._path}: cannot write the next answer: {error.strerror}{room} and run the same "
                "command again: it goes on from here"
            ) from error
        self._end += len(line)

    def close(self) -> None:
        """Returns when everything is on the disk."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def _lock(self) -> None:
        """Keeps a second process from writing answers here, which would stand twice or over each other."""
        if not locked(self._file.fileno()):
            raise ResumeError(
                f"{self._path}: another process writes its answers here; wait for it, or give another file"
            )

    def _read(self, model: ModelIdentity) -> int:
        """Counts what is answered; returns where the last whole line ends."""
        end = 0
        # Buffered, of the same open file: its lines may be millions.
        with os.fdopen(os.dup(self._file.fileno()), "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break
                self._count(line, number, model)
                end += len(line)
        return end

    def _count(self, line: bytes, number: int, model: ModelIdentity) -> None:
        where = f"{self._path}, line {number}"
        try:
            answer: Any = json.loads(line)
            schema, path, failed = answer["schema"], answer["path"], "error" in answer
            sha256 = None if failed else answer["model"]["sha256"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ResumeError(
                f"{where}: is not an answer of Falx; give a new file, or one it wrote"
            ) from error
        if schema != SCHEMA or not isinstance(path, str):
            raise ResumeError(f"{where}: is not an answer of this version of Falx; give a new file")
        if not failed and sha256 != model.sha256:
            raise ResumeError(
                f"{where}: is an answer of another model file, {answer['model'].get('name')} with SHA-256 "
                f"{str(sha256)[:16]}..., this one is {model.name} with {model.sha256[:16]}...; answers of "
                "two models do not belong in one file: give the same --model, or a new file"
            )
        self.answered[path] += 1
        self.failures += failed
