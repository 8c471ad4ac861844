"""All files or none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from falx_export import write
from falx_export.errors import OutputExists

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


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_killed_while_writing_it_leaves_nothing_that_is_taken_for_a_model(
    tmp_path: Path, moment: int
) -> None:
    program = f"""
import os, signal
from pathlib import Path
from falx_export import write
calls = 0
def fsync(_):
    global calls
    calls += 1
    if calls == {moment}:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
write.write(Path({str(tmp_path / "out")!r}), {FILES!r})
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "out").exists()
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".part"}


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write.write(tmp_path / "out", FILES)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputExists, match="expected a folder to write into, found a file"):
        write.refuse_to_overwrite(tmp_path / "out", [])
