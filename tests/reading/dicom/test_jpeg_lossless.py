"""JPEG Lossless: every predictor, depth and layout, by the standard's formulas and by other encoders."""

from __future__ import annotations

import io
import re
import struct
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from tests.pictures import Pixels
from tests.reading.dicom import made

import falx
from falx.errors import UnreadableImage
from falx.reading import dicom, jpeg_lossless
from falx.reading import source as images
from falx.reading.decoders import JPEG_LOSSLESS, PLUGINS
from falx.reading.input_file import InputFile
from falx.reading.jpeg_lossless import DamagedFrameError

Values = npt.NDArray[Any]

SYNTAX = made.SYNTAXES["jpeg-lossless"]
CODES = bytes([0, 0, 0, 0, 17, *[0] * 11, *range(17)])
"""A Huffman table: every size of a difference has a code of five bits, its number."""


def predicted(v: Values, i: int, j: int, predictor: int, first: int) -> int:
    """T.81, H.1.2.1 and table H.1, sample by sample."""
    if i == j == 0:
        return first
    if i == 0 or j == 0:
        return int(v[0, j - 1] if i == 0 else v[i - 1, 0])
    a, b, c = int(v[i, j - 1]), int(v[i - 1, j]), int(v[i - 1, j - 1])
    return (a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1)[predictor - 1]


def bits_of(difference: int) -> str:
    """A difference modulo 2^16 as its code and what follows it."""
    signed = (difference + 2**15) % 2**16 - 2**15
    if signed == -(2**15):
        return f"{16:05b}"
    size = abs(signed).bit_length()
    value = signed if signed > 0 else signed + 2**size - 1
    return f"{size:05b}" + (f"{value:0{size}b}" if size else "")


def scan(planes: list[Values], precision: int, predictor: int, transform: int, restart: int) -> bytes:
    """The coded data of components that stand in turns."""
    rows, columns = planes[0].shape
    out = b""
    for number, top in enumerate(range(0, rows, restart or rows)):
        bands = [p[top : top + (restart or rows)].astype(int) >> transform for p in planes]
        first = 2 ** (precision - transform - 1)
        bits = "".join(
            bits_of(int(band[i, j]) - predicted(band, i, j, predictor, first))
            for i in range(len(bands[0]))
            for j in range(columns)
            for band in bands
        )
        bits += "1" * (-len(bits) % 8)
        coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
        out += (bytes([0xFF, 0xD0 + (number - 1) % 8]) if number else b"") + coded
    return out


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def frame(
    pixels: Values,
    precision: int,
    predictor: int = 1,
    *,
    transform: int = 0,
    restart: int = 0,
    apart: bool = False,
) -> bytes:
    """A JPEG Lossless frame of `(H, W, N)` values."""
    rows, columns, count = pixels.shape
    parts = b"".join(bytes([n + 1, 0x11, 0]) for n in range(count))
    out = b"\xff\xd8" + segment(0xC4, b"\0" + CODES)
    out += segment(0xC3, struct.pack(">BHHB", precision, rows, columns, count) + parts)
    if restart:
        out += segment(0xDD, struct.pack(">H", restart * columns))
    for members in [[n] for n in range(count)] if apart else [list(range(count))]:
        names = b"".join(bytes([n + 1, 0]) for n in members)
        out += segment(0xDA, bytes([len(members)]) + names + bytes([predictor, 0, transform]))
        out += scan([pixels[:, :, n] for n in members], precision, predictor, transform, restart)
    return out + b"\xff\xd9"


def noise(precision: int, *shape: int) -> Values:
    return np.random.default_rng(precision).integers(0, 2**precision, shape)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("precision", [2, 8, 12, 16])
def test_every_predictor_and_depth(precision: int, predictor: int) -> None:
    values = noise(precision, 11, 9, 1)
    shown, bits = jpeg_lossless.decode(frame(values, precision, predictor), 11, 9)
    assert bits == precision
    assert np.array_equal(shown, values)


@pytest.mark.parametrize(
    ("precision", "shape", "options"),
    [
        (8, (7, 5, 3), {"predictor": 5}),
        (8, (7, 5, 3), {"predictor": 5, "apart": True}),
        *((12, (20, 6, 1), {"predictor": n, "transform": 3, "restart": 2}) for n in (1, 4, 7)),
    ],
)
def test_components_in_turns_or_apart_restarts_and_a_point_transform(
    precision: int, shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    values = noise(precision, *shape)
    shown, _ = jpeg_lossless.decode(frame(values, precision, **options), *shape)
    lost = options.get("transform", 0)
    assert np.array_equal(shown, values >> lost << lost)


def test_a_frame_of_more_than_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    values = noise(16, 9, 9, 3)
    coded = frame(values, 16)
    for block in (9, 50, 100):
        monkeypatch.setattr(jpeg_lossless, "BLOCK", block)
        assert np.array_equal(jpeg_lossless.decode(coded, 9, 9, 3)[0], values)


def test_working_memory_does_not_grow_with_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_lossless, "BLOCK", 4096)
    # A tenth of a megabyte: differences of 15 bits, each with a code of five.
    data, count = bytes.fromhex("7800078000") * 20_000, 40_000
    codes = jpeg_lossless._codes(CODES[:16], CODES[16:])
    tracemalloc.start()
    try:
        out = jpeg_lossless._differences(data, [codes], count)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (out == 1 - 2**15).all()
    # Besides the result: the data, and a block at a time.
    assert peak - out.nbytes < 5 * len(data)


@pytest.mark.parametrize("predictor", range(1, 8))
def test_what_dcmtk_writes(predictor: int) -> None:
    for bits in (8, 12, 16):
        values = noise(bits, 40, 30).astype(np.uint8 if bits == 8 else np.uint16)
        file = made.by_dcmtk(made.dataset(values, bits), "+el", "+sv", str(predictor))
        coded = get_frame(pydicom.dcmread(io.BytesIO(file)).PixelData, 0, number_of_frames=1)
        assert np.array_equal(jpeg_lossless.decode(coded, 40, 30)[0][:, :, 0], values)


def test_what_gdcm_writes_in_colour() -> None:
    coloured, same = (
        pydicom.dcmread(str(get_testdata_file(f"SC_rgb_{n}.dcm"))) for n in ("jpeg_gdcm", "rle")
    )
    coded = get_frame(coloured.PixelData, 0, number_of_frames=1)
    assert np.array_equal(jpeg_lossless.decode(coded, 100, 100, 3)[0], same.pixel_array)
    coloured.SOPClassUID, coloured.Modality = made.MR, "MR"
    assert np.array_equal(dicom.open_dataset(coloured)._decode(1), same.pixel_array)


def test_one_frame_of_a_file_of_several(head: Pixels, tmp_path: Path) -> None:
    stack = np.ascontiguousarray(np.stack([head, head[:, ::-1], head[::-1]])[:, ::8, ::8])
    path = tmp_path / "frames.dcm"
    path.write_bytes(made.coded(stack, SYNTAX, *(frame(one[..., None], 8) for one in stack)))
    for source in (InputFile.at(path), InputFile.of("frames", path.read_bytes())):
        opened = dicom.open_file(source)
        assert np.array_equal([opened.read(n).pixels for n in (1, 2, 3)], stack)


def test_signed_values(head: Pixels) -> None:
    small = head[::8, ::8]
    values = small.astype(np.int16) * 8 - 1024
    coded = frame((values & 0xFFF)[:, :, None], 12)
    shown = images.read(made.coded(values, SYNTAX, coded, bits=12)).pixels
    assert np.array_equal(shown, images.read(made.written(made.dataset(values, 12))).pixels)


def at(marker: bytes, offset: int, *values: int) -> Callable[[bytes], bytes]:
    """Change bytes at an offset from a marker."""

    def changed(coded: bytes) -> bytes:
        place = coded.index(marker) + offset
        return coded[:place] + bytes(values) + coded[place + len(values) :]

    return changed


in_header = partial(at, b"\xff\xc3")
"""Change bytes of the frame's header: precision at 4, rows at 5, columns at 7, components at 9."""

in_scan = partial(at, b"\xff\xda")
"""Change a byte of the scan's header: components at 4, name and tables at 5, predictor at 7."""

in_table = partial(at, b"\xff\xc4")
"""Change a byte of the Huffman table: counts from 5, meanings from 21."""

DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    # GDCM ended the process on these two.
    "deep-and-high": (in_header(4, 255, 0xFF, 0x80), r"expected rows, columns and components \(32, 32, 1\)"),
    "deep": (in_header(4, 255), "expected 2 to 16 bits, got 255"),
    "wide": (in_header(7, 0xFF, 0xFF), r"got \(32, 65535, 1\)"),
    "components": (in_header(9, 3), "the frame's header is too short"),
    "another-process": (lambda coded: coded.replace(b"\xff\xc3", b"\xff\xc0"), "of another process of JPEG"),
    "no-start": (lambda coded: coded[1:], "does not begin as a JPEG"),
    "no-header": (lambda coded: coded[:2] + coded[coded.index(b"\xff\xda") :], "before the frame's header"),
    "no-scan": (lambda coded: coded[: coded.index(b"\xff\xda")], "holds no picture, or not all components"),
    "no-table": (lambda coded: coded[:2] + coded[coded.index(b"\xff\xc3") :], "a Huffman table is missing"),
    "too-many-codes": (in_table(5, 200), "a Huffman table is broken"),
    "overfull-table": (in_table(9, 60), "a Huffman table is broken"),
    "meaningless-table": (in_table(22, 99), "a Huffman table is broken"),
    "code-in-no-table": (in_table(9, 2), "a Huffman table is broken|a code that is in no table"),
    "no-components": (in_scan(4, 0), "a scan's header is broken"),
    "strange-component": (in_scan(5, 9), "components that are not in the frame"),
    "predictor": (in_scan(7, 8), "an unknown predictor or point transform"),
    "transform": (in_scan(9, 8), "an unknown predictor or point transform"),
    "half": (lambda coded: coded[: coded.index(b"\xff\xda") + 200], "it ends too early"),
    "cut-header": (lambda coded: coded[:25], "it ends within a header"),
    "restart": (lambda coded: coded[:-9] + b"\xff\xd0" + coded[-9:], "restarts than its rows take"),
    "odd-restarts": (lambda coded: coded[:2] + segment(0xDD, b"\0\x05") + coded[2:], "restarts within a row"),
    "twice": (lambda coded: coded[:-2] + coded[coded.index(b"\xff\xda") :], "or of one again"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_frame_is_an_error(classifier: falx.Classifier, head: Pixels, name: str) -> None:
    change, said = DAMAGE[name]
    small = np.ascontiguousarray(head[::8, ::8])
    coded = change(frame(small[:, :, None], 8))
    with pytest.raises(UnreadableImage, match=f"the DICOM pixels cannot be decoded: .*({said})"):
        classifier.predict(made.coded(small, SYNTAX, coded))
    with pytest.raises(DamagedFrameError, match=said):
        jpeg_lossless.decode(coded, 32, 32)


def test_no_damage_ends_in_anything_else() -> None:
    draw = np.random.default_rng(7)
    values = noise(12, 12, 10, 1)
    coded = frame(values, 12, 7, restart=4)
    errors = 0
    for _ in range(150):
        data = bytearray(coded)
        for at in draw.integers(0, len(data) if draw.random() < 0.5 else 80, draw.integers(1, 4)):
            data[at] = draw.integers(256)
        try:
            assert jpeg_lossless.decode(bytes(data), 12, 10)[0].shape == (12, 10, 1)
        except DamagedFrameError:
            errors += 1
    assert 50 < errors < 150


def test_nothing_is_left_to_gdcm() -> None:
    """GDCM ends the process on some damaged data, and pydicom asks it before others."""
    root = Path(__file__).parents[3]
    assert "gdcm" not in (root / "deploy" / "requirements.txt").read_text(encoding="utf-8")
    page = root / "docs" / "workstation.md"
    documented = re.findall(r"\| (1\.2\.840\.10008\.1\.2[.0-9]*) \|", page.read_text(encoding="utf-8"))
    assert {*made.SYNTAXES.values(), *made.LOSSY.values()} == {*documented}
    for syntax in documented:
        decoder = get_decoder(pydicom.uid.UID(syntax))
        by_gdcm = "gdcm" in " ".join([*decoder.available_plugins, *decoder.missing_dependencies])
        known = PLUGINS[syntax]
        assert not by_gdcm or syntax in JPEG_LOSSLESS or (known and "gdcm" not in known)


def test_more_bits_than_the_data_set_has_room_for(head: Pixels) -> None:
    small = np.ascontiguousarray(head[::8, ::8])
    data = made.coded(small, SYNTAX, frame(small[:, :, None], 12))
    assert pydicom.dcmread(io.BytesIO(data)).BitsAllocated == 8
    with pytest.raises(UnreadableImage, match=r"cannot be decoded: expected at most 8 bits, got 12$"):
        images.read(data)
