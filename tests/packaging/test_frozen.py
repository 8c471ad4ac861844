"""Falx inside programs that are one folder, one file or one zip."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import falx
from falx import phantom
from falx._pyinstaller import hook_folders

PROGRAM = """
import sys
import falx

classifier = falx.load()
print([classifier.predict(path).decision for path in sys.argv[1:]])
"""


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    for name, draw in phantom.PHANTOMS.items():
        Image.fromarray(draw()).save(tmp_path / f"{name}.png")
    return sorted(tmp_path.glob("*.png"))


def expected(pictures: list[Path]) -> str:
    classifier = falx.load()
    return f"{[classifier.predict(path).decision for path in pictures]}\n"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("PyInstaller") is None, reason="PyInstaller is not installed")
@pytest.mark.parametrize("form", ["--onedir", "--onefile"])
def test_a_frozen_program_answers(form: str, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    # In a checkout nothing is installed that would name the hooks.
    options = ["--additional-hooks-dir", hook_folders()[0], "--exclude-module", "highdicom"]
    options += ["--exclude-module", "pydicom", "--exclude-module", "nibabel", "--log-level", "ERROR"]
    build = [sys.executable, "-m", "PyInstaller", "--noconfirm", form, *options, "program.py"]
    subprocess.run(build, cwd=tmp_path, check=True)
    program = tmp_path / "dist" / "program" / ("program" if form == "--onedir" else "")
    elsewhere = {"PATH": os.environ["PATH"]}
    done = subprocess.run([program, *pictures], capture_output=True, text=True, check=True, env=elsewhere)
    assert (done.stdout, done.stderr) == (expected(pictures), "")


def test_the_package_in_a_zip_file(pictures: list[Path], tmp_path: Path) -> None:
    archive = tmp_path / "program.pyz"
    package = Path(falx.__file__).parent
    with zipfile.ZipFile(archive, "w") as packed:
        for file in package.rglob("*"):
            if file.suffix != ".pyc" and file.is_file():
                packed.write(file, Path("falx") / file.relative_to(package))
        packed.writestr("__main__.py", PROGRAM + "assert '.pyz' in falx.__file__\n")
    done = subprocess.run(
        [sys.executable, archive, *pictures], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == (expected(pictures), "")
    for command in (["info"], ["check", "--no-latency"], ["schema"], ["completion", "bash"]):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "falx", *command],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(archive)},
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_without_pyinstaller_nothing_of_it_is_needed() -> None:
    (folder,) = hook_folders()
    assert [path.name for path in Path(folder).glob("hook-*.py")] == ["hook-falx.py"]
