"""Docstrings begin with a plain sentence; ruff sees that there is one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# Such a beginning makes a fragment that needs the name above it: "Of all slices", "Whether it is".
FRAGMENT = re.compile(r"(How|Of|So (many|much)|What|When|Where|Whether|Which|Who)\b")


def _first_lines(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield (ast.get_docstring(node) or "").partition("\n")[0]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value).partition("\n")[0]


@pytest.mark.parametrize("folder", ["runtime", "export", "trainer", "tools", "benchmarks", "tests"])
def test_a_docstring_begins_with_a_sentence(checkout: Path, folder: str) -> None:
    files = sorted((checkout / folder).rglob("*.py"))
    assert len(files) > 2
    found = [f"{file.name}: {line}" for file in files for line in _first_lines(file) if FRAGMENT.match(line)]
    assert found == []


def _of_functions(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        # A property is read like a value, and a noun describes it.
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not any(
            ast.unparse(one).endswith("property") for one in node.decorator_list
        ):
            yield (ast.get_docstring(node) or "").partition("\n")[0]


@pytest.mark.parametrize("folder", ["runtime", "export", "trainer", "tools", "benchmarks"])
def test_a_docstring_of_a_function_begins_with_a_verb(checkout: Path, folder: str) -> None:
    files = sorted((checkout / folder).rglob("*.py"))
    lines = [(file.name, line) for file in files for line in _of_functions(file) if line]
    found = [f"{name}: {line}" for name, line in lines if not re.match(r"[A-Z][a-z]*s\b", line)]
    assert found == []
