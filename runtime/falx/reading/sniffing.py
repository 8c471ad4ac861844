"""What a file or an object is, told without what reads it: most have neither DICOM nor volumes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["DICOM_START", "VOLUME_SUFFIXES", "is_dataset", "is_dicom", "is_volume"]

DICOM_START: Final = 132
"""Bytes at the start of a DICOM file: 128 free ones and `DICM` (DICOM PS3.10, 7.1)."""

BARE: Final = (b"\x08\x00", b"\x02\x00")
"""How older files start that lack this: with the group of the first element of the data set, or of the
file's header; its number within the group follows, in two bytes of which the second is 0."""

VOLUME_SUFFIXES: Final = (".nii", ".nii.gz")


def is_dicom(start: bytes) -> bool:
    """Whether a file that starts with these 132 bytes is DICOM."""
    return start[128:DICOM_START] == b"DICM" or (start[:2] in BARE and start[3:4] == b"\0")


def is_dataset(source: object) -> bool:
    """Whether an object is a pydicom Dataset; told by its classes, so that pydicom is not imported."""
    return any(
        base.__name__ == "Dataset" and base.__module__.partition(".")[0] == "pydicom"
        for base in type(source).__mro__
    )


def is_volume(path: str | os.PathLike[str]) -> bool:
    """Whether a file is named as a NIfTI volume."""
    return Path(path).name.lower().endswith(VOLUME_SUFFIXES)
