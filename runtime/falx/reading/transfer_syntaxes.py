"""The transfer syntaxes of DICOM that Falx reads, and what decodes each (PS3.5, annex A; PS3.6, annex A)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """An encoding of the data sets of DICOM files and messages.

    Attributes:
        name: The name of the standard, shortened.
        plugins: The plugins of pydicom that may decode it, the best first; none where pydicom needs none, or
            where Falx decodes it. GDCM is never among them, though pydicom would ask it first: on damaged
            data it can end the process.
    """

    name: str
    plugins: tuple[str, ...] = ()


IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"

JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"
"""JPEG of 8 bits, which Pillow reads, or of 12 bits, which only libjpeg as pylibjpeg has it reads, and that
is GPL."""

TRANSFER_SYNTAXES: Final = {
    EXPLICIT_LITTLE: TransferSyntax("Explicit VR Little Endian"),
    IMPLICIT_LITTLE: TransferSyntax("Implicit VR Little Endian"),
    EXPLICIT_BIG: TransferSyntax("Explicit VR Big Endian"),
    "1.2.840.10008.1.2.1.99": TransferSyntax("Deflated Explicit VR Little Endian"),
    "1.2.840.10008.1.2.5": TransferSyntax("RLE Lossless"),
    "1.2.840.10008.1.2.4.50": TransferSyntax("JPEG Baseline", ("pillow",)),
    JPEG_EXTENDED: TransferSyntax("JPEG Extended", ("pylibjpeg", "pillow")),
    "1.2.840.10008.1.2.4.57": TransferSyntax("JPEG Lossless"),
    "1.2.840.10008.1.2.4.70": TransferSyntax("JPEG Lossless, first-order prediction"),
    "1.2.840.10008.1.2.4.80": TransferSyntax("JPEG-LS Lossless", ("pyjpegls",)),
    "1.2.840.10008.1.2.4.81": TransferSyntax("JPEG-LS Near-lossless", ("pyjpegls",)),
    "1.2.840.10008.1.2.4.90": TransferSyntax("JPEG 2000 Lossless", ("pylibjpeg", "pillow")),
    "1.2.840.10008.1.2.4.91": TransferSyntax("JPEG 2000", ("pylibjpeg", "pillow")),
}
"""The transfer syntaxes that Falx reads and `falx listen` accepts, by their UIDs."""

JPEG_LOSSLESS: Final = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
"""JPEG Lossless, with any predictor and with the first: `falx.reading.jpeg_lossless` decodes it."""

JPEG_LS: Final = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")

DEFLATED: Final = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")
"""Deflated data sets, and deflated frames, which no scanner writes."""
