"""All files or none."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.said import Said, python

from falx_export import write
from falx_export.errors import OutputExists, WriteError

FILES = {"a.tflite": b"one", "b.onnx": b"two", "parity.json": b"{}"}


def test_writes_into_a_new_folder(tmp_path: Path) -> None:
    write.write(tmp_path / "new" / "folder", FILES)
    assert {path.name: path.read_bytes() for path in (tmp_path / "new" / "folder").iterdir()} == FILES
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folder"]


def test_replaces_what_is_there_and_leaves_other_files(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.tflite").write_bytes(b"old")
    (tmp_path / "out" / "MODEL_CARD.md").write_bytes(b"mine")
    write.write(tmp_path / "out", FILES)
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {**FILES, "MODEL_CARD.md": b"mine"}


HOOKED = """
import os, signal, sys
from pathlib import Path
from falx_export import write
moment, folder, files = int(sys.argv[1]), Path(sys.argv[2]), {files!r}
calls = 0
def hooked(function):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call
for name in ("mkdir", "fsync", "replace", "rename", "unlink", "chmod", "rmdir"):
    setattr(os, name, hooked(getattr(os, name)))
write.write(folder, files)
print(calls)
"""
"""Kills itself before one of the calls that change what is on the disk."""


def killed(moment: int, folder: Path) -> Said:
    return python("-c", HOOKED.replace("{files!r}", repr(FILES)), moment, folder)


def named(folder: Path) -> dict[str, bytes]:
    """The files that something would take for a model or its report."""
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.suffix in SUFFIXES}


SUFFIXES = (".tflite", ".onnx", ".json")


@pytest.mark.parametrize("moment", [1, 2, 3, 5, 6, 7, 9, 10, 11])
def test_killed_at_any_moment_a_new_folder_is_whole_or_not_there(tmp_path: Path, moment: int) -> None:
    done = killed(moment, tmp_path / "out")
    if moment > MOMENTS_NEW:
        assert done == (0, f"{MOMENTS_NEW}\n", "")
        assert named(tmp_path / "out") == FILES
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
    else:
        assert done.status == -9, done.err
        assert not (tmp_path / "out").exists()
        # What is left is hidden, and no model until every file is complete.
        left = list(tmp_path.iterdir())
        assert all(path.name.startswith(".out.") for path in left)
        assert moment > len(FILES) + 3 or not any(named(path) for path in left)


MOMENTS_NEW = 10
"""The parent made sure of, one folder, three files written, three named, the folder opened and named."""


@pytest.mark.parametrize("moment", [1, 2, 4, 5, 6, 7, 8, 9, 10])
def test_killed_at_any_moment_a_folder_that_exists_holds_whole_files(tmp_path: Path, moment: int) -> None:
    old = {"a.tflite": b"old", "parity.json": b"[]"}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    done = killed(moment, tmp_path)
    found = named(tmp_path)
    assert all(content in (old.get(name), FILES[name]) for name, content in found.items())
    # The report never lies beside files that it doesn't speak of.
    assert "parity.json" not in found or found in (old, FILES)
    assert done.status == (-9 if moment <= MOMENTS_EXISTING else 0)
    assert found == (old if moment <= 5 else FILES if moment >= MOMENTS_EXISTING else found)


MOMENTS_EXISTING = 9
"""One folder to work in, three files written, the report taken away, three named, that folder removed."""


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """A real one: a file system of 200 kB in memory, in a name space of its own."""
    space = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run([*space, *mount], check=False).returncode:
        pytest.skip("this system lets no test mount a file system")
    program = f"""
import os, subprocess, sys
from pathlib import Path
from falx_export import write
from falx_export.errors import WriteError
subprocess.run({mount!r}, check=True)
folder = Path({str(tmp_path)!r})
try:
    write.write(folder / "out", {{name: bytes(100_000) for name in {list(FILES)!r}}})
except WriteError as error:
    print(error)
print(os.listdir(folder))
"""
    command = [*space, sys.executable, "-c", program]
    message, left = subprocess.check_output(command, text=True).splitlines()
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path / 'out'))}: No space left on device; the files take 0\.3 MB and "
        r"0\.\d MB are left: make room, or give another --out",
        message,
    )
    assert left == "[]"


@pytest.mark.parametrize("exists", [True, False])
def test_too_large_a_file_is_told_and_leaves_nothing(tmp_path: Path, exists: bool) -> None:
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    folder = tmp_path / "out"
    if exists:
        folder.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(WriteError, match=rf"^{re.escape(str(folder))}: File too large; the files take"):
            write.write(folder, {name: bytes(100_000) for name in FILES})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.rglob("*")) == ([folder] if exists else [])


def test_a_new_folder_is_as_open_as_any_other(tmp_path: Path) -> None:
    write.write(tmp_path / "out", FILES)
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(OSError, match="Input/output error"):
        write.write(tmp_path / "out", FILES)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputExists, match="expected a folder to write into, found a file"):
        write.refuse_to_overwrite(tmp_path / "out", [])
