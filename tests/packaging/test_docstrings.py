"""Every public name says what it is, in a plain sentence."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest


def _undocumented(node: ast.Module | ast.ClassDef, name: str) -> Iterator[str]:
    if ast.get_docstring(node) is None:
        yield name
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_"):
                continue
            if isinstance(child, ast.ClassDef):
                yield from _undocumented(child, f"{name}.{child.name}")
            elif ast.get_docstring(child) is None and not _is_overload(child):
                yield f"{name}.{child.name}"


def _is_overload(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in function.decorator_list)


@pytest.mark.parametrize(
    "package", ["runtime/falx", "export/falx_export", "trainer/falx_runs", "trainer/falx_trainer"]
)
def test_every_public_name_has_a_docstring(checkout: Path, package: str) -> None:
    folder = checkout / package
    files = sorted(folder.rglob("*.py"))
    assert len(files) > 2
    bare = [
        name
        for file in files
        for name in _undocumented(
            ast.parse(file.read_text(encoding="utf-8")), str(file.relative_to(folder.parent))
        )
    ]
    assert bare == []


def test_docstrings_that_are_missing_are_found() -> None:
    module = ast.parse('"""M."""\nclass A:\n    def f(self): ...\n    def _g(self): ...\ndef h(): "H."\n')
    assert list(_undocumented(module, "m")) == ["m.A", "m.A.f"]


# Such a beginning makes a fragment that needs the name above it: "Of all slices", "Whether it is".
FRAGMENT = re.compile(r"(How|Of|So (many|much)|What|When|Where|Whether|Which|Who)\b")


def _first_lines(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield (ast.get_docstring(node) or "").partition("\n")[0]


@pytest.mark.parametrize("folder", ["runtime", "export", "trainer", "tools", "benchmarks", "tests"])
def test_a_docstring_begins_with_a_sentence(checkout: Path, folder: str) -> None:
    files = sorted((checkout / folder).rglob("*.py"))
    assert len(files) > 2
    found = [f"{file.name}: {line}" for file in files for line in _first_lines(file) if FRAGMENT.match(line)]
    assert found == []
