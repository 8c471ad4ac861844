"""The system sees all that a prediction asks of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tiny import ModelOf

NETWORK = re.compile(r"\b(socket|connect|bind|listen|accept4?|send\w*|recv\w*)\(")
WRITES = re.compile(
    r"\b(creat|mkdir\w*|mknod\w*|rename\w*|link\w*|symlink\w*|unlink\w*|truncate|memfd_create)\("
    r"|\bopen(at2?)?\(.*\b(O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE)\b"
)
PATH = re.compile(r'"([^"]*)"')


def _watched(tmp_path: Path, *arguments: str | Path) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """The calls of `falx` that reach out or write, and what it said."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    log = tmp_path / "calls.txt"
    command = [strace, "-f", "-qq", "-o", str(log), "-e", "trace=%network,%file,memfd_create"]
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    # Away from variables that tell other packages to be quiet, so that it is Falx that keeps them so.
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "LANG")}
    done = subprocess.run(
        [*command, sys.executable, "-B", "-m", "falx", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**kept, "HOME": str(home)},
    )
    if not log.exists() or "ptrace" in done.stderr:
        pytest.skip(f"strace does not work here: {done.stderr.strip()}")
    calls = log.read_text(errors="replace").splitlines()
    assert any("scan.png" in call for call in calls)
    assert list(home.iterdir()) == []
    return [call for call in calls if NETWORK.search(call) or WRITES.search(call)], done


def test_a_prediction_opens_no_socket_and_writes_no_file(
    engine: str, model_of: ModelOf, scan: Path, tmp_path: Path
) -> None:
    options = ("--json", "--model", model_of(engine), "--engine", engine)
    calls, done = _watched(tmp_path, "predict", scan, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert [call for call in calls if '"/dev/null"' not in call] == []


def test_what_is_asked_for_is_all_that_is_written(model: Path, scan: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    calls, done = _watched(tmp_path, "predict", scan, "--model", model, "--heatmaps", maps)
    assert done.returncode == 0
    written = {PATH.findall(call)[0] for call in calls} - {"/dev/null"}
    assert {name for name in written if Path(name).parent != maps and Path(name) != maps} == set()
    assert [file.name for file in maps.iterdir()] == ["scan.png"]
