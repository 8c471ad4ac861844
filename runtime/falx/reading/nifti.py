"""NIfTI volumes, where nibabel is installed: from a file to its slices.

A volume is cut along the axis of its coarsest voxels, which is how it was acquired; along the axis from
foot to head where all are about alike. Slices are shown as a radiologist sees them, and as the pictures
that models learn from are: axial ones from below, with the patient's right on the left and the nose
up; coronal ones from the front; sagittal ones with the nose on the left. Pixels are made square. Black
and white are percentiles of the whole volume (`falx.reading.window.FALLBACK`), so that a slice beyond the
head stays dark. NIfTI says neither which modality it holds nor whose: what is no head is told by its pixels.
"""

from __future__ import annotations

import importlib
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from falx.errors import ImageForbidden, ImageNotFound, UnreadableImage, VolumeUnavailable
from falx.optional import needs
from falx.reading import window
from falx.reading.quiet import quiet_readers
from falx.slices.slice import Origin, Slice

__all__ = ["Volume", "open_volume"]

PLANES: Final = ("sagittal", "coronal", "axial")
"""What a slice across each axis of a volume is: from left to right, from back to front, from foot to head."""

COARSER: Final = 1.5
"""Voxels this much longer along one axis than along the next coarsest say that it was cut across that."""

MOST_VOXELS: Final = 1024**3
"""More than any volume of a head has; a file that claims more is not read."""

MOST_SIDE: Final = 4096


class Volume:
    """A NIfTI volume, in memory. Made by `open_volume`."""

    def __init__(
        self, shown: npt.NDArray[np.uint8], across: int, sizes: tuple[float, ...], path: str
    ) -> None:
        """Take over what was read.

        Args:
            shown: `(X, Y, Z)` uint8, towards the right, the front and the head.
            across: the axis that slices are cut across.
            sizes: of a voxel along each axis, in mm.
            path: of the file.
        """
        self._shown = shown
        self._across = across
        self._sizes = sizes
        self._path = path

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._path

    @property
    def path(self) -> str:
        """Of the file, as it was given."""
        return self._path

    @property
    def plane(self) -> str:
        """`axial`, `coronal` or `sagittal`."""
        return PLANES[self._across]

    @property
    def frames(self) -> int:
        """How many slices it has."""
        return int(self._shown.shape[self._across])

    def position_mm(self, number: int) -> float:
        """Where the slice of this number lies across its plane."""
        return (number - 1) * self._sizes[self._across]

    def origin(self, number: int) -> Origin:
        """Where the slice of this number, from 1, stands."""
        return Origin(format="nifti", frame=number, plane=self.plane)

    def read(self, number: int) -> Slice:
        """The slice of this number, from 1: from foot to head, back to front or left to right."""
        plane = np.take(self._shown, number - 1, axis=self._across)
        # Rows from the top: head or nose first. Columns: the patient's right, or the nose, on the left.
        pixels = np.ascontiguousarray(plane[::-1, ::-1].T)
        across = [size for axis, size in enumerate(self._sizes) if axis != self._across]
        return Slice(window.squared(pixels, row_mm=across[1], column_mm=across[0]), 0.0, self.origin(number))


def open_volume(path: str) -> Volume:
    """Read a volume.

    Raises:
        VolumeUnavailable: nibabel is not installed.
        ImageNotFound: there is no such file.
        ImageForbidden: it may not be read.
        UnreadableImage: it is damaged, or no single volume of grey values.
    """
    nibabel = _nibabel(path)
    with quiet_readers():
        try:
            file = nibabel.funcs.squeeze_image(nibabel.load(path))
            _check_shape(file.shape, path)
            upright = nibabel.as_closest_canonical(file)
            values = np.asarray(upright.dataobj, np.float32)
            sizes = tuple(float(size) for size in upright.header.get_zooms()[:3])
        except UnreadableImage:
            raise
        except FileNotFoundError as error:
            raise ImageNotFound(f"{path}: no such file") from error
        except PermissionError as error:
            raise ImageForbidden(f"{path}: permission to read it is denied") from error
        except Exception as error:  # nibabel raises anything on damaged files
            raise UnreadableImage(f"{path}: the NIfTI volume is damaged: {type(error).__name__}") from error
    return Volume(_shown(values), _across(sizes), sizes, path)


def _check_shape(shape: tuple[int, ...], path: str) -> None:
    if len(shape) != 3:
        raise UnreadableImage(
            f"{path}: expected one volume of three dimensions, got {shape}; save each as a file of its own"
        )
    if min(shape) < 1:
        raise UnreadableImage(f"{path}: the NIfTI volume is damaged: it has {shape} voxels")
    if max(shape) > MOST_SIDE or math.prod(shape) > MOST_VOXELS:
        raise UnreadableImage(f"{path}: too large to be a head, so it was not read: {shape} voxels")


def _shown(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    finite = np.isfinite(values)
    low, high = np.percentile(values[finite], window.FALLBACK) if finite.any() else (0.0, 0.0)
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    shown = np.where(finite, (values - low) / (high - low), 0).clip(0, 1)
    scaled: npt.NDArray[np.uint8] = np.floor(255 * shown + 0.5).astype(np.uint8)
    return scaled


def _across(sizes: tuple[float, ...]) -> int:
    coarsest = int(np.argmax(sizes))
    others = [size for axis, size in enumerate(sizes) if axis != coarsest]
    return coarsest if sizes[coarsest] >= COARSER * max(others) else 2


def _nibabel(path: str) -> Any:
    with needs(f"{path}: NIfTI", "'falx[nifti]'", VolumeUnavailable):
        return importlib.import_module("nibabel")
