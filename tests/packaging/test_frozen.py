"""Falx inside programs that are one folder, one file or one zip."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
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

ELSEWHERE = {"PATH": os.environ["PATH"]}


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    for name, draw in phantom.PHANTOMS.items():
        Image.fromarray(draw()).save(tmp_path / f"{name}.png")
    return sorted(tmp_path.glob("*.png"))


def expected(pictures: list[Path]) -> str:
    classifier = falx.load()
    return f"{[classifier.predict(path).decision for path in pictures]}\n"


COMMAND = "import sys; from falx.command.main import main; sys.exit(main())"


def frozen(form: str, program: str, folder: Path) -> Path:
    """A program, built by PyInstaller where all that this checkout needs is installed too."""
    (folder / "program.py").write_text(program)
    # In a checkout nothing is installed that would name the hooks.
    options = ["--additional-hooks-dir", hook_folders()[0], "--exclude-module", "highdicom"]
    options += ["--exclude-module", "pydicom", "--exclude-module", "nibabel", "--log-level", "ERROR"]
    _, *build = shlex.split("python -m PyInstaller --onefile program.py".replace("--onefile", form))
    subprocess.run([sys.executable, *build, "--noconfirm", *options], cwd=folder, check=True)
    return folder / "dist" / "program" / ("program" if form == "--onedir" else "")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("PyInstaller") is None, reason="needs the group frozen")
@pytest.mark.parametrize("form", ["--onedir", "--onefile"])
def test_a_frozen_program_answers(form: str, pictures: list[Path], tmp_path: Path) -> None:
    program = frozen(form, PROGRAM, tmp_path)
    done = subprocess.run([program, *pictures], capture_output=True, text=True, check=True, env=ELSEWHERE)
    assert (done.stdout, done.stderr) == (expected(pictures), "")
    # Engines name TensorFlow and PyTorch, which nothing loads.
    table = (tmp_path / "build" / "program" / "Analysis-00.toc").read_text(encoding="utf-8")
    collected = set(re.findall(r"^ *\('(\w+)", table, re.MULTILINE))
    assert "falx" in collected
    assert not collected & {"matplotlib", "scipy", "tensorflow", "torch", "highdicom"}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("PyInstaller") is None, reason="needs the group frozen")
def test_the_frozen_commands_answer(pictures: list[Path], tmp_path: Path) -> None:
    program = frozen("--onedir", COMMAND, tmp_path)
    for words in (["predict", "--json", *pictures], ["check", "--no-latency"], ["completion", "bash"]):
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False, env=ELSEWHERE)
        assert (done.returncode, done.stderr) == (0, ""), words


def test_the_package_in_a_zip_file(pictures: list[Path], tmp_path: Path) -> None:
    archive = tmp_path / "program.pyz"
    package = Path(falx.__file__).parent
    shutil.copytree(package, tmp_path / "program" / "falx", ignore=shutil.ignore_patterns("*.pyc"))
    (tmp_path / "program" / "__main__.py").write_text(PROGRAM + "assert '.pyz' in falx.__file__\n")
    _, *words = shlex.split("python -m zipapp program")
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True)

    def run(*arguments: object) -> tuple[int, str, str]:
        command, within = [sys.executable, *map(str, arguments)], {**os.environ, "PYTHONPATH": str(archive)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=within)
        return done.returncode, done.stderr, done.stdout

    assert run(archive, *pictures) == (0, "", expected(pictures))
    for command in (["info"], ["check", "--no-latency"], ["schema"], ["completion", "bash"]):
        assert run("-P", "-m", "falx", *command)[:2] == (0, "")


def test_without_pyinstaller_nothing_of_it_is_needed() -> None:
    (folder,) = hook_folders()
    names = sorted(path.name for path in Path(folder).glob("hook-*.py"))
    assert names == [
        "hook-ai_edge_litert.py",
        "hook-falx.app.py",
        "hook-falx.command.py",
        "hook-falx.py",
        "hook-onnxruntime.transformers.machine_info.py",
    ]
