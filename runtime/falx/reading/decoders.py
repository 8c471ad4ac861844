"""The transfer syntaxes of DICOM (PS3.5, annex A), and what decodes each: a plugin of pydicom, or of Falx.

`falx.reading.jpeg_lossless` decodes JPEG Lossless. JPEG-LS is decoded by CharLS, as pyjpegls has it, which
refuses a frame with zero bytes before its End of Image; some encoders write them, and dcmtk reads past them.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from falx.reading.jpeg_lossless import decode_frame  # noqa: F401 - pydicom takes it from here

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pydicom.dataset import Dataset
    from pydicom.pixels.decoders.base import Decoder, DecodeRunner

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

DECODER_DEPENDENCIES: Final[Mapping[str, tuple[str, ...]]] = dict.fromkeys((*JPEG_LOSSLESS, *JPEG_LS), ())
"""The packages that a plugin needs; pydicom asks for them."""

PLUGIN: Final = "falx"

END: Final = b"\xff\xd9"
"""End of Image (ISO/IEC 14495-1, C.2.2)."""


def frame(dataset: Dataset, index: int, syntax: str | None) -> npt.NDArray[np.integer]:
    """Returns the pixels of a frame, from 0, of a data set that names this transfer syntax, or None."""
    from pydicom.pixels.utils import as_pixel_options, pixel_array

    decoder = own(syntax)
    if decoder is None:
        return pixel_array(dataset, index=index, decoding_plugin=plugin(syntax))
    return decoder.as_array(dataset, index=index, **as_pixel_options(dataset))[0]


def plugin(syntax: str | None) -> str:
    """Returns which of pydicom's plugins decodes a transfer syntax; empty for the first that it finds."""
    from pydicom.pixels.decoders.base import get_decoder

    allowed = PLUGINS.get(syntax or "")
    if not allowed or syntax is None:
        return ""
    installed = get_decoder(syntax).available_plugins
    return next((name for name in allowed if name in installed), allowed[0])


def missing(syntax: str | None) -> bool:
    """Returns whether pydicom knows a transfer syntax, and no package that may decode it is installed."""
    from pydicom.pixels.decoders.base import get_decoder

    if syntax is None or syntax in JPEG_LOSSLESS:
        return False
    try:
        decoder = get_decoder(syntax)
    except Exception:  # noqa: BLE001 - an unknown syntax is another error
        return False
    allowed = PLUGINS.get(syntax)
    return not {*allowed} & {*decoder.available_plugins} if allowed else not decoder.is_available


def own(syntax: str | None) -> Decoder | None:
    """Returns a pydicom Decoder with a plugin of Falx's only; None where pydicom's are taken.

    pydicom's own registry is left alone: it belongs to the whole process.
    """
    if syntax is None or syntax not in DECODER_DEPENDENCIES or missing(syntax):
        return None
    return _made(syntax)


@cache
def _made(syntax: str) -> Decoder:
    from pydicom.pixels.decoders.base import Decoder
    from pydicom.uid import UID

    made = Decoder(UID(syntax))
    made.add_plugin(PLUGIN, (__name__, "decode_frame" if syntax in JPEG_LOSSLESS else "decode_jpeg_ls"))
    return made


def is_available(uid: str) -> bool:
    """Returns whether this module decodes a transfer syntax; pydicom asks."""
    return uid in DECODER_DEPENDENCIES


def decode_jpeg_ls(source: bytes, runner: DecodeRunner) -> bytes:
    """Decodes a frame of JPEG-LS for pydicom, also where zero bytes stand before its end."""
    jpeg_ls = importlib.import_module("jpeg_ls")
    coded = source[: max(0, source.rfind(END))]
    # The last byte of a scan may be 0 too, so the frame is tried as it stands, and then with one byte less.
    tries = [source, coded[:-1] + END, coded.rstrip(b"\0") + END]
    for attempt in tries if coded.endswith(b"\0") else tries[:1]:
        try:
            pixels, about = jpeg_ls.decode_pixel_data(attempt)
            break
        except Exception:
            if attempt is tries[-1] or not coded.endswith(b"\0"):
                raise
    if about["components"] > 1:
        # Interleave mode 0 has colour by plane.
        runner.set_option("planar_configuration", int(about["interleave_mode"] == 0))
    runner.set_option("bits_allocated", 8 if about["bits_per_sample"] <= 8 else 16)
    return bytes(pixels)


def reason(error: Exception) -> str | None:
    """Returns what a `DamagedFrameError` said that pydicom quotes in an error of its own; None for others."""
    quoted = re.search(rf"^  {PLUGIN}: (.*)$", str(error), re.M)
    return quoted[1] if quoted else None
