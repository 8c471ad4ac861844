"""The checkout itself: what an editable install is, and what no file may say."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.packaging.conftest import Environment

# A path that exists on one machine only.
MACHINE_PATH = re.compile(r"(?<![\w.}/-])/(?:home|Users|work|root)/\w+")

BINARY = {".bin", ".tflite", ".onnx", ".keras", ".h5", ".png", ".jpg", ".gif", ".svg"}
IMAGE_OF_A_PATIENT = {".dcm", ".nii", ".gz", ".mha", ".npz"}


@pytest.fixture(scope="module")
def tracked(checkout: Path) -> list[Path]:
    """Every file that is committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=checkout, capture_output=True, check=True, text=True
    )
    return [checkout / name for name in listed.stdout.split("\0") if name and (checkout / name).is_file()]


@pytest.mark.slow
def test_an_editable_install_is_one_plain_path_file(
    checkout: Path, new_environment: Callable[[], Environment]
) -> None:
    # Import hooks in its place would work in Python, and not in mypy, pyright or an IDE.
    environment = new_environment()
    environment.run(["python", "-m", "pip", "install", "--no-deps", "--editable", str(checkout)])
    added = [path for path in environment.packages.glob("*.pth") if "distutils" not in path.name]
    roots = [str(checkout / root) for root in ("export", "runtime", "trainer")]
    assert [sorted(path.read_text().split()) for path in added] == [roots]


def test_no_file_names_a_path_of_one_machine(tracked: list[Path]) -> None:
    found = [
        f"{path}:{number}: {match[0]}"
        for path in tracked
        if path.suffix not in BINARY and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := MACHINE_PATH.search(line))
    ]
    assert found == []


def test_no_scan_and_no_large_file_but_models_is_committed(tracked: list[Path], checkout: Path) -> None:
    assert [path for path in tracked if path.suffix in IMAGE_OF_A_PATIENT] == []
    large = [path.relative_to(checkout) for path in tracked if path.stat().st_size > 1_000_000]
    assert [p for p in large if p.parts[0] != "models" and p != Path("runtime/falx/default.tflite")] == []
    # History keeps every release, so each clone of all of it holds them all.
    assert sum(path.stat().st_size for path in tracked if checkout / "models" in path.parents) <= 30_000_000
