from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.reading.forbidden import forbidden

from falx.errors import ImageForbidden, ImageNotFound
from falx.reading.files import expand
from falx.reading.source import read
from falx.slices.slice import Part


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "sub/c.tif", "sub/notes.txt", ".hidden.png", ".git/x.png", "z.bin"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "IM0001").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_folder_is_its_images_in_order(folder: Path) -> None:
    found = [os.path.relpath(str(item), folder) for item in expand([str(folder)])]
    assert found == ["IM0001", "a.JPG", "b.png", os.path.join("sub", "c.tif")]  # noqa: PTH118 - text


def test_files_are_themselves_whatever_their_name_and_as_often_as_given(folder: Path) -> None:
    paths = [str(folder / "z.bin"), "absent.png", str(folder / "z.bin")]
    assert list(expand(paths)) == paths


def test_paths_stay_as_they_were_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert next(iter(expand(["./sub"]))) == os.path.join("./sub", "c.tif")  # noqa: PTH118 - text


def test_a_folder_without_images_is_a_failure(folder: Path) -> None:
    empty = str(folder / "empty")
    (part,) = expand([empty])
    assert isinstance(part, Part)
    assert (part.holder.path, part.holder.frames, part.holder.origin(1)) == (empty, 1, None)
    with pytest.raises(ImageNotFound) as raised:
        part.holder.read(1)
    assert str(raised.value) == f"{empty}: no image in this folder or below"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_folder_is_passed_over(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert len(list(expand([str(folder)]))) == 4


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    (folder / "sub" / "loop").symlink_to(folder)
    assert len(list(expand([str(folder)]))) == 4


def test_a_folder_that_may_not_be_read_is_a_failure() -> None:
    with forbidden() as folder:
        picture, secret = expand([str(folder)])
    assert picture == str(folder / "secret.png")
    assert isinstance(secret, Part)
    with pytest.raises(ImageForbidden, match="secret: the folder cannot be read: Permission denied"):
        read(secret)
