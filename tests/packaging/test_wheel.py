"""The wheel holds what it should, and asks for no more."""

from __future__ import annotations

import configparser
import hashlib
import re
import tarfile
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.packaging.conftest import _build

import falx

MEGABYTE = 1_000_000

# Every file of a wheel matches one of these, and each of these is in it.
CONTENTS = (
    r"falx/\w+\.py",
    *(rf"falx/{room}/\w+\.py" for room in ("app", "command", "engines", "model", "pictures")),
    *(rf"falx/{room}/\w+\.py" for room in ("reading", "serve", "slices")),
    r"falx/app/(icon\.svg|style\.css|viewer\.(css|html|js))",
    r"falx/command/completion\.(bash|zsh)",
    r"falx/app/templates/\w+\.(css|html)",
    r"falx/workstation/((node|objects)/)?\w+\.py",
    r"falx/_pyinstaller/(__init__|hook-[\w.]+)\.py",
    r"falx/(py\.typed|schema\.json)",
    r"falx/default\.tflite",
    r"falx-[\d.]+\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt)",
    r"falx-[\d.]+\.dist-info/licenses/LICENSE",
    r"falx-[\d.]+\.dist-info/licenses/models/falx-[\w.-]+/MODEL_CARD\.md",
)

DESKTOP = ("ai-edge-litert", "numpy", "pillow")
ARM_32 = ("numpy", "pillow", "tflite-runtime")
MACHINES = {"x86_64": DESKTOP, "aarch64": DESKTOP, "AMD64": DESKTOP, "arm64": DESKTOP, "armv7l": ARM_32}

EXTRAS = {
    "": set(),
    "app": {"fpdf2", "jinja2", "streamlit", "uharfbuzz"},
    "onnx": {"onnxruntime"},
    "dicom": {*("highdicom", "pydicom", "pyjpegls", "pylibjpeg", "pylibjpeg-openjpeg", "pynetdicom")},
    "nifti": {"nibabel"},
    "serve": {"python-multipart", "starlette", "uvicorn"},
    "tflite": {"tflite-runtime"},
}


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return BytesParser().parsebytes(archive.read(name))


def _requirements(metadata: Message, machine: str, extra: str = "") -> list[Requirement]:
    every = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    there = {"platform_machine": machine, "extra": extra}
    return [r for r in every if r.marker is None or r.marker.evaluate(there)]


def test_the_wheel_is_the_runtime_alone_and_the_whole_of_it(wheel: Path, checkout: Path) -> None:
    sources = checkout / "runtime"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    foreign = [name for name in names if not any(re.fullmatch(pattern, name) for pattern in CONTENTS)]
    absent = [pattern for pattern in CONTENTS if not any(re.fullmatch(pattern, name) for name in names)]
    assert (foreign, absent) == ([], [])
    modules = {str(path.relative_to(sources)) for path in sources.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    # For every machine, and small.
    assert wheel.name == f"falx-{falx.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size <= 6 * MEGABYTE


@pytest.mark.parametrize(("machine", "expected"), MACHINES.items())
def test_a_machine_gets_numpy_pillow_and_one_engine(
    metadata: Message, machine: str, expected: tuple[str, ...]
) -> None:
    names = {canonicalize_name(r.name) for r in _requirements(metadata, machine)}
    assert sorted(names) == list(expected)


@pytest.mark.parametrize(("machine", "numpy_2"), [("x86_64", True), ("aarch64", True), ("armv7l", False)])
def test_numpy_2_is_kept_from_tflite_runtime_only(metadata: Message, machine: str, numpy_2: bool) -> None:
    numpy = [r.specifier for r in _requirements(metadata, machine) if r.name == "numpy"]
    assert all("1.26.4" in specifier for specifier in numpy)
    assert all("2.4.0" in specifier for specifier in numpy) is numpy_2


@pytest.mark.parametrize(("extra", "expected"), EXTRAS.items())
def test_an_extra_adds_its_package_alone(metadata: Message, extra: str, expected: set[str]) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == set(EXTRAS) - {""}
    asked = _requirements(metadata, "x86_64", extra)
    assert {canonicalize_name(r.name) for r in asked} - set(DESKTOP) == expected
    # tflite-runtime keeps NumPy 1.
    assert all("2.0.0" in r.specifier for r in asked if r.name == "numpy") is (extra != "tflite")


def test_metadata_is_complete(metadata: Message, checkout: Path) -> None:
    assert metadata["Name"] == "falx"
    assert metadata["Version"] == falx.__version__
    assert metadata["License-Expression"] == "Apache-2.0 AND LicenseRef-research-only"
    (model,) = (checkout / "models").iterdir()
    assert metadata.get_all("License-File") == ["LICENSE", f"models/{model.name}/MODEL_CARD.md"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Summary"]
    assert "not a medical device" in str(metadata.get_payload())


def test_the_command_is_falx(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        points = configparser.ConfigParser()
        points.read_string(archive.read(name).decode())
    assert {section: dict(points[section]) for section in points.sections()} == {
        "console_scripts": {"falx": "falx.__main__:run"},
        "pyinstaller40": {"hook-dirs": "falx._pyinstaller:hook_folders"},
    }


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert not (source / "trainer").exists()
    assert _digests(_build("--wheel", source, tmp_path / "out")) == _digests(wheel)


def _digests(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
