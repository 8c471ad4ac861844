"""Tells what a file or an object is, without its reader: most callers have neither DICOM nor volumes."""

from __future__ import annotations

import re
import zlib
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TypeGuard

    from pydicom.dataset import Dataset

START: Final = 1024
"""Bytes of a file that tell what the file is, compressed ones too."""

PREAMBLE: Final = 128
"""Free bytes at the start of a DICOM file, before `DICM` (DICOM PS3.10, 7.1)."""

BARE: Final = (b"\x08\x00", b"\x02\x00")
"""The start of older DICOM files, which lack the preamble: the group of the first element of the data set,
or of the file's header. The element's number follows in two bytes, of which the second is 0."""

VOLUME_SUFFIXES: Final = (".nii", ".nii.gz", ".mgh", ".mgz", ".nrrd", ".nhdr")
"""Names of volumes; a file of such a name that holds something else is a damaged volume."""

GZIP: Final = b"\x1f\x8b"

PICTURES: Final = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"),
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
)
"""Starts of files of `falx.reading.source.FORMATS`, but TIFF, PNM, WebP and BMP."""

PNM: Final = re.compile(rb"P[1-6]\s+[#\d]")


class Kind(Enum):
    """The kind of a file, as far as Falx must know it; the values are for messages."""

    PICTURE = "a picture"
    TIFF = "a TIFF picture"
    DICOM = "DICOM"
    NIFTI = "a NIfTI volume"
    NIFTI_PAIR = "the header of a NIfTI pair"
    MGH = "an MGH volume"
    ZIP = "a zip archive"
    NRRD = "an NRRD volume"
    METAIMAGE = "a MetaImage volume"
    PDF = "PDF"
    POSTSCRIPT = "PostScript"
    GZIP = "a gzip archive"
    TEXT = "text"
    OTHER = "bytes of another kind"

    @property
    def is_volume(self) -> bool:
        """True where `falx.reading.volume` reads such a file."""
        return self in (Kind.NIFTI, Kind.NIFTI_PAIR, Kind.MGH, Kind.NRRD)

    @property
    def is_read(self) -> bool:
        """True where Falx reads such a file, or says what to convert it to."""
        return self.is_volume or self in (Kind.PICTURE, Kind.TIFF, Kind.DICOM, Kind.METAIMAGE)


def kind_of(start: bytes) -> Kind:
    """Returns what a file is that starts with these bytes, at most `START` of them."""
    if start.startswith(PICTURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        return Kind.PICTURE
    if PNM.match(start) or (start[:2] == b"BM" and start[15:18] == bytes(3)):
        return Kind.PICTURE
    if start[PREAMBLE : PREAMBLE + 4] == b"DICM" or (start[:2] in BARE and start[3:4] == b"\0"):
        return Kind.DICOM
    if start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return Kind.TIFF
    if start.startswith(GZIP):
        inside = kind_of(unpacked(start))
        return inside if inside.is_volume else Kind.GZIP
    starts = {
        b"PK\x03\x04": Kind.ZIP,
        b"PK\x05\x06": Kind.ZIP,
        b"NRRD000": Kind.NRRD,
        b"%PDF": Kind.PDF,
        b"%!PS": Kind.POSTSCRIPT,
    }
    known = next((kind for mark, kind in starts.items() if start.startswith(mark)), None)
    return known or _volume(start) or _text(start)


def _volume(start: bytes) -> Kind | None:
    """Returns which volume a file is, by the magic of NIfTI-1 and -2 and the version of MGH."""
    magic = start[344:348] if start[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c") else start[4:8]
    if magic in (b"n+1\0", b"n+2\0"):
        return Kind.NIFTI
    if magic in (b"ni1\0", b"ni2\0"):
        return Kind.NIFTI_PAIR
    # The version, and of the type, of four bytes, those that are 0.
    return Kind.MGH if start[:4] == b"\0\0\0\x01" and start[20:23] == b"\0\0\0" else None


def _text(start: bytes) -> Kind:
    if not all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start[:132]):
        first = start.split(b"\n")[0]
        return Kind.METAIMAGE if first.split(b"=")[0].strip() in (b"ObjectType", b"NDims") else Kind.OTHER
    return Kind.METAIMAGE if start.startswith((b"ObjectType", b"NDims")) else Kind.TEXT


def unpacked(start: bytes) -> bytes:
    """Returns the first bytes of what a gzip file holds, from the file's first bytes; none where damaged."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, START)
    except zlib.error:
        return b""


def is_dataset(source: object) -> TypeGuard[Dataset]:
    """Returns whether an object is a pydicom Dataset, by its classes, so that pydicom is not imported."""
    return any(
        base.__name__ == "Dataset" and base.__module__.partition(".")[0] == "pydicom"
        for base in type(source).__mro__
    )
