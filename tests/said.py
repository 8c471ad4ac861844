"""The outcome of a command that a test ran in its own process: its status and what it wrote."""

from __future__ import annotations

import json
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
