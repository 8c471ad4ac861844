"""Writes the scripts that complete falx's commands in bash and zsh; `falx completion` prints them.

python -m tools.completion
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import shtab

import falx
from falx.command.main import command_line

FOLDER: Final = Path(falx.__file__).parent / "command"


def scripts() -> dict[Path, str]:
    """Returns the text of each script by its path."""
    parser, parsers = command_line()
    for action in (action for each in parsers.values() for action in each._actions):
        if action.metavar in ("PATH", "FILE", "JSON", "JSONL", "NEW"):
            action.complete = shtab.FILE  # type: ignore[attr-defined] # shtab reads it from there
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined] # as above
    return {FOLDER / f"completion.{shell}": shtab.complete(parser, shell=shell) for shell in ("bash", "zsh")}


def main() -> int:
    """Writes the scripts."""
    for path, text in scripts().items():
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
