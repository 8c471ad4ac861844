"""The container image installs what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HASHED = re.compile(r"^([\w.-]+)==(\S+)[^\n]*\\\n    --hash=sha256:[0-9a-f]{64}", re.M)


def pinned(path: Path) -> dict[str, str]:
    """Version of each package in a file of requirements; only such lines are in it."""
    text = path.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "    --hash"))]
    found: dict[str, str] = {canonicalize_name(name): version for name, version in HASHED.findall(text)}
    assert len(found) == len(lines), "each package once, by version and hash"
    return found


def test_the_image_installs_every_package_that_falx_and_its_page_ask_for(checkout: Path) -> None:
    document = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    project, here = document["project"], {"platform_machine": "x86_64"}  # it is for 64-bit x86 and Arm
    extras = project["optional-dependencies"]
    asked = [
        Requirement(text)
        for text in (*project["dependencies"], *extras["app"], *extras["dicom"], *extras["nifti"])
    ]
    asked = [one for one in asked if one.marker is None or one.marker.evaluate(here)]
    # And what builds the wheel is pinned.
    builds = [Requirement(text) for text in document["build-system"]["requires"]]
    for file, wanted in (("requirements.txt", asked), ("build.txt", builds)):
        found = pinned(checkout / "deploy" / file)
        for one in wanted:
            version = found.get(canonicalize_name(one.name), "0")
            assert one.specifier.contains(version, prereleases=True), one
