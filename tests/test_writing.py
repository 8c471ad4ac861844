from __future__ import annotations

import errno
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.said import python

from falx.writing import lacks_room, locked, write_through, write_whole


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


def test_a_killed_process_leaves_no_file_of_that_name_and_nothing_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    killed = (
        "import os, pathlib, sys\n"
        "from falx.writing import write_whole\n"
        "os.fsync = lambda _: os._exit(9)\n"
        "write_whole(pathlib.Path(sys.argv[1]), b'{}', replace=False)\n"
    )
    assert python("-c", killed, path).status == 9
    assert [file.suffix for file in tmp_path.iterdir()] == [".part"]
    write_whole(path, b"{}", replace=False)
    assert path.read_bytes() == b"{}"


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    monkeypatch.setattr(os, "fsync", lambda _: path.write_bytes(b"other"))
    with pytest.raises(FileExistsError):
        write_whole(path, b"{}", replace=False)
    assert path.read_bytes() == b"other"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("taken", [False, True])
def test_a_file_system_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    path = tmp_path / "a.json"

    def refused(*_: object) -> None:
        if taken:
            path.write_bytes(b"other")
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    with pytest.raises(FileExistsError) if taken else nullcontext():
        write_whole(path, b"{}", replace=False)
    assert path.read_bytes() == (b"other" if taken else b"{}")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, True), (errno.EFBIG, True), (errno.EACCES, False)]
)
def test_want_of_room(number: int, expected: bool) -> None:
    assert lacks_room(OSError(number, "said")) is expected


def test_a_file_is_locked_for_one_process(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"answers")
    asks = f"from falx.writing import locked; file = open({str(path)!r}); print(locked(file.fileno()))"

    with path.open("r+b") as file:
        assert locked(file.fileno())
        assert python("-c", asks) == (0, "False\n", "")
        assert file.read() == b"answers"
    assert python("-c", asks) == (0, "True\n", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows has its own")
def test_a_file_is_locked_on_windows_at_a_byte_that_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    def locking(descriptor: int, mode: int, count: int) -> None:
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        if at in held:
            raise PermissionError(errno.EACCES, "Permission denied")
        held.extend(range(at, at + count))

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    path = tmp_path / "a"
    path.write_bytes(b"answers")
    with path.open("r+b", buffering=0) as file:
        file.seek(3)
        assert [locked(file.fileno()), locked(file.fileno())] == [True, False]
        assert (held, file.tell(), file.read()) == ([2**31 - 2], 3, b"wers")


def test_a_lock_that_the_system_does_not_give_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="this system locks files otherwise")

    def none_left(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none_left)
    with (tmp_path / "a").open("wb") as file, pytest.raises(OSError, match="No locks available"):
        locked(file.fileno())
