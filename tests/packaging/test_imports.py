"""Each package imports what it may, and no more."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

# The runtime's whole world. What is not in EAGER is imported where it is used, so that it can be missing.
EAGER = {"falx", "numpy", "PIL"}
LAZY = {"ai_edge_litert", "jpeg_ls", "nibabel", "onnxruntime", "pydicom", "tflite_runtime"}
LAZY |= {"highdicom", "pynetdicom"}  # of `falx.workstation`
LAZY |= {"fontTools", "fpdf", "jinja2", "starlette", "streamlit"}  # of `falx app`
LAZY |= {"python_multipart", "starlette", "uvicorn"}  # of `falx serve`

FORBIDDEN = {
    "runtime/falx": {"falx_export", "falx_runs", "falx_trainer", "keras", "tensorflow"},
    "export/falx_export": {"falx_trainer"},
    "trainer/falx_runs": {"falx_export", "falx_trainer", "keras", "tensorflow"},
    "trainer/falx_trainer": {"falx_export", "tensorflow"},
}


class Import(NamedTuple):
    """One import in a source file; eager when importing the file carries it out."""

    file: Path
    line: int
    package: str
    eager: bool


def _imports(folder: Path) -> Iterator[Import]:
    for file in sorted(folder.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        yield from _imports_in(tree, file, eager=True)


def _imports_in(node: ast.AST, file: Path, *, eager: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        names: list[str] = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{file}:{child.lineno}: relative import"
            names = [child.module or ""]
        elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith("import_module"):
            # A computed name stays in its own package or is covered by the run in test_installed.
            names = [a.value for a in child.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        for name in names:
            yield Import(file, getattr(child, "lineno", 0), name.partition(".")[0], eager)
        inert = (
            isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING")
            # Modules that are of no use without an extra say so as soon as they are imported.
            or (isinstance(child, ast.With) and ast.unparse(child.items[0]).startswith("needs("))
        )
        yield from _imports_in(child, file, eager=eager and not inert)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(checkout: Path, package: str) -> None:
    found = list(_imports(checkout / package))
    assert len(found) > 10
    assert [i for i in found if i.package in FORBIDDEN[package]] == []


def test_the_runtime_imports_numpy_pillow_and_engines_only(checkout: Path) -> None:
    known = EAGER | LAZY | sys.stdlib_module_names
    # Hooks are run by PyInstaller alone.
    found = [i for i in _imports(checkout / "runtime") if not i.file.name.startswith("hook-")]
    assert [i for i in found if i.package not in known] == []


# What the process of the service alone imports, once its extra is known to be installed.
OF_THE_SERVICE = {"admission.py": "starlette", "connection.py": "uvicorn", "endpoints.py": "starlette"}


def test_the_runtime_imports_engines_where_it_uses_them(checkout: Path) -> None:
    known = EAGER | sys.stdlib_module_names
    found = [i for i in _imports(checkout / "runtime") if i.eager and i.package not in known]
    found = [i for i in found if not i.file.name.startswith("hook-")]
    assert [i for i in found if i.package != OF_THE_SERVICE.get(i.file.name)] == []


def test_help_needs_no_extra(checkout: Path) -> None:
    """The modules that the command line imports for its help do not import modules that need an extra."""
    blocked = "import sys; sys.modules.update(dict.fromkeys(['highdicom', 'pydicom', 'pynetdicom']))"
    imported = "import falx.command.listen, falx.command.study"
    subprocess.run([sys.executable, "-c", f"{blocked}; {imported}"], check=True, cwd=checkout / "runtime")
