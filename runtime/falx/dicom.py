"""DICOM, where pydicom is installed: the one place that imports it, and only when it is needed."""

from __future__ import annotations

import importlib
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from falx.errors import DicomUnavailable, UnreadableImage

__all__ = ["PREAMBLE", "is_dataset", "is_file", "parse", "pixels"]

PREAMBLE: Final = 132
"""Bytes at the start of a DICOM file: 128 free ones and `DICM` (DICOM PS3.10, 7.1)."""

GREY: Final = ("MONOCHROME1", "MONOCHROME2")


def is_file(start: bytes) -> bool:
    """Whether a file that starts with these 132 bytes is DICOM."""
    return start[128:PREAMBLE] == b"DICM"


def is_dataset(source: object) -> bool:
    """Whether an object is a pydicom Dataset; told by its classes, so that pydicom is not imported."""
    return any(
        base.__name__ == "Dataset" and base.__module__.partition(".")[0] == "pydicom"
        for base in type(source).__mro__
    )


def parse(stream: BinaryIO, name: str) -> Any:
    """Read a DICOM file into a pydicom Dataset.

    Raises:
        DicomUnavailable: pydicom is not installed.
        UnreadableImage: the file is damaged.
    """
    pydicom = _pydicom("pydicom", name)
    try:
        return pydicom.dcmread(stream)
    except Exception as error:  # pydicom raises anything on damaged files
        raise UnreadableImage(f"{name}: the DICOM file is damaged: {error}") from error


def pixels(dataset: Any, name: str, maximum_pixels: int) -> npt.NDArray[np.float64]:
    """The picture of a data set as a viewer shows it.

    Args:
        dataset: a pydicom Dataset with one grey frame.
        name: what messages call it.
        maximum_pixels: a larger picture is not decoded.

    Returns:
        `(H, W)` float64 after modality and VOI transformations (DICOM PS3.3, C.11.1 and C.11.2), low
        values dark.

    Raises:
        DicomUnavailable: pydicom, or what it needs to decompress this file, is not installed.
        UnreadableImage: there is no picture, or more than one, or it is not grey, or it is damaged.
    """
    processing = _pydicom("pydicom.pixels", name)
    try:
        rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
        frames = int(dataset.get("NumberOfFrames") or 1)
    except Exception as error:  # what is parsed only here may be no number, or several
        raise UnreadableImage(f"{name}: the DICOM file is damaged: {error}") from error
    interpretation = str(dataset.get("PhotometricInterpretation", "missing"))
    if rows < 1 or columns < 1 or "PixelData" not in dataset:
        raise UnreadableImage(f"{name}: the DICOM data set holds no picture")
    if frames != 1:
        raise UnreadableImage(f"{name}: expected one frame, got {frames}; give each frame as an array")
    if interpretation not in GREY:
        raise UnreadableImage(f"{name}: expected {' or '.join(GREY)}, got {interpretation}")
    if rows * columns > maximum_pixels:
        raise UnreadableImage(
            f"{name}: too large to be a slice, so it was not decoded: {columns} x {rows} pixels"
        )
    try:
        values = processing.apply_modality_lut(dataset.pixel_array, dataset)
        values = np.asarray(processing.apply_voi_lut(values, dataset), np.float64)
    except Exception as error:  # pydicom and its decoders raise anything on damaged data
        raise UnreadableImage(f"{name}: the DICOM pixels cannot be decoded: {error}") from error
    return -values if interpretation == "MONOCHROME1" else values


def _pydicom(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DicomUnavailable(
            f"{name}: DICOM needs pydicom, which is not installed: pip install 'falx[dicom]'"
        ) from error
