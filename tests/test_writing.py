from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from falx.writing import flush, lacks_room, write_through, write_whole


def test_a_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    seen: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(path.read_bytes()))
    write_whole(path, b"new")
    assert (path.read_bytes(), seen) == (b"new", [b"old"])
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_exists_can_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"first", replace=False)
    with pytest.raises(FileExistsError, match=r"a\.json"):
        write_whole(path, b"second", replace=False)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_whole, write_through])
def test_a_file_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert callable(write)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write(tmp_path / "a.json", b"{}")
    assert lacks_room(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_takes_no_name_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_through(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_files_and_folders_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    write_whole(tmp_path / "a", b"")
    flushed.clear()
    flush(tmp_path / "a")
    flush(tmp_path)
    assert flushed == [(tmp_path / "a").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, True), (errno.EFBIG, True), (errno.EACCES, False)]
)
def test_want_of_room(number: int, expected: bool) -> None:
    assert lacks_room(OSError(number, "said")) is expected
