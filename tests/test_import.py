from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.said import python

import falx
from falx import phantom

RESULTS = [
    falx.Prediction,
    falx.Failure,
    falx.Study,
    falx.Series,
    falx.Verdict,
    falx.Location,
    falx.Inference,
    falx.OnnxOptions,
    falx.Frame,
    falx.Timings,
    falx.ModelIdentity,
    falx.Origin,
]
FOREIGN = {"None", "Mapping", "Sequence", "Iterable", "Iterator", "Path", "PathLike", "NDArray", "Source"}
FOREIGN |= {"Gathering"}  # what `falx.reading.series.gather` makes, which is public there
MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(falx.__path__, "falx.")
    if not m.name.endswith(("__main__", "_version", "hook-falx", "hook-ai_edge_litert"))
)


def of_room(name: str) -> list[str]:
    return [module for module in MODULES if f"{module}.".startswith(f"falx.{name}.")]


# Modules of the workstation and of the service are of no use without an extra, and import it at their top.
LIGHT = [name for name in MODULES if not name.startswith(("falx.workstation.", "falx.serve."))]
HEAVY = {"streamlit", "numpy", "PIL", "ai_edge_litert", "tflite_runtime", "onnxruntime", "tensorflow"}
HEAVY |= {"keras", "pydicom"}


def loaded_after(statement: str) -> set[str]:
    """The modules that a process has loaded after a statement, and the packages they are of."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = python("-c", code)
    assert done.status == 0, done.err
    loaded = set(done.out.split())
    return loaded | {name.partition(".")[0] for name in loaded}


@pytest.mark.parametrize("name", ["falx", "falx.model.card"])
def test_importing_falx_or_its_card_loads_nothing_heavy(name: str) -> None:
    assert not loaded_after(f"import {name}") & HEAVY


def test_a_first_decision_loads_no_more_than_it_needs(tmp_path: Path, model: Path) -> None:
    scan = tmp_path / "scan.jpg"
    Image.fromarray(phantom.lesion()).save(scan)
    loaded = loaded_after(
        "from falx.command.main import main\n"
        f"assert main(['predict', {str(scan)!r}, '--model', {str(model)!r}]) == 0"
    )
    others = {"PIL.PngImagePlugin", "PIL.GifImagePlugin", "numpy.typing", "statistics"}
    own = {f"falx.{name}" for name in ("app", "pictures", "reading.dicom", "reading.volume", "study")}
    # What NumPy 1 and other engines than LiteRT load is not Falx's doing.
    engine = next(
        name
        for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "onnxruntime")
        if importlib.util.find_spec(name.partition(".")[0])
    )
    others -= loaded_after(f"import numpy, PIL.Image, {engine}")
    assert not loaded & (own | others)
    assert {"falx.classifier", "PIL.JpegImagePlugin"} <= loaded


def test_no_module_loads_an_engine_or_a_trainer() -> None:
    statement = "; ".join(f"import {name}" for name in LIGHT)
    allowed = {"numpy", "PIL"}
    assert not loaded_after(statement) & ((HEAVY - allowed) | {"falx_trainer", "falx_export"})


@pytest.mark.parametrize(
    ("modules", "packages"),
    [
        (LIGHT, ""),
        # What their packages change when they are imported is not Falx's doing.
        (of_room("workstation"), "highdicom.sr, pydicom, pynetdicom.sop_class"),
        (of_room("serve"), "python_multipart, starlette.formparsers, uvicorn"),
    ],
    ids=["most", "workstation", "service"],
)
def test_importing_falx_changes_nothing_global(modules: list[str], packages: str) -> None:
    for package in filter(None, packages.split(", ")):
        pytest.importorskip(package.partition(".")[0])
    code = (
        "import concurrent.futures.thread, logging, os, signal, sys, threading, warnings\n"
        f"import {', '.join(filter(None, ('numpy', 'PIL.Image', packages)))}\n"
        "def state(): return (list(warnings.filters), logging.root.level, list(logging.root.handlers), "
        "dict(os.environ), threading.active_count(), PIL.Image.MAX_IMAGE_PIXELS, sys.excepthook, "
        "threading.excepthook, list(map(signal.getsignal, signal.valid_signals())))\n"
        f"before = state()\nimport {', '.join(modules)}\nassert state() == before"
    )
    assert python("-c", code) == (0, "", "")


def homes() -> dict[str, str]:
    """The public names and the modules that type checkers find them in."""
    tree = ast.parse(Path(falx.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    found = {alias.name: node.module or "" for node in imports for alias in node.names}
    return {name: module for name, module in found.items() if name in falx.__all__}


def test_all_and_the_names_agree() -> None:
    assert sorted(falx.__all__) == falx.__all__ == dir(falx)
    assert set(homes()) == set(falx.__all__)
    for name, module in homes().items():
        home = importlib.import_module(module)
        assert getattr(falx, name) is getattr(home, name)


@pytest.mark.parametrize("public", [falx.load, *vars(falx.Classifier).values(), *RESULTS])
def test_every_type_that_a_caller_meets_is_public(public: Any) -> None:
    """The types in what a caller calls, and in the results that it returns."""
    if isinstance(public, property):
        public = public.fget
    if inspect.isclass(public):
        fields: Any = dataclasses.fields
        said = {field.name: field.type for field in fields(public)}
    elif inspect.isfunction(public) and (
        not public.__name__.startswith("_") or public.__name__ == "__init__"
    ):
        said = public.__annotations__
    else:
        return
    words = set(re.findall(r"[A-Z]\w+", " ".join(map(str, said.values()))))
    assert words <= {*falx.__all__, *FOREIGN}, said


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'falx' has no attribute 'nothing'"):
        falx.nothing  # noqa: B018 - the access is the test


def test_the_package_is_typed() -> None:
    assert Path(falx.__file__).with_name("py.typed").exists()
