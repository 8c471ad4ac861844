"""The README's commands run where Falx is installed, and what it shows is what comes."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests import guides
from tests.packaging.conftest import Environment

from falx.model.file import DEFAULT_MODEL

EXAMPLE = "falx predict examples/lesion.png"
TEST = (
    "python -m pip install --upgrade pip && python -m pip install --editable . --group dev "
    "&& python -m pytest"
)
SHOWN = re.compile(
    rf"^<!-- example -->\n```console\n\$ {EXAMPLE}\n(.*?)^```\n<!-- end of example -->$", re.M | re.S
)
OURS = re.compile(r"(falx|python -m (falx_|benchmarks|tools|tests))")
LINK = re.compile(r"\]\(([^)#]+)\)")
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def user(installed: Environment) -> Environment:
    """The environment of someone who has installed Falx and exported a model of their own."""
    exported = installed.work / "exported"
    exported.mkdir(exist_ok=True)
    shutil.copy(DEFAULT_MODEL, exported / "mine-int8.tflite")
    shutil.rmtree(installed.work / "maps", ignore_errors=True)
    (installed.work / "examples").mkdir(exist_ok=True)
    shutil.copy(CHECKOUT / "examples" / "lesion.png", installed.work / "examples")
    return installed


def test_the_falx_commands_run(user: Environment) -> None:
    # `falx demo` after the installation is run by the fixture; `falx check` may find a busy machine slow.
    lines = [told.code for told in guides.told("README.md") if told.code.startswith("falx ")]
    assert len(lines) >= 6
    for line in lines:
        done = user.offline(*shlex.split(line), status=None if line == "falx check" else 0)
        assert done.stdout
        assert "Traceback" not in done.stderr


def test_the_python_runs(user: Environment) -> None:
    lines = user.offline("python", "-c", guides.block("README.md", "python")).stdout.splitlines()
    assert len(lines) == 4
    assert "'decision'" in lines[2]
    assert "ImageNotFound" in lines[3]


def test_the_example_is_as_shown(user: Environment, readme: str) -> None:
    shown = SHOWN.search(readme)
    assert shown, "the README shows no answer between its example marks"
    # Times differ, and so do a model's probabilities in the last digit, with the processor.
    assert _words(shown[1]) == _words(user.offline(*shlex.split(EXAMPLE)).stdout)


def _words(text: str) -> list[str]:
    return re.sub(r"\d+(?:\.\d+)?(?= ?(?:%|ms))", "#", text).split()


@pytest.mark.parametrize("page", guides.PAGES)
def test_commands_have_the_options_that_there_are(page: str) -> None:
    lines = [told.code for told in guides.told(page) if told.language == "sh" and OURS.match(told.code)]
    for command in map(shlex.split, lines):
        words = ["-m", *command] if command[0] == "falx" else command[1:]
        sub = [] if words[1].startswith(("benchmarks", "tools", "tests")) else words[2:3]
        usage, shown = _help(words[1], *(word for word in sub if word.isalpha() and word.islower()))
        options = [word.partition("=")[0] for word in command if word.startswith("--")]
        assert [option for option in options if not re.search(rf"{re.escape(option)}\b", shown)] == []
        needed = re.findall(r"--[\w-]+", re.sub(r"\[[^]]*\]", "", usage))
        assert [option for option in needed if option not in options] == []


@functools.cache
def _help(module: str, *sub: str) -> tuple[str, str]:
    """The usage of a command, and all of its help."""
    command = [sys.executable, "-m", module, *sub, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return shown.partition("\n\n")[0], shown


@pytest.mark.parametrize("guide", guides.PAGES)
def test_links_lead_somewhere(checkout: Path, guide: str) -> None:
    page = checkout / guide
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_ci_runs_the_readmes_test_command(checkout: Path) -> None:
    script = (checkout / ".ci" / "run").read_text(encoding="utf-8").replace(" --quiet", "")
    # uv takes pip's words, and half of its time.
    script = script.replace("uv pip install", "python -m pip install")
    for command in TEST.split(" && "):
        assert command in script
    assert "--quiet" not in TEST


def test_the_readme_is_one_screen(readme: str) -> None:
    assert len(readme.split()) <= 900
