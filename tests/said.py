"""The outcome of a command that a test ran, in its own process or another: its status and what it wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest


class Said(NamedTuple):
    """The status of a command, and what it wrote to standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The documents it wrote, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def refuses(self, *words: str) -> None:
        """Asserts that it did not take what it was given, and said so in these words."""
        assert self.status == 2, self
        assert [word for word in words if word not in self.err] == [], self.err


Command = Callable[..., Said]


def runner(main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> Command:
    """Returns what runs a command in this process."""

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        try:
            status: Any = main([*map(str, arguments)])
        except SystemExit as end:
            status = end.code
        return Said(status, *capsys.readouterr())

    return run


def python(*words: object, **variables: str) -> Said:
    """Runs Python in a process of its own, with variables of the environment by name."""
    command, own = [sys.executable, *map(str, words)], os.environ | variables
    # A busy machine is slow, not wrong.
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False, env=own)
    return Said(done.returncode, done.stdout, done.stderr)
