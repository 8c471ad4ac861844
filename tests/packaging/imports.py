"""Reads the imports of source files, without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Import(NamedTuple):
    """One import in a source file; eager when importing the file carries it out, typed for type checkers."""

    file: Path
    line: int
    name: str
    eager: bool
    typed: bool

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


def imports(place: Path) -> Iterator[Import]:
    """Returns the imports of a file, or of all files in a folder: modules, and the names taken from them."""
    for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
        yield from _imports_in(ast.parse(file.read_text(encoding="utf-8")), file, eager=True, typed=False)


def _imports_in(node: ast.AST, file: Path, *, eager: bool, typed: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        names: list[str] = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{file}:{child.lineno}: relative import"
            names = [f"{child.module}.{alias.name}" for alias in child.names]
        elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith("import_module"):
            # A computed name stays in its own package or is covered by the run in test_installed.
            names = [a.value for a in child.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        for name in names:
            yield Import(file, getattr(child, "lineno", 0), name, eager, typed)
        types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        inert = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            # Modules that are of no use without an extra say so as soon as they are imported.
            isinstance(child, ast.With) and ast.unparse(child.items[0]).startswith("needs(")
        )
        yield from _imports_in(child, file, eager=eager and not (types or inert), typed=typed or types)
