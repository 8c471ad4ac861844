from __future__ import annotations

import struct
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.pictures import encoded, zipped

import falx
from falx import phantom
from falx.errors import UnreadableImage
from falx.reading import zip_archive
from falx.reading.files import expand, opened
from falx.reading.input_file import InputFile
from falx.reading.source import read
from falx.slices.slice import Unreadable


def png(value: int = 90) -> bytes:
    return encoded(Image.new("L", (8, 8), value))


FILES = {
    "DICOMDIR": b"\x08\x00\x05\x00CS",
    "b/2.png": png(2),
    "b/1": png(1),
    "notes.txt": b"a patient's name",
    ".hidden.png": png(),
    "__MACOSX/b/._2.png": png(),
    "b/": b"",
    "inner.zip": b"PK\x03\x04",
}


def test_the_pictures_of_an_archive_in_the_order_of_their_names(tmp_path: Path) -> None:
    path = tmp_path / "study.zip"
    path.write_bytes(zipped(FILES))
    passed_over: Counter[str] = Counter()
    found = list(expand([str(path)], passed_over=passed_over))
    assert all(isinstance(one, InputFile) for one in found)
    assert [one.path for one in found if isinstance(one, InputFile)] == [f"{path}/b/1", f"{path}/b/2.png"]
    assert [read(one).pixels.max() for one in found] == [1, 2]
    assert passed_over == {".txt": 1, ".zip": 1, "DICOMDIR": 1}
    # The same from bytes, under any name, and again: a member can be read as often as need be.
    held = list(expand([InputFile.of("upload", path.read_bytes(), "upload")]))
    assert [one.path for one in held if isinstance(one, InputFile)] == ["upload/b/1", "upload/b/2.png"]
    assert [read(one).pixels.max() for one in held * 2] == [1, 2, 1, 2]


def test_answers_name_the_archive_and_the_member(classifier: falx.Classifier, tmp_path: Path) -> None:
    lesion = encoded(phantom.lesion())
    path = tmp_path / "study.zip"
    path.write_bytes(zipped({"a.png": lesion, "cut.png": lesion[:2000]}))
    good, bad = classifier.predict_many(expand([str(path)]))
    assert isinstance(good, falx.Prediction)
    assert (good.path, good.decision) == (f"{path}/a.png", classifier.predict(phantom.lesion()).decision)
    assert isinstance(bad, falx.Failure)
    assert (bad.path, str(bad.error)) == (
        f"{path}/cut.png",
        f"{path}/cut.png: the image is damaged or cut short: it ends too early",
    )
    with pytest.raises(UnreadableImage, match="expected one slice, got a zip archive"):
        classifier.predict(path)


def told(archive: bytes | InputFile) -> str:
    """The error that an archive comes to as a whole."""
    (found,) = opened([InputFile.of("x.zip", archive) if isinstance(archive, bytes) else archive])
    assert isinstance(found, Unreadable)
    return str(found.error)


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "a/../../b.png", "/".join("d" * 40) + "/a.png"])
def test_no_name_leads_out_of_the_archive(name: str) -> None:
    assert "not read, because its name leads elsewhere" in told(zipped({name: png()}))


def test_an_archive_without_an_image_or_damaged_says_so() -> None:
    for files in ({}, {"a.txt": b"none"}):
        assert told(zipped(files)) == "x.zip: no image in this archive"
    data = zipped(FILES)
    for where in (0.3, 0.9):
        assert told(data[: int(len(data) * where)]).startswith("x.zip: the zip archive is damaged: ")


def test_a_member_that_is_not_what_its_checksum_says() -> None:
    data = zipped({"a.png": png()}, zipfile.ZIP_STORED)
    at = data.index(b"IDAT") + 6
    (found,) = opened([InputFile.of("x.zip", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])])
    with pytest.raises(
        UnreadableImage, match=r"x\.zip/a\.png: the zip archive is damaged: its contents do not"
    ):
        assert read(found) if isinstance(found, InputFile) else None


def test_an_encrypted_member_is_named() -> None:
    data = bytearray(zipped({"a.png": png()}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", data, data.index(signature) + flags, 1)
    assert told(bytes(data)) == "x.zip/a.png: is encrypted; unpack the archive"


def test_archives_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    # A bomb is refused by what it claims, before it is unpacked.
    bomb = InputFile.of("x.zip", zipped({"a.png": bytes(2**16), "b.png": png()}))
    assert "x.zip: too large to be a study: 2 files of 0 MiB; at most 20000 of 0 MiB" in told(
        replace(bomb, most_bytes=2**13)
    )
    with monkeypatch.context() as bounded:
        bounded.setattr(zip_archive, "MOST_MEMBERS", 1)
        assert "x.zip: too large to be a study: 2 files of 0 MiB; at most 1 of" in told(bomb)
    # A member that lies about its size is read to the bound, and no further.
    two = InputFile.of("x.zip", zipped({"a.png": png() + bytes(100), "b.txt.png": b"P"}))
    first, second = opened([replace(two, most_bytes=100)])
    with pytest.raises(UnreadableImage, match=r"x\.zip/a\.png: too large to be a slice: over 0 MiB unpacked"):
        assert read(first) if isinstance(first, InputFile) else None
    assert isinstance(second, InputFile)


def test_volumes_and_dicom_in_an_archive(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    made = nibabel.Nifti1Image(np.zeros((30, 30, 4), np.uint8), np.diag([5.0, 5.0, 9.0, 1.0]))
    (found,) = opened([InputFile.of("x.zip", zipped({"v.nii": made.to_bytes()}), "x.zip")])
    assert not isinstance(found, InputFile)
    assert (found.path, found.frames) == ("x.zip/v.nii", 4)
