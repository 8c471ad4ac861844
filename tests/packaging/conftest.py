"""The wheel as it is built, and an environment that holds it and nothing of this checkout."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from tests import guides

from falx import phantom

ROOT = Path(__file__).parents[2]

# What stands in for `unshare` where that is not permitted: Python's own sockets are refused.
NO_SOCKETS = """
import sys
def _refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise SystemExit(f"offline: {event} {args}")
sys.addaudithook(_refuse)
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder beside it with a slice and a folder of slices."""

    folder: Path
    work: Path

    @property
    def packages(self) -> Path:
        (folder,) = self.folder.glob("lib/python3.*/site-packages")
        return folder

    def run(
        self, command: Sequence[str], *, cwd: Path | None = None, status: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, its first word looked for in this environment first, and check its status."""
        done = subprocess.run(
            command, cwd=cwd or self.work, env=self._variables(), capture_output=True, text=True, timeout=300
        )
        assert status in (None, done.returncode), f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def offline(self, *command: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command where no network can be reached; see `isolation`."""
        return self.run([*isolation(), *command], status=status)

    def _variables(self) -> dict[str, str]:
        # pip's settings are the machine's; everything else that a caller has set is left behind.
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "LC_"))}
        return {
            **kept,
            "HOME": str(self.work),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([str(self.folder / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]),
        }


@functools.cache
def isolation() -> tuple[str, ...]:
    """Returns the words that keep a command from the network: an empty network namespace where permitted."""
    for prefix in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        if shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
            return prefix
    return ()


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def readme() -> str:
    """The README's text."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def new_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Environment]:
    """Makes an environment with pip alone, and slices to classify."""
    return lambda: _make_environment(tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    return _build("--sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    return _build("--wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(new_environment: Callable[[], Environment]) -> Environment:
    """An empty environment in which the README's first command was run, in the checkout."""
    environment = new_environment()
    environment.run(["bash", "-euc", guides.told("README.md")[0].code], cwd=ROOT)
    if not isolation():
        # Not as sitecustomize: Debian's Python has one already.
        (environment.packages / "no_sockets.py").write_text(NO_SOCKETS)
        (environment.packages / "no_sockets.pth").write_text("import no_sockets\n")
    return environment


def _make_environment(folder: Path) -> Environment:
    """An environment with pip alone, and slices to classify."""
    venv.create(folder / "environment", with_pip=True, symlinks=True)
    work = folder / "work"
    (work / "scans" / "second").mkdir(parents=True)
    for number, (name, draw) in enumerate(phantom.PHANTOMS.items()):
        image = Image.fromarray(draw())
        image.save(work / "scans" / f"{number}-{name}.png")
        image.resize((512, 512)).convert("RGB").save(work / "scans" / "second" / f"{name}.jpg", quality=90)
    shutil.copy(work / "scans" / "0-clear.png", work / "slice.png")
    return Environment(folder / "environment", work)


def _build(kind: str, source: Path, out: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "build", kind, "--outdir", str(out), str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (built,) = out.iterdir()
    return built
