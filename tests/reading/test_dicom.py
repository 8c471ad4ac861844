from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.pictures import Pixels

from falx.errors import DicomUnavailable, UnreadableImage
from falx.reading import source as images
from falx.reading.sniffing import is_dataset

PIXELS = np.arange(300, dtype=np.uint16).reshape(15, 20) * 7


@pytest.fixture
def dataset() -> Any:
    made = pytest.importorskip("tests.reading.dicom.made", reason="pydicom is not installed")
    return made.dataset(PIXELS, 12)


def scaled(values: npt.NDArray[Any]) -> Pixels:
    return images.read(values.astype(np.float64)).pixels


def test_a_data_set_and_its_file_under_any_name(dataset: Any, tmp_path: Path) -> None:
    path = tmp_path / "IM0001"
    dataset.save_as(path, enforce_file_format=True)
    for source in (dataset, path, path.read_bytes()):
        assert np.array_equal(images.read(source).pixels, scaled(PIXELS))


def test_monochrome1_is_inverted(dataset: Any) -> None:
    dataset.PhotometricInterpretation = "MONOCHROME1"
    assert np.array_equal(images.read(dataset).pixels, scaled(-PIXELS.astype(float)))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("NumberOfFrames", 3, "expected one slice, got 3 frames; give it as a study"),
        ("PhotometricInterpretation", "RGB", "expected MONOCHROME1 or MONOCHROME2, got RGB"),
        ("Rows", None, "holds no picture"),
        ("Rows", 60000, "too large to be a slice, so it was not decoded"),
        ("Rows", 16, "the DICOM pixels cannot be decoded"),
    ],
)
def test_what_is_not_one_grey_picture(dataset: Any, name: str, value: Any, message: str) -> None:
    setattr(dataset, name, value)
    if value == 60000:
        dataset.Columns = 60000
    with pytest.raises(UnreadableImage, match=message):
        images.read(dataset)


def test_a_file_cut_off_in_its_pixels_says_how_much_is_there(dataset: Any, tmp_path: Path) -> None:
    path = tmp_path / "IM0001"
    dataset.save_as(path, enforce_file_format=True)
    whole = len(dataset.PixelData)
    message = f"cannot be decoded: they are cut off: expected {whole} bytes, got {whole - 50}; copy or export"
    with pytest.raises(UnreadableImage, match=message):
        images.read(path.read_bytes()[:-50])


def test_without_pydicom_a_file_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [key for key in sys.modules if key.partition(".")[0] == "pydicom"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DicomUnavailable, match=r"DICOM needs the extra dicom: pip install 'falx\[dicom\]'$"):
        images.read(bytes(128) + b"DICM" + bytes(50))


def test_data_sets_are_told_by_their_class() -> None:
    made = type("FileDataset", (type("Dataset", (), {"__module__": "pydicom.dataset"}),), {})
    assert is_dataset(made())
    assert not is_dataset(type("Dataset", (), {"__module__": "torch.utils.data"})())


def test_a_number_of_frames_that_is_none_counts_as_one(dataset: Any) -> None:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag("NumberOfFrames")
    dataset[tag] = RawDataElement(tag, "IS", 2, b"1A", 0, False, True)
    assert np.array_equal(images.read(dataset).pixels, scaled(PIXELS))


def test_a_decoder_that_panics_is_a_damaged_file() -> None:
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    pytest.importorskip("rle", reason="pylibjpeg-rle is not installed")
    made = pydicom.dcmread(pydicom.data.get_testdata_file("MR_small_RLE.dcm", download=False))
    data = bytearray(made.PixelData)
    data[2683] = 62  # a run that goes on beyond the end of its segment
    made.PixelData = bytes(data)
    with pytest.raises(UnreadableImage, match="the image is damaged, its decoder gave up"):
        images.read(made)
