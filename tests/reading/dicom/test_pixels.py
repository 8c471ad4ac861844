"""DICOM gives the decision that a PNG of the same pixels gives."""

from __future__ import annotations

import importlib.util
import io
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from tests.pictures import Pixels, encoded
from tests.reading.dicom import made

from falx import Classifier
from falx.errors import UnreadableImage
from falx.reading import source
from falx.reading.input_file import InputFile


@cache
def answered(classifier: Classifier, picture: bytes) -> tuple[Pixels, Any]:
    """A picture's pixels and its prediction; many files are compared with the same."""
    return source.read(picture).pixels, classifier.predict(picture)


def same(classifier: Classifier, file: Any, picture: bytes, most: int = 0) -> None:
    """A DICOM file is read and decided as a picture is, up to `most` grey levels."""
    expected, other = answered(classifier, picture)
    assert np.abs(source.read(file).pixels.astype(int) - expected).max() <= most
    one = classifier.predict(file)
    assert one.decision == other.decision
    if most == 0:
        assert one.probabilities == other.probabilities


@pytest.mark.parametrize("syntax", made.SYNTAXES)
def test_every_lossless_transfer_syntax(classifier: Classifier, real: list[Pixels], syntax: str) -> None:
    pictures: list[tuple[npt.NDArray[Any], int]] = [(one, 8) for one in real[:3]]
    # And one with 12 of 16 bits.
    for pixels, bits in [*pictures, (real[0].astype(np.uint16) * 16 + 3, 12)]:
        file = made.encoded(made.dataset(pixels, bits), made.SYNTAXES[syntax])
        assert pydicom.dcmread(io.BytesIO(file)).file_meta.TransferSyntaxUID == made.SYNTAXES[syntax]
        same(classifier, file, encoded(pixels))


@pytest.mark.parametrize("syntax", made.LOSSY)
def test_every_lossy_transfer_syntax(classifier: Classifier, real: list[Pixels], syntax: str) -> None:
    file = made.encoded(made.dataset(real[1]), made.LOSSY[syntax])
    shown = source.read(file).pixels
    assert np.abs(shown.astype(int) - real[1]).mean() < 2
    same(classifier, file, encoded(shown))


def test_jpeg_extended_with_12_bits(real: list[Pixels]) -> None:
    values = real[0].astype(np.uint16) * 16
    coded = made.by_dcmtk(made.dataset(values, 12), "+ee", "+q", "98")
    assert pydicom.dcmread(io.BytesIO(coded)).file_meta.TransferSyntaxUID == made.LOSSY["jpeg-extended"]
    if importlib.util.find_spec("libjpeg") is None:
        with pytest.raises(UnreadableImage, match=r"JPEG Extended of 12 bits needs pylibjpeg-libjpeg"):
            source.read(coded)
        return
    assert np.abs(source.read(coded).pixels.astype(int) - source.read(encoded(values)).pixels).mean() < 2


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("dtype", "bits"),
    [
        *((np.uint8, 8), (np.int8, 8)),
        *((np.uint16, bits) for bits in (8, 10, 12, 14, 16)),
        *((np.int16, bits) for bits in (10, 12, 16)),
    ],
)
def test_every_photometric_interpretation_and_depth(
    classifier: Classifier, real: list[Pixels], kind: str, dtype: type[Any], bits: int
) -> None:
    # A whole range of the bits, so that a PNG of them is stretched alike.
    spread = np.linspace(0, 2**bits - 1, 256).astype(np.int64)[real[0]]
    spread[0, :2] = 0, 2**bits - 1
    shown = encoded(spread.astype(np.uint8 if bits == 8 else np.uint16))
    values = 2**bits - 1 - spread if kind == "MONOCHROME1" else spread
    values -= 2 ** (bits - 1) if np.dtype(dtype).kind == "i" else 0
    file = made.written(made.dataset(values.astype(dtype), bits, PhotometricInterpretation=kind))
    same(classifier, file, shown)


def test_bits_above_those_stored_are_no_picture(head: Pixels) -> None:
    values = head.astype(np.uint16) * 16
    overlaid = values | np.uint16(0xA000)
    one, other = (source.read(made.written(made.dataset(v, 12))).pixels for v in (values, overlaid))
    assert np.array_equal(one, other)


def test_slope_and_intercept_and_a_window_of_what_they_give(head: Pixels) -> None:
    def shown(**tags: str) -> npt.NDArray[np.int_]:
        return source.read(made.dataset(head.astype(np.uint16), **tags)).pixels.astype(int)

    scaled = {"RescaleSlope": "2", "RescaleIntercept": "-1000", "WindowCenter": "-745", "WindowWidth": "511"}
    assert np.abs(shown(**scaled) - shown(WindowCenter="127.5", WindowWidth="256")).max() <= 1
    assert np.array_equal(shown(RescaleSlope="0", RescaleIntercept="0"), shown())


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_function_of_a_window(head: Pixels, function: str) -> None:
    window = {"WindowCenter": "100", "WindowWidth": "160", "VOILUTFunction": function}
    shown = source.read(made.dataset(head, **window)).pixels
    x = head.astype(float)
    expected = {
        "LINEAR": ((x - 99.5) / 159 + 0.5).clip(0, 1),
        "LINEAR_EXACT": ((x - 100) / 160 + 0.5).clip(0, 1),
        "SIGMOID": 1 / (1 + np.exp(-4 * (x - 100) / 160)),
    }[function]
    # Half a level may be rounded either way.
    assert np.abs(shown - np.floor(255 * expected + 0.5)).max() <= 1


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": "40", "WindowWidth": "-5"},
        {"WindowCenter": "40", "WindowWidth": "0"},
        {"WindowCenter": "5", "WindowWidth": "4"},
        {"WindowCenter": "30000", "WindowWidth": "60000"},
        {"WindowCenter": "-900", "WindowWidth": "100"},
    ],
)
def test_an_implausible_window_gives_way_to_percentiles(
    classifier: Classifier, head: Pixels, window: dict[str, str]
) -> None:
    values = head.astype(np.uint16) * 4
    shown = source.read(made.dataset(values, **window)).pixels
    low, high = np.percentile(values, [0.1, 99.9])
    if window["WindowWidth"] not in ("0", "-5"):
        expected = ((values - low) / (high - low)).clip(0, 1)
        assert np.array_equal(shown, np.floor(255 * expected + 0.5).astype(np.uint8))
    assert classifier.predict(made.dataset(values, **window)).decision == classifier.predict(head).decision


def test_a_hot_pixel_does_not_darken_the_head(classifier: Classifier, head: Pixels) -> None:
    values = head.astype(np.uint16)
    values[100, 100] = 60_000
    shown = source.read(made.dataset(values)).pixels
    assert shown.mean() > 0.8 * head.mean()


def test_lookup_tables(head: Pixels) -> None:
    item = pydicom.Dataset()
    item.LUTDescriptor = [256, 0, 16]
    item.LUTData = (np.arange(256) ** 2).astype(np.uint16).tobytes()
    item["LUTData"].VR = "OW"
    expected = np.floor(255 * (head.astype(float) ** 2 / 65535) + 0.5)
    shown = source.read(made.dataset(head, VOILUTSequence=[item])).pixels
    assert np.array_equal(shown, expected.astype(np.uint8))
    modality = source.read(made.dataset(head.astype(np.uint16), ModalityLUTSequence=[item])).pixels
    values = head.astype(float) ** 2
    expected = np.floor(255 * ((values - values.min()) / np.ptp(values)) + 0.5)
    assert np.abs(modality - expected).max() <= 1


def test_padding_is_black_and_does_not_count(head: Pixels) -> None:
    expected = source.read(head[:, 20:].astype(np.int32)).pixels.astype(int)
    for kind, values in (
        ("MONOCHROME2", head.astype(np.int16)),
        ("MONOCHROME1", 255 - head.astype(np.int16)),
    ):
        values[:, :20] = -2000
        padded = made.dataset(values, PhotometricInterpretation=kind, PixelPaddingValue=-2000)
        shown = source.read(padded).pixels
        assert shown[:, :20].max() == 0
        assert np.abs(shown[:, 20:] - expected).max() <= 1


def test_pixels_that_are_not_square(head: Pixels) -> None:
    flat = made.dataset(head[::2], PixelSpacing=["2", "1"])
    assert source.read(flat).pixels.shape == (head.shape[0], head.shape[1])
    assert source.read(made.dataset(head[::2], PixelSpacing=["2000", "1"])).pixels.shape == head[::2].shape


@pytest.mark.parametrize(
    "missing",
    ["BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation", "SamplesPerPixel"],
)
def test_missing_tags(classifier: Classifier, head: Pixels, missing: str) -> None:
    part = made.dataset(head, **{missing: None})
    same(classifier, part, encoded(head))


def test_a_data_set_without_header_or_preamble(classifier: Classifier, head: Pixels) -> None:
    bare = made.dataset(head)
    del bare.file_meta
    same(classifier, bare, encoded(head))
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, bare, implicit_vr=True, little_endian=True)
    same(classifier, buffer.getvalue(), encoded(head))


def test_grey_stored_as_colour_and_colour(classifier: Classifier, head: Pixels) -> None:
    grey = np.repeat(head[:, :, None], 3, axis=2)

    def coloured(values: Pixels) -> Any:
        part = made.dataset(head, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
        part.PixelData = values.tobytes()
        return part

    assert np.array_equal(source.read(coloured(grey)).pixels, head)
    grey[:, :, 1:] = 0
    reason = classifier.predict(coloured(grey)).reason
    assert (reason and reason.code) == "not_grey"


def test_a_decoder_that_is_missing_is_named(head: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    file = made.encoded(made.dataset(head), made.SYNTAXES["jpeg-ls"])
    decoder = get_decoder(made.SYNTAXES["jpeg-ls"])
    # GDCM may be there, but is not asked.
    monkeypatch.setattr(decoder, "_available", {"gdcm": print})
    with pytest.raises(UnreadableImage, match=r"transfer syntax 1\.2.*80 needs the extra dicom: pip"):
        source.read(file)


def test_a_deflated_file_that_inflates_beyond_measure(head: Pixels) -> None:
    data = made.encoded(made.dataset(head), made.SYNTAXES["deflated"])
    file = replace(InputFile.of("a", data), most_bytes=10_000)
    with pytest.raises(UnreadableImage, match="it inflates to over 10000 bytes"):
        source.read(file)


def test_zero_bytes_before_the_end_of_jpeg_ls_are_read_past(head: Pixels) -> None:
    values = head.astype(np.uint16) * 8
    plain = made.encoded(made.dataset(values), made.SYNTAXES["jpeg-ls"])
    built = pydicom.dcmread(io.BytesIO(plain))
    (frame,) = generate_frames(built.PixelData, number_of_frames=1)
    coded = frame.rstrip(b"\0")
    for padding in (1, 2, 7):
        padded = coded[:-2] + bytes(padding) + coded[-2:]
        built.PixelData = encapsulate([padded + bytes(len(padded) % 2)])
        assert np.array_equal(source.read(made.written(built)).pixels, source.read(plain).pixels)
    built.PixelData = encapsulate([coded[: len(coded) // 2] + coded[-2:]])
    with pytest.raises(UnreadableImage, match="the DICOM pixels cannot be decoded"):
        source.read(made.written(built))


@pytest.mark.parametrize(("spacing_mm", "code"), [(0.3, "small_field"), (0.4, None)])
def test_a_field_of_view_smaller_than_a_head_is_rejected(
    head: Pixels, spacing_mm: float, code: str | None, classifier: Classifier
) -> None:
    found = classifier.predict(made.dataset(head, PixelSpacing=[spacing_mm] * 2))
    assert (found.reason and found.reason.code) == code
    if found.reason is not None:
        assert found.reason.message.endswith("It shows 76.8 mm, and a head takes 100 mm.")
