from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom import config
from pydicom.dataelem import DataElement
from tests.pictures import Pixels
from tests.reading.dicom import made

import falx
from falx import phantom
from falx.reading.files import expand, opened
from falx.reading.input_file import InputFile
from falx.reading.source import read
from falx.slices.slice import Unreadable

DCMMKDIR = shutil.which("dcmmkdir", path="/usr/bin") or ""

pytestmark = pytest.mark.skipif(not DCMMKDIR, reason="dcmtk is not installed")


@pytest.fixture
def medium(head: Pixels, tmp_path: Path) -> Path:
    """A medium of three images, and a stray file that its table of contents does not name."""
    folder = tmp_path / "MEDIUM"
    (folder / "A").mkdir(parents=True)
    for number in range(3):
        made_one = made.dataset(
            head,
            InstanceNumber=number + 1,
            SeriesNumber=1,
            StudyID="1",
            StudyDate="20200101",
            StudyTime="000000",
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 5.0 * number],
        )
        (folder / "A" / f"IM{number}").write_bytes(made.written(made_one))
    done = subprocess.run([DCMMKDIR, "+r", "-Nxc", "-W", "A"], cwd=folder, capture_output=True, text=True)
    assert (folder / "DICOMDIR").exists(), done.stderr
    (folder / "STRAY").write_bytes(made.written(made.dataset(head)))
    return folder


def test_a_dicomdir_stands_for_the_images_it_lists(classifier: falx.Classifier, medium: Path) -> None:
    items = list(expand([str(medium / "DICOMDIR")]))
    assert len(items) == 3
    assert all(str(item).startswith(f"{medium}/A/IM") for item in items)
    study = classifier.predict_study(medium / "DICOMDIR")
    assert study.series[0].about.positions_mm == (0.0, 5.0, 10.0)
    # The folder holds one file more.
    assert len(list(expand([str(medium)]))) == 4


def test_what_a_dicomdir_lists_and_is_not_there(medium: Path) -> None:
    gone = medium / "A" / "IM1"
    gone.unlink()
    found = list(opened([str(medium / "DICOMDIR")]))
    (missing,) = [one for one in found if isinstance(one, Unreadable)]
    assert len(found) == 3
    assert str(missing.error) == f"{gone}: no such file, though {medium}/DICOMDIR lists it"


@pytest.mark.parametrize("parts", [["..", "secret"], ["/etc", "passwd"], ["a/../../b"], ["."]])
def test_a_dicomdir_leads_nowhere_else(medium: Path, parts: list[str]) -> None:
    path = medium / "DICOMDIR"
    table = pydicom.dcmread(path)
    for record in table.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            record.add(DataElement("ReferencedFileID", "CS", parts, validation_mode=config.IGNORE))
    table.save_as(path, enforce_file_format=True)
    found = list(opened([str(path)]))
    assert len(found) == 3
    for one in found:
        assert isinstance(one, Unreadable)
        assert str(one.error) == f"{path}: lists a file outside of its folder, which was not read"


def test_a_dicomdir_that_does_not_lie_beside_its_images(tmp_path: Path) -> None:
    here = tmp_path / "DICOMDIR"
    here.write_bytes(made.written(made.dataset(phantom.clear())))
    # A path that leads to a file of this machine is not where the bytes came from.
    for path in (None, str(here)):
        (found,) = opened([InputFile.of("DICOMDIR", here.read_bytes(), path)])
        assert isinstance(found, Unreadable)
        assert str(found.error) == (
            "DICOMDIR: expected images, got the list of them; give the folder that it lies in"
        )


def test_an_image_named_as_a_dicomdir_and_a_damaged_one(medium: Path, tmp_path: Path) -> None:
    lone = tmp_path / "DICOMDIR"
    shutil.copy(medium / "STRAY", lone)
    (found,) = expand([str(lone)])
    with pytest.raises(falx.UnreadableImage, match="expected a list of images, got none; give the folder"):
        read(found)
