"""Collects all that the pages tell a reader to run: fenced blocks, and commands within a sentence."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PLACES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "examples/*/README.md", "models/*/*.md")
PAGES = [str(path.relative_to(ROOT)) for place in PLACES for path in sorted(ROOT.glob(place))]

SHOWN = ("", "text", "mermaid")
"""Languages of blocks that are there to be read."""

PIECE = re.compile(
    r"^##+ ([^\n]+)$|^ *```(\w*)\n(.*?)^ *```$|(?<!`)`([^`\n]+)`(?!`)", re.MULTILINE | re.DOTALL
)
PROGRAM = re.compile(
    r"(falx|python3? -m|python3?|pip|docker|git|npm|node|curl|apt|htpasswd|tensorboard|~/falx/bin/\w+) (.+)"
)


class Told(NamedTuple):
    """One thing to run: a line of a shell, or a whole block of another language."""

    page: str
    section: str
    language: str
    code: str


@cache
def told(page: str) -> tuple[Told, ...]:
    """Everything that a page tells its reader to run."""
    found, section = [], ""
    for heading, language, body, span in PIECE.findall((ROOT / page).read_text(encoding="utf-8")):
        section = heading or section
        if language in ("sh", "console"):
            lines = body.replace("\\\n", " ").splitlines()
            typed = [line[2:] for line in lines if line[:2] == "$ "] if language == "console" else lines
            found += [Told(page, section, "sh", re.sub(r"\s+#.*", "", line)) for line in typed if line]
        elif language not in SHOWN:
            found.append(Told(page, section, language, body))
        elif (command := PROGRAM.fullmatch(span)) and not _is_a_name(*command.groups()):
            found.append(Told(page, section, "sh", span))
    return tuple(found)


def _is_a_name(program: str, words: str) -> bool:
    """Says whether a sentence speaks of a command of `falx`, and gives it nothing to do."""
    return program == "falx" and re.fullmatch(r"[a-z]+( --(json|timings))?|\.\.\.", words) is not None


def block(page: str, language: str, section: str = "") -> str:
    """The one block of a page in a language, or the lines of a shell of one of its sections."""
    found = [one.code for one in told(page) if one.language == language and section in ("", one.section)]
    assert found if language == "sh" else len(found) == 1, (page, language, section)
    return "\n".join(found)
