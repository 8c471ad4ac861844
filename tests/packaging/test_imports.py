"""Each package imports what it may, and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.packaging.imports import imports

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


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(checkout: Path, package: str) -> None:
    found = list(imports(checkout / package))
    assert len(found) > 10
    assert [i for i in found if i.package in FORBIDDEN[package]] == []


def test_the_runtime_imports_numpy_pillow_and_engines_only(checkout: Path) -> None:
    known = EAGER | LAZY | sys.stdlib_module_names
    # Hooks are run by PyInstaller alone.
    found = [i for i in imports(checkout / "runtime") if not i.file.name.startswith("hook-")]
    assert [i for i in found if i.package not in known] == []


# What the process of the service alone imports, once its extra is known to be installed.
OF_THE_SERVICE = {"admission.py": "starlette", "connection.py": "uvicorn", "endpoints.py": "starlette"}


def test_the_runtime_imports_engines_where_it_uses_them(checkout: Path) -> None:
    known = EAGER | sys.stdlib_module_names
    found = [i for i in imports(checkout / "runtime") if i.eager and i.package not in known]
    found = [i for i in found if not i.file.name.startswith("hook-")]
    assert [i for i in found if i.package != OF_THE_SERVICE.get(i.file.name)] == []


def test_help_needs_no_extra(checkout: Path) -> None:
    """The modules that the command line imports for its help do not import modules that need an extra."""
    blocked = "import sys; sys.modules.update(dict.fromkeys(['highdicom', 'pydicom', 'pynetdicom']))"
    imported = "import falx.command.listen, falx.command.study"
    subprocess.run([sys.executable, "-c", f"{blocked}; {imported}"], check=True, cwd=checkout / "runtime")
