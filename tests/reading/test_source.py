from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from tests.pictures import Pixels, claiming, encoded
from tests.reading.forbidden import forbidden

from falx.errors import ImageForbidden, ImageNotFound, UnreadableImage
from falx.reading import source as images
from falx.reading.input_file import InputFile

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def luma(rgb: Pixels) -> Pixels:
    weighted = rgb.astype(np.int64) @ np.array([19595, 38470, 7471])
    return np.asarray((weighted + 32768) >> 16, np.uint8)


# What every kind of input becomes.


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM"])
def test_8_bit_grey_is_unchanged_in_every_lossless_format(kind: str) -> None:
    assert np.array_equal(images.read(encoded(GREY, kind)).pixels, GREY)


RGBA = np.dstack([np.full((1, 3, 3), 200, np.uint8), np.array([[0, 128, 255]], np.uint8)])
LA = Image.merge("LA", [Image.new("L", (2, 1), 100), Image.fromarray(np.array([[0, 255]], np.uint8))])
PALETTE = Image.new("P", (2, 1))
PALETTE.putpalette([10, 10, 10, 250, 250, 250])
PALETTE.putdata([0, 1])
BITS = np.array([[True, False]])
DEEP = np.array([[-100, 0, 100]], np.int32)


@pytest.mark.parametrize(
    ("source", "pixels"),
    [
        pytest.param(RGBA, [[0, 100, 200]], id="an array's alpha is composited on black"),
        pytest.param(encoded(RGBA), [[0, 100, 200]], id="so is a file's alpha"),
        pytest.param(encoded(LA), [[0, 100]], id="grey with alpha"),
        pytest.param(encoded(PALETTE), [[10, 250]], id="palette"),
        pytest.param(encoded(PALETTE, transparency=1), [[10, 0]], id="palette with a clear entry"),
        # Pillow warns of it, and the warning stays inside.
        pytest.param(encoded(PALETTE, transparency=b"\xff\x00"), [[10, 0]], id="an opacity for each entry"),
        pytest.param(Image.new("CMYK", (2, 1), (0, 0, 0, 155)), [[100, 100]], id="CMYK"),
        pytest.param(encoded(BITS), [[255, 0]], id="one bit"),
        pytest.param(BITS, [[255, 0]], id="an array of bits"),
        pytest.param(encoded(DEEP, "TIFF"), [[0, 128, 255]], id="32-bit integers"),
        pytest.param(encoded(DEEP.astype(np.float32), "TIFF"), [[0, 128, 255]], id="32-bit floats"),
        pytest.param(GREY[..., np.newaxis], GREY.tolist(), id="an array of one channel"),
        pytest.param(np.array([[[0] * 3, [4000] * 3]], np.uint16), [[0, 255]], id="deep colour"),
        pytest.param(
            np.array([[[0, 0, 0, 1], [1, 1, 1, 0.5]]]), [[0, 128]], id="an array of floats with alpha"
        ),
    ],
)
def test_every_kind_of_picture_becomes_grey(source: Any, pixels: list[list[int]]) -> None:
    assert images.read(source).pixels.tolist() == pixels


def test_path_bytes_open_file_image_and_array_agree(tmp_path: Path) -> None:
    data = encoded(GREY)
    # What the file holds decides, not its name.
    path = tmp_path / "slice.jpg"
    path.write_bytes(data)
    spaced = memoryview(bytes(byte for byte in data for _ in range(2)))[::2]
    sources: list[images.Source] = [path, str(path), data, bytearray(data), memoryview(data), spaced]
    sources += [io.BytesIO(data), InputFile.of("a", data), Image.fromarray(GREY), GREY]
    for source in sources:
        assert np.array_equal(images.read(source).pixels, GREY)
    path.write_bytes(b"before" + data)
    with path.open("rb") as stream:
        stream.seek(6)
        assert np.array_equal(images.read(stream).pixels, GREY)
        assert not stream.closed


def test_rgb_becomes_luma_and_grey_as_rgb_stays(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
    assert np.array_equal(images.read(encoded(rgb)).pixels, luma(rgb))
    assert np.array_equal(images.read(rgb).pixels, luma(rgb))
    levels = np.arange(256, dtype=np.uint8)[:, np.newaxis]
    assert np.array_equal(images.read(np.stack([levels] * 3, axis=-1)).pixels, levels)


def test_colour_is_measured() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 51
    assert images.read(red).colour == pytest.approx(0.2)
    assert images.read(GREY).colour == 0.0
    assert images.read(np.stack([GREY] * 3, axis=-1)).colour == 0.0


def test_cmyk_of_a_jpeg() -> None:
    image = Image.new("CMYK", (2, 2), (0, 0, 0, 155))
    assert np.abs(images.read(encoded(image, "JPEG")).pixels.astype(int) - 100).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_files_agree_with_16_bit_arrays(kind: str) -> None:
    deep = np.random.default_rng(2).integers(300, 4000, (9, 7), np.uint16)
    expected = images.read(deep).pixels
    assert (expected.min(), expected.max()) == (0, 255)
    assert np.array_equal(images.read(encoded(deep, kind)).pixels, expected)


TURNED = [
    *(GREY, np.fliplr(GREY), np.rot90(GREY, 2), np.flipud(GREY)),
    *(GREY.T, np.rot90(GREY, -1), np.rot90(GREY, 2).T, np.rot90(GREY)),
]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(images.read(encoded(GREY, exif=exif)).pixels, TURNED[orientation - 1])


FLAT = np.full((16, 16), 90, np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(FLAT, "JPEG", exif=b"Exif\x00\x00II*\x00garbage"), id="damaged EXIF"),
        pytest.param(
            encoded(FLAT, "MPO", save_all=True, append_images=[Image.fromarray(FLAT)]), id="a phone's"
        ),
    ],
)
def test_what_lies_beside_the_picture_of_a_jpeg_is_passed_over(data: bytes) -> None:
    assert np.array_equal(images.read(data).pixels, FLAT)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (37, 91)])
def test_any_shape(shape: tuple[int, int]) -> None:
    assert images.read(np.zeros(shape, np.uint8)).pixels.shape == shape
    assert images.read(encoded(np.zeros(shape, np.uint8))).pixels.shape == shape


def test_an_array_slice_does_not_follow_the_callers_array() -> None:
    array = GREY.copy()
    pixels = images.read(array).pixels
    array[:] = 0
    assert np.array_equal(pixels, GREY)


# Properties of the conversion of brightness.

integers = hnp.arrays(
    np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(0, 5000)
)
floats = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(-1e300, 1e300)
)


@given(integers, st.integers(1, 13))
def test_brightness_in_another_unit_gives_the_same_slice(values: npt.NDArray[np.uint16], factor: int) -> None:
    assert np.array_equal(images.read(values).pixels, images.read(values * np.uint16(factor)).pixels)


@given(integers, st.integers(0, 60000))
def test_an_offset_gives_the_same_slice(values: npt.NDArray[np.uint16], offset: int) -> None:
    shifted = values.astype(np.int32) + offset
    assert np.array_equal(images.read(values).pixels, images.read(shifted).pixels)


@given(integers)
def test_16_bit_integers_and_floats_agree_to_a_grey_level(values: npt.NDArray[np.uint16]) -> None:
    exact = images.read(values).pixels.astype(int)
    assert np.abs(exact - images.read(values.astype(np.float64)).pixels).max() <= 1


@given(floats)
def test_floats_of_any_range_fill_the_range_and_keep_their_order(values: npt.NDArray[np.float64]) -> None:
    pixels = images.read(values).pixels
    order = np.argsort(values, axis=None)
    assert (np.diff(pixels.ravel()[order].astype(int)) >= 0).all()
    assert pixels.max() in (0, 255)
    assert pixels.min() == 0


@given(floats, st.sampled_from([0.25, 0.5, 2.0, 4.0]))
def test_floats_in_another_unit_give_the_same_slice(values: npt.NDArray[np.float64], factor: float) -> None:
    # Below, the unit itself costs digits.
    assume(np.abs(values[values != 0]).min(initial=1.0) > 1e-300)
    assert np.array_equal(images.read(values).pixels, images.read(values * factor).pixels)


def test_one_brightness_only_is_black() -> None:
    tiny = np.full((3, 3), 2.2e-313)  # NumPy 1.26 overflows when it divides this by itself
    for array in (np.full((2, 2), 9, np.uint16), np.full((2, 2), -3.5), np.zeros((2, 2), np.float32), tiny):
        assert not images.read(array).pixels.any()


# What cannot be read.


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFound, match=r"absent\.png: no such file") as error:
        images.read(tmp_path / "absent.png")
    assert isinstance(error.value, FileNotFoundError)


PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (".", "expected an image file, got a folder"),
        ("a\0b.png", "cannot be read"),
        ("file/slice.png", "cannot be read"),
        ("empty.png", "expected an image, got an empty file"),
        ("empty.dcm", "expected an image, got an empty file"),
        ("empty", "expected an image, got an empty file"),
        pytest.param("pipe.png", "pipe.png: expected an image file, got a pipe or a device", marks=PIPES),
    ],
)
def test_what_is_no_image_file(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "file").write_text("no folder")
    for name in ("empty.png", "empty.dcm", "empty"):
        (tmp_path / name).touch()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage, match=message):
        images.read(f"{tmp_path}/{path}")


def test_permission() -> None:
    with forbidden() as folder, pytest.raises(ImageForbidden, match="permission to read it is denied"):
        images.read(folder / "secret.png")


TOO_LARGE = ((30_000, 30_000), (4097, 4096), (1, 17_000_000))
NO_NUMBERS = (np.nan, np.inf, -np.inf)


def told(part: Any) -> str:
    """Names a case: arrays by type and shape, bytes by their start, all else as it prints."""
    if isinstance(part, np.ndarray):
        return f"{part.dtype} {part.shape}"
    return repr(part[:12]) if isinstance(part, bytes) else str(part)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"Patient: none\n", "expected PNG, JPEG, .* or DICOM, got text"),
        (b"%PDF-1.7\n", "expected PNG, JPEG, .* or DICOM, got PDF"),
        (b"\x1f\x8b\x08", "expected PNG, JPEG, .* or DICOM, got a gzip archive"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "expected PNG, .* or DICOM, got PostScript"),
        (bytes(range(200)), "expected PNG, JPEG, .* or DICOM, got bytes of another kind"),
        *(
            (other, f"or a pydicom Dataset, got {type(other).__name__}")
            for other in (None, 3, [1, 2], {"a": 1})
        ),
        # Refused before decoding, but for the largest size: there the error is that there are no data.
        *((claiming(*size), "too large to be a slice, so it was not decoded") for size in TOO_LARGE),
        (claiming(4096, 4096), "damaged or cut short"),
        # Refused without being copied.
        (
            np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (30_000,) * 2, (0, 0)),
            "30000 x 30000 pixels",
        ),
        *((np.array([[0, value]]), "1 values are NaN or infinite; replace them") for value in NO_NUMBERS),
        *(
            (np.zeros(shape, np.uint8), r"expected \(H, W\), \(H, W, 1\), \(H, W, 3\) or \(H, W, 4\)")
            for shape in ((), (5,), (4, 4, 2), (4, 4, 5), (2, 4, 4, 3))
        ),
        *((np.zeros(shape), "expected at least one pixel") for shape in ((0, 5), (5, 0), (0, 0, 3))),
        *(
            (np.zeros((4, 4), dtype), "expected bool, integers up to 32 bits or floats up to 64")
            for dtype in (np.complex64, np.int64, object, "U1")
        ),
        *(
            (np.full((2, 2, 4), [0.0, 0.0, 0.0, alpha]), r"expected alpha .* in 0\.\.1")
            for alpha in (-0.1, 1.5, np.nan)
        ),
    ],
    ids=told,
)
def test_not_an_image(source: Any, message: str) -> None:
    with pytest.raises(UnreadableImage, match=message):
        images.read(source)


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n and no more", b"II*\0 and no more"])
def test_a_header_that_cannot_be_read_is_damage(start: bytes) -> None:
    with pytest.raises(UnreadableImage, match="the image is damaged: its header cannot be read"):
        images.read(start)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_truncated_anywhere_is_an_error_never_half_a_slice(kind: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (40, 40), np.uint8)
    data = encoded(noise, kind)
    for length in range(1, len(data) - 60, 97):
        with pytest.raises(UnreadableImage):
            images.read(data[:length])


@given(st.binary(max_size=300), st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "JPEG2000"]))
def test_damaged_bytes_give_a_slice_or_the_documented_error(junk: bytes, kind: str) -> None:
    data = bytearray(encoded(GREY, kind))
    position = len(junk) * 7 % len(data)
    data[position : position + len(junk)] = junk
    try:
        assert images.read(bytes(data)).pixels.dtype == np.uint8
    except UnreadableImage as error:
        assert str(error)  # noqa: PT017 - either outcome is right


LARGE = """
import io, sys
import numpy as np
from pathlib import Path
from PIL import Image
from falx.reading import source as images

def peak_mb():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024

pixels = images.read(sys.argv[1]).pixels
print(pixels.shape, int(pixels.max()), peak_mb())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells the peak of memory")
@pytest.mark.parametrize(("mode", "kind"), [("F", "TIFF"), ("RGBA", "WEBP")])
def test_the_largest_slice_takes_less_than_500_mb(tmp_path: Path, mode: str, kind: str) -> None:
    path = tmp_path / "large"
    image = Image.new(mode, (4096, 4096))
    image.paste(Image.new(mode, (9, 9), "white" if mode == "RGBA" else 0.5), (0, 0))
    image.save(path, kind, compression="tiff_adobe_deflate", lossless=True)
    done = subprocess.run([sys.executable, "-c", LARGE, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("(4096, 4096) 255 ")
    assert float(done.stdout.split()[-1]) < 500


def test_many_frames_are_not_counted() -> None:
    frames = [Image.new("L", (8, 8), level) for level in (10, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    frame = data[data.rindex(b"\x21\xf9") : -1]
    started = time.process_time()
    with pytest.raises(UnreadableImage, match="got several frames"):
        images.read(data[:-1] + frame * 200_000 + b";")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames(kind: str) -> None:
    frames = [Image.fromarray(np.full((8, 8), level, np.uint8)) for level in (10, 200, 90)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImage, match="expected one image, got several frames; save the slice"):
        images.read(data)


def test_reading_leaves_the_filters_of_warnings_alone() -> None:
    before = list(warnings.filters)
    images.read(encoded(GREY))
    assert warnings.filters == before
