"""The transfer syntaxes of DICOM that Falx reads, and what decodes each (PS3.5, annex A; PS3.6, annex A)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"

JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"
"""JPEG of 8 bits, which Pillow reads, or of 12 bits, which only libjpeg as pylibjpeg has it reads, and that
is GPL."""

PLUGINS: Final[Mapping[str, tuple[str, ...]]] = {
    EXPLICIT_LITTLE: (),
    IMPLICIT_LITTLE: (),
    EXPLICIT_BIG: (),
    "1.2.840.10008.1.2.1.99": (),  # Deflated
    "1.2.840.10008.1.2.5": (),  # RLE Lossless
    "1.2.840.10008.1.2.4.50": ("pillow",),  # JPEG Baseline
    JPEG_EXTENDED: ("pylibjpeg", "pillow"),
    "1.2.840.10008.1.2.4.57": (),  # JPEG Lossless
    "1.2.840.10008.1.2.4.70": (),  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": ("pyjpegls",),  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81": ("pyjpegls",),  # JPEG-LS Near-lossless
    "1.2.840.10008.1.2.4.90": ("pylibjpeg", "pillow"),  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.91": ("pylibjpeg", "pillow"),  # JPEG 2000
}
"""By the transfer syntaxes that Falx reads and `falx listen` accepts: the plugins of pydicom that may decode
them, the best first; none where pydicom needs none, or where Falx decodes it. GDCM is never among them,
though pydicom would ask it first: on damaged data it can end the process."""

JPEG_LOSSLESS: Final = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
"""JPEG Lossless, with any predictor and with the first: `falx.reading.jpeg_lossless` decodes it."""

JPEG_LS: Final = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")

DEFLATED: Final = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")
"""Deflated data sets, and deflated frames, which no scanner writes."""
