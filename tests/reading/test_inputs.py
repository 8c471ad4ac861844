"""A caller may give more than paths: open files, views, arrays of which more is known."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.pictures import Pixels, encoded

import falx
from falx import phantom
from falx.errors import NotASlice, UnreadableImage
from falx.reading.files import expand
from falx.reading.pixels import PixelArray
from falx.reading.source import FORMATS, read

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


class Reader:
    """An object that reads like a file, and does nothing more."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def read(self, size: int = -1, /) -> Any:  # noqa: ARG002 - as files do
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("text", r"an open file \(Reader\): expected bytes from it, got str; open it in mode 'rb'"),
        (None, r"an open file \(Reader\): expected bytes from it, got NoneType"),
        (OSError("gone"), r"an open file \(Reader\): cannot be read: gone"),
        (b"", "expected an image, got an empty file"),
        (b"none", r"an open file \(Reader\): expected PNG.* got text"),
    ],
)
def test_open_files_that_hold_no_image(answer: object, message: str) -> None:
    with pytest.raises(UnreadableImage, match=message):
        read(Reader(answer))
    closed = io.BytesIO(encoded(GREY))
    closed.close()
    with pytest.raises(UnreadableImage, match="cannot be read"):
        read(closed)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float64])
def test_the_window_of_an_array(dtype: type[np.generic]) -> None:
    values = np.array([[0, 50, 60, 100, 140, 150, 200]] * 2).astype(dtype)
    shown = read(PixelArray(values, window=(100, 100))).pixels
    assert shown[0].tolist() == [0, 0, 26, 128, 230, 255, 255]
    assert read(PixelArray(np.array([[0.0, 0.5, 1.0]]), window=(0.5, 1))).pixels.tolist() == [[0, 128, 255]]


def test_the_spacing_of_an_array() -> None:
    tall = np.zeros((40, 50), np.uint8)
    assert read(PixelArray(tall, spacing_mm=(4.0, 2.0))).pixels.shape == (80, 50)
    with pytest.raises(NotASlice, match=r"uint8 array of shape .* 80 mm, and a head takes 100") as raised:
        read(PixelArray(tall, spacing_mm=(2.0, 1.5)))
    assert raised.value.reason.code == "small_field"


def test_the_colours_of_an_array_are_on_the_axis_named() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    wanted = read(colours)
    for axis in (0, 1, 2, -3):
        found = read(PixelArray(np.moveaxis(colours, 2, axis), axis=axis))
        assert np.array_equal(found.pixels, wanted.pixels)
        assert found.colour == wanted.colour
    with pytest.raises(
        UnreadableImage, match="name another axis of the colours with axis=, and give a volume to"
    ):
        read(np.moveaxis(colours, 2, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": (1, 0)}, "window must be a centre and a width above 0"),
        ({"window": (np.nan, 1)}, "window must be"),
        ({"window": (1,)}, "window must be"),
        ({"spacing_mm": (1, 0)}, "spacing must be two lengths in mm"),
        ({"spacing_mm": (1, 1, 1)}, "spacing must be two lengths in mm"),
        ({"axis": 2}, "axis must be one of 2, got 2"),
    ],
)
def test_what_is_said_of_an_array_must_make_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PixelArray(GREY, **options)


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.zeros((4, 4, 3), np.uint8), "expected grey"), (np.array([[np.nan, 1]]), "1 values are NaN")],
)
def test_a_window_is_for_grey_numbers(values: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(UnreadableImage, match=message):
        read(PixelArray(values, window=(1, 1)))


def test_predict_takes_what_is_known_of_an_array(classifier: falx.Classifier, head: Pixels) -> None:
    raw = head.astype(np.int16) * 4 - 300
    raw[0, 0] = 30_000  # a hot pixel, which the window leaves white
    wanted = classifier.predict(head)
    assert classifier.predict(raw, window=(210, 1020), spacing=(0.9, 0.9)).probabilities == pytest.approx(
        wanted.probabilities, abs=0.01
    )
    assert classifier.predict(np.stack([head] * 3), axis=0).probabilities == wanted.probabilities
    small = classifier.predict(head, spacing=(0.1, 0.1))
    assert (small.decision, small.reason and small.reason.code) == ("rejected", "small_field")
    for options in ({"window": (1, 1)}, {"spacing": (1, 1)}, {"axis": 0}):
        with pytest.raises(TypeError, match="window, spacing and axis are for arrays, got bytes"):
            classifier.predict(encoded(GREY), **options)


def test_predict_study_takes_a_volume_as_an_array(classifier: falx.Classifier) -> None:
    volume = np.stack([phantom.clear(), *[phantom.lesion()] * 3, phantom.clear()])
    study = classifier.predict_study(volume, spacing=(5.0, 0.9, 0.9))
    (series,) = study.series
    assert series.about.positions_mm == (0.0, 5.0, 10.0, 15.0, 20.0)
    assert series.about.notes[0] == "The slices were taken across axis 0 of the array, 5 of them."
    turned = classifier.predict_study(np.moveaxis(volume, 0, 1), spacing=(0.9, 5.0, 0.9))
    assert [one.to_dict()["probabilities"] for one in turned.results] == [
        one.to_dict()["probabilities"] for one in study.results
    ]
    assert study.path is None
    with pytest.raises(ValueError, match="axis must be 0, 1 or 2"):
        classifier.predict_study(volume, axis=4)
    with pytest.raises(TypeError, match="are for arrays, got str"):
        classifier.predict_study("volume.nii", axis=0)


def test_a_caller_watches_and_ends_a_study(classifier: falx.Classifier) -> None:
    volume = np.stack([phantom.clear()] * 4)
    calls: list[tuple[int, int | None]] = []
    classifier.predict_study(volume, spacing=(5, 1, 1), progress=lambda *call: calls.append(call))
    assert calls == [(1, None), (1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(falx.errors.Cancelled, match="cancelled by the caller after 2 of 4"):
        classifier.predict_study(volume, progress=lambda done, total: total is None or done < 2)
    with pytest.raises(KeyError):
        classifier.predict_study(volume, progress=lambda done, _: {0: True}[done])


def test_a_folder_is_what_it_holds_not_how_its_files_are_named(tmp_path: Path) -> None:
    image = Image.fromarray(GREY)
    for number, kind in enumerate(FORMATS):
        image.save(tmp_path / f"{number}.picture", kind)
    for name, kind in {"a.jfif": "JPEG", "b.jpe": "JPEG", "c.j2k": "JPEG2000", "d.dib": "BMP"}.items():
        image.save(tmp_path / name, kind)
    image.save(tmp_path / "e.pnm", "PPM")
    image.save(tmp_path / "f.apng", "PNG")
    for name in ("notes.txt", "a.csv", "b.csv", "report.pdf", "a.tflite", "nameless", ".hidden"):
        (tmp_path / name).write_text("no picture", encoding="utf-8")
    (tmp_path / "Erika Mustermann.1964").write_text("no picture", encoding="utf-8")
    (tmp_path / "Erika.Mustermann").write_text("no picture", encoding="utf-8")
    passed_over: Counter[str] = Counter()
    found = list(expand([str(tmp_path)], passed_over=passed_over))
    assert len(found) == len(FORMATS) + 6
    assert {read(one).pixels.shape for one in found} == {GREY.shape}
    suffixes = {".csv": 2, ".txt": 1, ".pdf": 1, ".tflite": 1, ".1964": 1}
    assert passed_over == {**suffixes, "without suffix": 2, "hidden": 1}
