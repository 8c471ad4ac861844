"""Volumes: NIfTI, MGH and NRRD files, where nibabel is installed, and arrays of a caller.

A file is cut along the axis of its coarsest voxels, which is how it was acquired; along the axis from foot to
head where all are about alike. Slices are shown as a radiologist sees them, and as the pictures that models
learn from are: axial ones from below, with the patient's right on the left and the nose up; coronal ones from
the front; sagittal ones with the nose on the left. An array does not say where the head is: its slices are
shown as they lie in it. Pixels are made square. Black and white are percentiles of the whole volume
(`falx.reading.window.FALLBACK`), so that a slice beyond the head stays dark. A volume says neither which
modality it holds nor whose: pixels tell what is not a head.

A file is opened by its header alone. The first slice that is asked for reads the volume; it takes the memory
of the stored voxels and one byte for each, and the latter only until each slice was read once.
"""

from __future__ import annotations

import gzip
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from falx.errors import NotASlice, UnreadableImage, VolumeUnavailable
from falx.optional import needs
from falx.reading import window
from falx.reading.input_file import MOST_BYTES, InputFile
from falx.reading.nrrd import open_nrrd
from falx.reading.quiet import quiet_reading
from falx.reading.sniffing import GZIP, START, Kind, kind_of, unpacked
from falx.reading.tags import PLANES, Geometry, small_field
from falx.slices.slice import Origin, Slice

if TYPE_CHECKING:
    import numpy.typing as npt
    from nibabel.arrayproxy import ArrayProxy
    from nibabel.openers import ImageOpener
    from nibabel.spatialimages import SpatialImage

    Voxels = npt.NDArray[np.generic]

COARSER: Final = 1.5
"""Voxels this much longer along one axis than along the next coarsest say that the volume was cut there."""

MOST_SIDE: Final = 4096

SAMPLES: Final = 2**20
"""Voxels that black and white are taken from, evenly spread: a thousand are beyond each percentile."""

MILLIMETRES: Final = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}
"""The units of NIfTI (`xyzt_units`); a file without one means millimetres."""

CHUNK: Final = 2**20

NIFTI_2: Final = (b"\x1c\x02\0\0", b"\0\0\x02\x1c")
"""The size of its header, 540, which a NIfTI-2 file starts with."""

VECTORS: Final = ("vector", "rgb vector", "rgba vector", "displacement vector", "symmetric matrix")
"""Intents of NIfTI files whose further dimensions are not time."""


@dataclass(slots=True, eq=False, kw_only=True)
class Volume:
    """A volume of grey values, to be read slice by slice.

    Attributes:
        load: Reads the voxels, `(W, H, N)`, which is `shape`: each slice from its last column and row on.
        source: The format that `origin` names: `nifti`, `mgh`, `nrrd`, `tiff` or `array`.
        sizes_mm: The size of a voxel along each axis; None where it is unknown.
        plane: `axial`, `coronal` or `sagittal`; None where it is unknown.
        affine: `(4, 4)`, from voxels to mm towards the patient's right, front and head; None where it is
            unknown.
        inverted: Whether the least stored values are the brightest.
    """

    name: str
    path: str | None
    load: Callable[[], Voxels]
    shape: tuple[int, ...]
    source: str
    sizes_mm: tuple[float, ...] | None = None
    plane: str | None = None
    affine: npt.NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    inverted: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _slices: list[npt.NDArray[np.uint8]] = field(default_factory=list, init=False)
    _left: int = field(default=0, init=False)

    @classmethod
    def of_array(
        cls, values: Voxels, *, spacing_mm: tuple[float, float, float] | None = None, axis: int | None = None
    ) -> Volume:
        """Returns the volume of an array, whose slices are shown as they lie in it.

        They are cut across the axis given, else that of the coarsest voxels, else the first; a note says
        which it was. Raises ValueError where axis or spacing is not that of a volume.
        """
        name = f"{values.dtype} array of shape {values.shape}"
        _check_values(values.dtype, name)
        _check_shape(values.shape, values.dtype, name)
        if axis is not None and not -3 <= axis < 3:
            raise ValueError(f"axis must be 0, 1 or 2, got {axis!r}")
        if spacing_mm is not None and (
            np.shape(spacing_mm) != (3,) or not all(0 < mm < math.inf for mm in spacing_mm)
        ):
            raise ValueError(f"spacing must be three lengths in mm, one for each axis, got {spacing_mm!r}")
        across = _coarsest(spacing_mm, 0) if axis is None else axis % 3
        first, second = (number for number in range(3) if number != across)
        order = (second, first, across)
        # Turned so that a slice, which is read from its last row and column, lies as it does in the array.
        turned = values.transpose(order)[::-1, ::-1]
        return cls(
            name=name,
            path=None,
            load=lambda: turned,
            shape=turned.shape,
            source="array",
            sizes_mm=None if spacing_mm is None else tuple(spacing_mm[number] for number in order),
            notes=(
                f"The slices were taken across axis {across} of the array, {values.shape[across]} of them.",
            ),
        )

    @classmethod
    def of_pages(cls, pages: Voxels, file: InputFile) -> Volume:
        """Returns the volume of the pages of a file, `(N, H, W)`, whose sizes in mm are unknown."""
        return replace(cls.of_array(pages, axis=0), name=file.name, path=file.path, source="tiff", notes=())

    @property
    def frames(self) -> int:
        """The number of slices."""
        return self.shape[2]

    @property
    def positions_mm(self) -> tuple[float, ...] | None:
        """The position of each slice across its plane, rising; None where it is unknown."""
        if self.sizes_mm is None:
            return None
        return tuple(number * self.sizes_mm[2] for number in range(self.frames))

    @property
    def layout(self) -> tuple[Geometry, ...]:
        """The place of each slice in the patient; empty where this is unknown."""
        if self.affine is None:
            return ()
        # DICOM counts towards the patient's left and back.
        toward = np.diag([-1.0, -1.0, 1.0]) @ self.affine[:3]
        found = []
        for number in range(self.frames):
            first = toward @ [self.shape[0] - 1, self.shape[1] - 1, number, 1]
            sides = [-self.shape[axis] * toward[:, axis] for axis in (0, 1)]
            across, corner, right, down = (
                (float(x), float(y), float(z)) for x, y, z in (toward[:, 2], first, *sides)
            )
            found.append(Geometry.of(across, corner, right, down))
        return tuple(found)

    def origin(self, number: int) -> Origin:
        """Returns where the slice of this number, from 1, stands."""
        return Origin(format=self.source, frame=number, plane=self.plane)

    def read(self, number: int) -> Slice:
        """Reads the slice of this number, from 1: from foot to head, back to front or left to right."""
        origin = self.origin(number)
        column_mm, row_mm, _ = self.sizes_mm or (0.0, 0.0, 0.0)
        # 1 mm along each axis is often a default.
        known = set(self.sizes_mm or ()) != {1.0}
        reason = small_field(self.shape[1] * row_mm, self.shape[0] * column_mm) if known else None
        if reason is not None:
            raise NotASlice(f"{self.name}: {reason.message}", reason, origin)
        with self._lock:
            if not self._slices:
                self._slices, self._left = self._shown(), self.frames
            pixels = self._slices[number - 1]
            self._left -= 1
            if self._left == 0:
                self._slices = []
        return Slice(window.squared(pixels, row_mm, column_mm), 0.0, origin)

    def check(self) -> None:
        """Reads the voxels, to find out whether the volume is damaged."""
        self._shown()

    def _shown(self) -> list[npt.NDArray[np.uint8]]:
        """Returns the slices as they are shown, `(H, W)` each, with voxels as they are."""
        voxels = self.load()
        low, high = _black_and_white(voxels)
        shown = []
        # Views: `np.take` would copy the whole volume for each slice.
        for view in np.moveaxis(voxels, 2, 0):
            plane = view.astype(np.float32)
            # Rows from the top: head or nose first. Columns: the patient's right, or the nose, on the left.
            brightness = self._brightness(plane[::-1, ::-1].T, low, high)
            shown.append(np.ascontiguousarray(np.floor(255 * brightness + 0.5).astype(np.uint8)))
        return shown

    def _brightness(
        self, values: npt.NDArray[np.float32], low: float, high: float
    ) -> npt.NDArray[np.float32]:
        """Returns values as brightness, 0 black to 1 white; what is not a number is black."""
        if high <= low:
            return np.zeros_like(values)
        if self.inverted:
            low, high = high, low
        brightness = (values - np.float32(low)) / np.float32(high - low)
        return np.where(np.isfinite(values), brightness, 0).clip(0, 1)


def _black_and_white(voxels: Voxels) -> tuple[float, float]:
    """Returns the values that become black and white, of at most `SAMPLES` voxels."""
    step = max(1, math.ceil(voxels.size / SAMPLES))
    while step > 1 and math.gcd(step, voxels.size) > 1:  # or all of them would lie in a few columns
        step += 1
    numbers = voxels.flat[::step].astype(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return 0.0, 0.0
    low, high = np.percentile(numbers, window.FALLBACK, overwrite_input=True)
    return float(low), float(high)


def open_volume(file: InputFile, number: int = 1) -> Volume:
    """Opens a NIfTI, MGH or NRRD file by its header; where it holds several volumes, that of this number."""
    with needs(f"{file.name}: a volume", "nifti", VolumeUnavailable):
        from nibabel import orientations

    with quiet_reading(f"{file.name}: the volume is damaged"):
        kind = kind_of(file.start(START))
        with _opened(file) as (image, _):
            proxy = _proxy(image)
            units = _units(image, file.name)
        shape, dtype = proxy.shape, proxy.dtype
        _check_values(dtype, file.name)
        _check_shape(shape[:3], dtype, file.name, file.most_bytes)
        count = math.prod(shape[3:])
        if not 1 <= number <= count:
            raise UnreadableImage(
                f"{file.name}: expected the number of a volume, from 1 to {count}, got {number}"
            )
        turned = orientations.io_orientation(image.affine)  # type: ignore[no-untyped-call] # nibabel
        axes = [int(axis) for axis in turned[:, 0]]
        zooms = [round(units * float(zoom), 6) for zoom in image.header.get_zooms()[:3]]
        upright = orientations.inv_ornt_aff(turned, shape[:3])  # type: ignore[no-untyped-call] # nibabel
        affine = np.diag([units, units, units, 1.0]) @ image.affine @ upright
        whole = _is_whole(file, proxy.offset + math.prod(shape) * dtype.itemsize)
    known = all(0 < zoom < math.inf for zoom in zooms)
    sizes_mm = tuple(zooms[axes.index(axis)] for axis in range(3)) if known else None
    across = _coarsest(sizes_mm, 2)
    order = (*(axis for axis in range(3) if axis != across), across)
    several = (
        f"The file holds {count} volumes, such as points in time; this is volume {number} (the "
        "option volume takes another)."
    )

    def load() -> Voxels:
        # Upright, towards the right, the front and the head; without a copy.
        voxels: Voxels = orientations.apply_orientation(_voxels(file, number), turned)  # type: ignore[no-untyped-call] # nibabel
        return voxels.transpose(order)

    volume = Volume(
        name=file.name,
        path=file.path,
        load=load,
        shape=tuple(shape[axes.index(axis)] for axis in order),
        source={Kind.MGH: "mgh", Kind.NRRD: "nrrd"}.get(kind, "nifti"),
        sizes_mm=tuple(sizes_mm[axis] for axis in order) if sizes_mm else None,
        plane=PLANES[across],
        affine=affine[:, [*order, 3]] if known else None,
        notes=(several,) if count > 1 else (),
        inverted=proxy.slope < 0,
    )
    if not whole:
        volume.check()
    return volume


@contextmanager
def _opened(file: InputFile) -> Iterator[tuple[SpatialImage, BinaryIO | gzip.GzipFile | ImageOpener]]:
    """Opens a file as nibabel's image, whose voxels are not read yet, and the stream that holds them."""
    import nibabel
    from nibabel.openers import ImageOpener

    start = file.start(START)
    kind = kind_of(start)
    with ExitStack() as stack:
        if kind is Kind.NIFTI_PAIR and file.on_disk and file.path is not None:
            pair = nibabel.Nifti2Pair if start[:4] in NIFTI_2 else nibabel.Nifti1Pair
            image = pair.from_filename(file.path)
            voxels = image.file_map["image"].filename or ""
            yield image, stack.enter_context(ImageOpener(voxels))
            return
        stream: BinaryIO | gzip.GzipFile = stack.enter_context(file.open())
        if start.startswith(GZIP):
            stream = stack.enter_context(gzip.GzipFile(fileobj=stream))
            start = unpacked(start)
        if kind is Kind.NRRD:
            yield open_nrrd(stream, file.name)
            return
        if kind not in (Kind.NIFTI, Kind.MGH):
            raise UnreadableImage(f"{file.name}: expected a NIfTI, MGH or NRRD volume, got {kind.value}")
        nifti = nibabel.Nifti2Image if start[:4] in NIFTI_2 else nibabel.Nifti1Image
        single = nibabel.MGHImage if kind is Kind.MGH else nifti
        yield single.from_stream(stream), stream  # type: ignore[arg-type] # any file reads


def _voxels(file: InputFile, number: int) -> Voxels:
    with quiet_reading(f"{file.name}: the volume is damaged"), _opened(file) as (image, stream):
        proxy = _proxy(image)
        size = math.prod(proxy.shape[:3]) * proxy.dtype.itemsize
        stream.seek(proxy.offset + (number - 1) * size)
        data = stream.read(size)
        if len(data) < size:
            raise EOFError
        # A packed file tells at its end whether it is whole.
        left = file.most_bytes if number == math.prod(proxy.shape[3:]) else 0
        while left > 0 and (more := stream.read(CHUNK)):
            left -= len(more)
        return np.frombuffer(data, proxy.dtype).reshape(proxy.shape[:3], order="F")


def _proxy(image: SpatialImage) -> ArrayProxy:
    """Returns where the voxels of an image lie in its file."""
    from nibabel.arrayproxy import ArrayProxy

    assert isinstance(image.dataobj, ArrayProxy)  # noqa: S101 - our own invariant: it was read from a file
    return image.dataobj


def _is_whole(file: InputFile, size: int) -> bool:
    """Returns whether a file certainly holds this many bytes, unpacked: a gzip file tells at its end.

    Raises:
        EOFError: The file is shorter.
    """
    start = file.start(START)
    with file.open() as stream:
        if kind_of(start) in (Kind.NIFTI_PAIR, Kind.NRRD):
            return False
        if start.startswith(GZIP):
            stream.seek(-4, os.SEEK_END)
            return int.from_bytes(stream.read(4), "little") == size
        if stream.seek(0, os.SEEK_END) < size:
            raise EOFError
        return True


def _units(image: SpatialImage, name: str) -> float:
    """Returns the millimetres of a unit of length, of a file that holds grey values."""
    from nibabel.nifti1 import Nifti1Header

    if not isinstance(image.header, Nifti1Header):
        return 1.0
    if image.header.get_intent()[0] in VECTORS:  # type: ignore[no-untyped-call] # nibabel
        raise UnreadableImage(
            f"{name}: expected grey values, got vectors; save one component, or their length"
        )
    unit, _ = image.header.get_xyzt_units()  # type: ignore[no-untyped-call] # nibabel
    return MILLIMETRES.get(unit, 1.0)


def _check_values(dtype: np.dtype[np.generic], name: str) -> None:
    if dtype.kind == "c":
        raise UnreadableImage(f"{name}: expected grey values, got complex numbers; save their magnitude")
    if dtype.names is not None:
        raise UnreadableImage(f"{name}: expected grey values, got colours; save the volume that was coloured")
    if dtype.kind not in "biuf":
        raise UnreadableImage(f"{name}: expected integers or floats, got {dtype}")


def _check_shape(
    shape: tuple[int, ...], dtype: np.dtype[np.generic], name: str, most_bytes: int = MOST_BYTES
) -> None:
    if len(shape) != 3:
        raise UnreadableImage(f"{name}: expected a volume of three dimensions, got {len(shape)}")
    if min(shape) < 1:
        raise UnreadableImage(f"{name}: the volume is damaged: it has {shape} voxels")
    size = math.prod(shape) * dtype.itemsize
    if max(shape) > MOST_SIDE or size > most_bytes:
        raise UnreadableImage(
            f"{name}: too large to be a head, so it was not read: {shape} voxels, {size / 2**20:.0f} MiB; at "
            f"most {most_bytes // 2**20} MiB are read"
        )


def _coarsest(sizes_mm: tuple[float, ...] | None, otherwise: int) -> int:
    """Returns the axis of the coarsest voxels; `otherwise` where all are about alike, or unknown."""
    if sizes_mm is None:
        return otherwise
    coarsest = int(np.argmax(sizes_mm))
    others = [size for axis, size in enumerate(sizes_mm) if axis != coarsest]
    return coarsest if sizes_mm[coarsest] >= COARSER * max(others) else otherwise
