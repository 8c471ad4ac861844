from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.pictures import Pixels

from falx.errors import NotASlice, UnreadableImage
from falx.reading.files import opened
from falx.reading.input_file import MOST_BYTES, InputFile
from falx.reading.source import read
from falx.reading.volume import SAMPLES, Volume, open_volume
from falx.slices.reasons import Reason
from falx.slices.slice import Part, Unreadable

nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed (pip install 'falx[nifti]')")

AFFINE = np.diag([4.0, 4.0, 9.0, 1.0])
SHAPE = (30, 40, 6)

Values = npt.NDArray[np.int16]


@pytest.fixture
def values() -> Values:
    return np.random.default_rng(1).integers(0, 900, SHAPE).astype(np.int16)


def image(values: npt.NDArray[Any], affine: npt.NDArray[np.float64] = AFFINE) -> Any:
    return nibabel.Nifti1Image(values, affine)


def vectors(values: npt.NDArray[Any]) -> Any:
    made = image(values)
    made.header.set_intent("vector")
    return made


def shown(file: InputFile | Path, number: int = 1) -> Pixels:
    found = open_volume(file if isinstance(file, InputFile) else InputFile.at(file), number)
    return np.stack([found.read(n).pixels for n in range(1, found.frames + 1)])


def bytes_of(made: Any, name: str = "v.nii") -> InputFile:
    return InputFile.of(name, made.to_bytes())


def test_the_same_voxels_in_every_format_and_under_every_name(values: Values, tmp_path: Path) -> None:
    wanted = shown(bytes_of(image(values)))
    raw = image(values).to_bytes()
    for name, data in {
        "packed.nii": gzip.compress(raw),
        "plain.nii.gz": raw,
        "plain": raw,
        "second.nii": nibabel.Nifti2Image(values, AFFINE).to_bytes(),
        "v.mgh": nibabel.MGHImage(values, AFFINE).to_bytes(),
        "v.mgz": gzip.compress(nibabel.MGHImage(values, AFFINE).to_bytes()),
        "big.nii": nibabel.Nifti1Image(values, AFFINE, nibabel.Nifti1Header(endianness=">")).to_bytes(),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert np.array_equal(shown(tmp_path / name), wanted), name
        assert np.array_equal(shown(InputFile.of(name, data)), wanted), name
    nibabel.save(nibabel.Nifti1Pair(values, AFFINE), tmp_path / "pair.img")
    for name in ("pair.hdr", "pair.img"):
        (found,) = opened([str(tmp_path / name)])
        assert isinstance(found, Volume)
        # Again, and in another order.
        for _ in range(2):
            assert np.array_equal([found.read(n).pixels for n in range(6, 0, -1)], wanted[::-1])
    folder = list(opened([str(tmp_path)]))
    assert [type(one) for one in folder] == [Volume] * 8


def test_one_volume_of_several_is_taken_and_the_others_are_named(values: Values) -> None:
    other = values[::-1]
    file = bytes_of(image(np.stack([values, other, values], axis=3)))
    assert np.array_equal(shown(file), shown(bytes_of(image(values))))
    assert np.array_equal(shown(file, 2), shown(bytes_of(image(other))))
    assert open_volume(file, 2).notes == (
        "The file holds 3 volumes, such as points in time; this is volume 2 (the option volume takes "
        "another).",
    )
    assert open_volume(bytes_of(image(values[..., None]))).notes == ()
    with pytest.raises(UnreadableImage, match="expected the number of a volume, from 1 to 3, got 4"):
        open_volume(file, 4)


@pytest.mark.parametrize(("unit", "size"), [("meter", 0.001), ("mm", 1.0), ("micron", 1000.0), (0, 1.0)])
def test_units_of_length(values: Values, unit: str | int, size: float) -> None:
    made = image(values, np.diag([4.0 * size, 4.0 * size, 9.0 * size, 1.0]))
    made.header.set_xyzt_units(unit)
    found = open_volume(bytes_of(made))
    assert found.positions_mm == pytest.approx((0, 9, 18, 27, 36, 45), rel=1e-5)
    assert found.plane == "axial"


def test_scaling_and_what_is_not_a_number(values: Values) -> None:
    wanted = shown(bytes_of(image(values)))
    scaled = image(values)
    scaled.header.set_slope_inter(2.5, -40)
    assert np.array_equal(shown(bytes_of(scaled)), wanted)
    scaled.header.set_slope_inter(-1, 0)
    assert np.abs(shown(bytes_of(scaled)).astype(int) - (255 - wanted.astype(int))).max() <= 1
    floats = values.astype(np.float32)
    floats[3, 4, 2] = np.nan
    assert shown(bytes_of(image(floats)))[2, -1 - 4, -1 - 3] == 0
    assert not shown(bytes_of(image(np.full(SHAPE, 7, np.int16)))).any()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (image(np.zeros(SHAPE, np.complex64)), "got complex numbers; save their magnitude"),
        (
            image(np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
            "got colours; save the volume that was coloured",
        ),
        (image(np.zeros(SHAPE[:2], np.int16)), "expected a volume of three dimensions, got 2"),
        (vectors(np.zeros((*SHAPE, 1, 3), np.int16)), "expected grey values, got vectors"),
    ],
    ids=["complex numbers", "colours", "a slice", "vectors are not time"],
)
def test_what_is_not_a_volume_of_grey_values(made: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "v.nii.gz"
    nibabel.save(made, path)
    with pytest.raises(UnreadableImage, match=rf"v\.nii\.gz: .*{message}"):
        open_volume(InputFile.at(path))


@pytest.mark.parametrize("left", [0.1, 0.6, 0.98])
@pytest.mark.parametrize("packed", [False, True])
def test_a_volume_that_is_cut_off_fails_once(
    values: Values, packed: bool, left: float, tmp_path: Path
) -> None:
    data = image(values).to_bytes()
    data = gzip.compress(data) if packed else data
    path = tmp_path / "cut.nii.gz"
    path.write_bytes(data[: int(len(data) * left)])
    (found,) = opened([str(path)])
    assert isinstance(found, Unreadable)
    assert str(found.error) == f"{path}: the volume is damaged: it ends too early"


def test_damage_within_a_packed_volume_is_an_error_of_each_slice(values: Values, tmp_path: Path) -> None:
    data = bytearray(gzip.compress(image(values).to_bytes()))
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "v.nii.gz"
    path.write_bytes(data)
    (found,) = opened([str(path)])
    assert not isinstance(found, InputFile)
    with pytest.raises(UnreadableImage, match="the volume is damaged: its compressed data is damaged"):
        read(Part(found, 1))


def test_a_volume_too_large_for_a_head_is_refused_by_its_header(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((1024, 1024, MOST_BYTES // 2**23 + 1))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "v.nii"
    path.write_bytes(header.binaryblock + bytes(100))
    with pytest.raises(
        UnreadableImage, match=r"too large to be a head, so it was not read: .* 1032 MiB; at most"
    ):
        open_volume(InputFile.at(path))


@pytest.mark.parametrize(("dtype", "packed"), [(np.uint8, False), (np.uint8, True), (np.float32, True)])
def test_reading_takes_at_most_three_times_the_stored_voxels(
    dtype: type[np.generic], packed: bool, tmp_path: Path
) -> None:
    stored = np.zeros((256, 256, 120), dtype)
    stored[20:200, 30:220] = 7
    path = tmp_path / ("v.nii.gz" if packed else "v.nii")
    nibabel.save(image(stored, np.eye(4)), path)
    shown(path)  # nibabel is imported, and counts no more
    tracemalloc.start()
    try:
        found = open_volume(InputFile.at(path))
        assert tracemalloc.get_traced_memory()[1] < stored.nbytes / 10
        for number in range(1, found.frames + 1):
            found.read(number)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored.nbytes < peak < 3 * stored.nbytes
    assert left < stored.nbytes / 10


def test_black_and_white_of_many_voxels_are_those_of_a_sample() -> None:
    values = np.random.default_rng(2).gamma(2, 100, (160, 160, 100)).astype(np.float32)
    assert values.size > 2 * SAMPLES
    low, high = np.percentile(values, (0.1, 99.9))
    exact = np.floor(255 * ((values - low) / (high - low)).clip(0, 1) + 0.5)
    found = Volume.of_array(values, axis=2)
    difference = [found.read(n + 1).pixels - exact[:, :, n] for n in range(100)]
    assert np.abs(difference).max() <= 6
    assert np.abs(difference).mean() < 1


@pytest.mark.parametrize(("size_mm", "rejected"), [(3.0, True), (4.0, False), (1.0, False)])
def test_a_small_field_of_view_is_no_human_head(size_mm: float, rejected: bool) -> None:
    cells = np.zeros((20, 28, 5), np.uint8)
    found = open_volume(bytes_of(image(cells, np.diag([size_mm, size_mm, size_mm, 1.0]))))
    if not rejected:  # voxels of 1 mm along every axis may be a default
        assert found.read(1).pixels.shape == (28, 20)
        return
    message = (
        "The picture is too small, in millimetres, to show a human head. It shows 84 mm, and a head takes "
        "100 mm."
    )
    with pytest.raises(NotASlice) as raised:
        found.read(2)
    assert raised.value.reason == Reason("small_field", message)
    assert raised.value.origin is not None
    assert raised.value.origin.frame == 2


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_an_array_is_cut_across_the_axis_named(axis: int) -> None:
    values = np.random.default_rng(3).integers(0, 256, (30, 40, 50)).astype(np.uint8)
    values[0, 0, :2] = 0, 255
    found = Volume.of_array(values, spacing_mm=(4.0, 4.0, 4.0), axis=axis)
    wanted = np.moveaxis(values, axis, 0)
    got = np.stack([found.read(n).pixels for n in range(1, found.frames + 1)])
    assert got.shape == wanted.shape
    assert np.abs(got.astype(int) - wanted).max() <= 1
    assert found.positions_mm == tuple(4.0 * n for n in range(len(wanted)))
    assert found.notes == (
        f"The slices were taken across axis {axis % 3} of the array, {len(wanted)} of them.",
    )


def test_without_an_axis_an_array_is_cut_across_the_coarsest_voxels_else_the_first() -> None:
    values = np.zeros((30, 40, 50), np.uint16)
    assert Volume.of_array(values, spacing_mm=(4, 9, 4)).frames == 40
    assert Volume.of_array(values, spacing_mm=(4, 4, 5)).frames == 30
    assert Volume.of_array(values).frames == 30
    assert Volume.of_array(values).positions_mm is None
    # Rows of 8 mm, columns of 4: made square.
    assert Volume.of_array(values, spacing_mm=(9, 8, 4), axis=0).read(1).pixels.shape == (80, 50)


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "error", "message"),
    [
        ((4, 5), np.uint8, {}, UnreadableImage, "expected a volume of three dimensions, got 2"),
        ((4, 5, 6), np.complex64, {}, UnreadableImage, "complex"),
        ((4, 5, 6), object, {}, UnreadableImage, "expected integers or floats, got object"),
        ((4, 0, 6), np.uint8, {}, UnreadableImage, "it has"),
        ((4, 5, 6), np.uint8, {"axis": 3}, ValueError, "axis must be 0, 1 or 2, got 3"),
        ((4, 5, 6), np.uint8, {"spacing_mm": (1, 1)}, ValueError, "spacing must be three lengths"),
        ((4, 5, 6), np.uint8, {"spacing_mm": (1, 0, 1)}, ValueError, "spacing must be three lengths"),
    ],
)
def test_what_is_not_a_volume(
    shape: tuple[int, ...], dtype: type, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Volume.of_array(np.zeros(shape, dtype), **options)


@pytest.mark.parametrize(
    "data", [b"ObjectType = Image\nNDims = 3\n", b"NDims = 3\nElementDataFile = LOCAL\n\x00\xff\x01"]
)
def test_other_volumes_say_what_to_convert_them_to(data: bytes) -> None:
    (found,) = opened([InputFile.of("v.mha", data)])
    assert isinstance(found, Unreadable)
    assert str(found.error) == (
        "v.mha: expected an image, DICOM, or a NIfTI, MGH or NRRD volume, got a MetaImage volume; save it as "
        "NIfTI (.nii.gz), for example with 3D Slicer, ITK-SNAP or SimpleITK"
    )
