"""The example for C++, compiled with the ONNX Runtime of the Python package: it answers as Falx does."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.examples.conftest import Model

SOURCE = Path(__file__).parents[2] / "examples" / "cpp" / "classify.cpp"

HEADERS = ("onnxruntime_cxx_api.h", "stb_image.h")
PLACES = ("/usr/include/onnxruntime", "/usr/local/include/onnxruntime", "/usr/include/stb")
"""The folders of Debian's headers; CPLUS_INCLUDE_PATH names others."""

Command = list[str | Path]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    places = includes()
    folder = tmp_path_factory.mktemp("cpp")
    link(folder)
    built = folder / "classify"
    subprocess.run(
        [
            *("c++", "-std=c++17", "-O1", "-Wall", "-Wextra"),
            *(f"-isystem{place}" for place in places),
            *(SOURCE, "-o", built, f"-L{folder}", "-lonnxruntime", f"-Wl,-rpath,{folder}", "-Werror"),
        ],
        check=True,
    )
    return [built]


def test_cpp_answers_as_falx_does(command: Command, int8: Model, drawings: list[Path]) -> None:
    int8.check_run(command, drawings)


def test_cpp_answers_as_falx_does_for_patients(command: Command, int8: Model, slices: list[Path]) -> None:
    int8.check_run(command, slices)


def test_cpp_says_what_it_cannot_read(command: Command, int8: Model, tmp_path: Path) -> None:
    text = tmp_path / "slice.png"
    text.write_text("not an image")
    done = subprocess.run([*command, int8.path, text], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{text}: ")


def test_cpp_says_how_it_is_used(command: Command) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: classify MODEL IMAGE...\n")


def includes() -> list[str]:
    """The folders of the headers, in their order; skips the test where one or the compiler is missing."""
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler is installed")
    places = [*filter(None, os.environ.get("CPLUS_INCLUDE_PATH", "").split(os.pathsep)), *PLACES]
    found = [next((place for place in places if Path(place, name).exists()), None) for name in HEADERS]
    if None in found:
        pytest.skip(f"no {' and no '.join(HEADERS)} (CPLUS_INCLUDE_PATH)")
    return [place for place in found if place is not None]


def link(folder: Path) -> None:
    """Names for the library of the Python package as a linker and a loader look for it."""
    found = importlib.util.find_spec("onnxruntime")
    assert found is not None
    assert found.origin is not None
    (library,) = (Path(found.origin).parent / "capi").glob("libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library)
