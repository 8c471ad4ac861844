"""The rooms of the runtime, and what each may import: a table, without an exception in it."""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from tests.packaging.imports import imports

ROOMS = {
    "command": "app serve workstation check classifier pictures study engines model reading decision "
    "prediction slices",
    "app": "classifier pictures study engines model reading decision prediction slices",
    "serve": "classifier pictures study engines model reading decision prediction slices",
    "workstation": "classifier pictures study engines model reading decision prediction slices",
    "check": "classifier engines model reading decision prediction slices",
    "classifier": "study finding engines model reading decision prediction slices",
    "pictures": "study reading prediction slices",
    "study": "finding reading prediction slices",
    "finding": "reading prediction slices",
    "engines": "model decision prediction slices",
    "model": "decision slices",
    "prediction": "notebook reading decision slices",
    "notebook": "reading slices",
    "reading": "decision slices",
    "decision": "slices",
    "slices": "",
}
"""Each room of `runtime/falx`, from above to below, and the rooms it may import."""

WORKSHOPS = {
    "export/falx_export": {
        "__main__": "export package proof self_contained convert write errors",
        "export": "package proof self_contained convert write errors",
        "package": "convert",
        "proof": "self_contained convert errors",
        "self_contained": "convert errors",
        "convert": "errors",
        "write": "errors",
    },
    "trainer/falx_trainer": {
        "__main__": "evaluation training data",
        "evaluation": "training data plots scores",
        "training": "data plots scores",
        "data": "",
        "plots": "",
        "scores": "",
    },
}
"""The rooms of the export and of the trainer, and the rooms that each may import."""

LEAVES = {
    *("address", "debug", "errors", "frozen", "optional", "phantom", "progress", "timings", "words"),
    *("writing", "_version"),
}
"""Modules that every room may import. They import each other at most, and nothing above."""


def targets(file: Path, known: dict[str, Path]) -> set[str]:
    """The modules of a package that a file imports when it is imported or used."""
    names = {found.name for found in imports(file) if not found.typed}
    return {name if name in known else name.rpartition(".")[0] for name in names} & {*known}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def modules(package: Path) -> dict[str, Path]:
    """The modules of a package by their dotted names."""
    files = {file: file.relative_to(package.parent).with_suffix("") for file in sorted(package.rglob("*.py"))}
    return {".".join(name.parts).removesuffix(".__init__"): file for file, name in files.items()}


@pytest.fixture(scope="module")
def falx(checkout: Path) -> dict[str, Path]:
    return modules(checkout / "runtime" / "falx")


def test_every_module_stands_in_a_room(falx: dict[str, Path]) -> None:
    assert {room(name) for name in falx} - {""} <= {*ROOMS} | LEAVES | {"__main__", "_pyinstaller"}
    assert {*ROOMS} <= {room(name) for name in falx}


def above(falx: dict[str, Path], rooms: set[str], allowed: set[str]) -> set[tuple[str, str]]:
    """The imports of modules of some rooms from rooms that are not allowed."""
    some = {module: file for module, file in falx.items() if room(module) in rooms}
    found = {(module, one) for module, file in some.items() for one in imports(file) if one.package == "falx"}
    return {(module, one.name) for module, one in found if room(one.name) not in allowed}


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_what_stands_below_it(falx: dict[str, Path], name: str) -> None:
    assert above(falx, {name}, {name, *ROOMS[name].split()} | LEAVES) == set()


def test_the_table_points_one_way() -> None:
    seen: set[str] = set()
    for name, below in ROOMS.items():
        assert not seen & {*below.split()}, name
        seen.add(name)


# Leaves name types of rooms for type checkers alone: errors say where in a file a slice stood.
NAMED_BY_LEAVES = {"slices"}


def test_leaves_import_leaves(falx: dict[str, Path]) -> None:
    assert above(falx, LEAVES, LEAVES | NAMED_BY_LEAVES) == set()


@pytest.mark.parametrize("package", WORKSHOPS)
def test_rooms_of_trainer_and_export_import_what_stands_below_them(checkout: Path, package: str) -> None:
    known = modules(checkout / package)
    found = {(room(name), room(target)) for name, file in known.items() for target in targets(file, known)}
    allowed = {(name, each) for name, below in WORKSHOPS[package].items() for each in below.split()}
    assert {(name, target) for name, target in found if name != target} <= allowed


@pytest.mark.parametrize(
    "package", ["runtime/falx", "export/falx_export", "trainer/falx_runs", "trainer/falx_trainer"]
)
def test_there_is_no_circle(checkout: Path, package: str) -> None:
    known = modules(checkout / package)
    graph = {module: targets(file, known) - {module} for module, file in known.items()}
    # Raises CycleError, which names the circle.
    assert len(list(TopologicalSorter(graph).static_order())) == len(known)


def test_the_name_of_a_class_stands_for_one_class(checkout: Path) -> None:
    files = [
        file for root in ("runtime", "export", "trainer") for file in sorted((checkout / root).rglob("*.py"))
    ]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    names = Counter(node.name.lstrip("_") for node in nodes if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []
