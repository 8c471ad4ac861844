"""DICOM, where pydicom is installed: from a file or data set to its slices.

How values become brightness, in this order (PS3.3, C.11):

- stored values, unsigned or signed, of the Bits Stored; Pixel Padding Value is no picture and black
- Modality LUT or Rescale Slope and Intercept
- VOI LUT, else the first window, where it shows the picture, else its percentiles (`falx.reading.window`);
  8-bit values without any of these are brightness already, as in any other picture
- MONOCHROME1: inverted
- pixels that are not square: resampled to the finer side

Functional groups of enhanced objects stand for the tags of their frames, frame by frame. Colour is
turned into grey as in other pictures. What pydicom raises quotes values of the data set, so no message
repeats it and no error keeps it. Files are read with the tags of `falx.reading.tags.TAGS` only.
"""

from __future__ import annotations

import importlib.util
import io
import zlib
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from falx.errors import DicomUnavailable, NotASlice, UnreadableImage
from falx.optional import needs
from falx.reading import jpeg_lossless, tags, window
from falx.reading.pixels import MAXIMUM_PIXELS, from_array
from falx.reading.quiet import quiet_readers
from falx.reading.sniffing import DICOM_START, is_dataset
from falx.slices.preprocessing import find_head
from falx.slices.slice import Origin, Slice

__all__ = ["Object", "open_dataset", "open_file"]

GREY: Final = ("MONOCHROME1", "MONOCHROME2")

MAXIMUM_FRAMES: Final = 20_000
"""More than any MR series has; a data set that claims more is damaged."""

PIXEL_TAGS: Final = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "PixelData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor"),
    *("BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData"),
    *("GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData"),
)
"""What decoding takes."""

EXTENDED: Final = "1.2.840.10008.1.2.4.51"
"""JPEG Extended: of 8 bits Pillow reads it, of 12 bits only libjpeg as pylibjpeg has it, which is GPL."""

DECODERS: Final = {
    "1.2.840.10008.1.2.4.50": ("pillow",),
    EXTENDED: ("pylibjpeg", "pillow"),
    "1.2.840.10008.1.2.4.80": ("pyjpegls",),
    "1.2.840.10008.1.2.4.81": ("pyjpegls",),
    "1.2.840.10008.1.2.4.90": ("pylibjpeg", "pillow"),
    "1.2.840.10008.1.2.4.91": ("pylibjpeg", "pillow"),
}
"""Which of pydicom's plugins decodes a transfer syntax, the first that is installed. Never GDCM, which
pydicom would ask first: on damaged data it can end the process. `falx.reading.jpeg_lossless` decodes JPEG
Lossless."""

DEFLATED: Final = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")
IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
)

ELEMENT: Final = 12
"""Bytes before the value of compressed pixels: tag, VR, two unused, length (PS3.5, 7.1.2 and A.4)."""

META: Final = 1024
"""Bytes in which the header of a file names its transfer syntax."""

MOST_BYTES: Final = 2**30
"""What a deflated file may hold; one that inflates to more is not read."""


class Object:
    """A DICOM file or data set, its tags read, its pixels not yet. Made by `open_file` and `open_dataset`."""

    def __init__(self, dataset: Any, source: Any, name: str, path: str | None) -> None:
        """Take over what was read.

        Args:
            dataset: a pydicom Dataset with the tags.
            source: what the pixels are read from: a path, the bytes of a file, or the data set itself.
            name: what messages call it.
            path: of the file, as it was given; None where it is none.
        """
        self._dataset = dataset
        self._source = source
        self._name = name
        self._path = path

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._name

    @property
    def path(self) -> str | None:
        """Of the file, as it was given; None where it is none."""
        return self._path

    @property
    def dataset(self) -> Any:
        """The pydicom Dataset; of a file, with the tags of `falx.reading.tags.TAGS` and without pixels."""
        return self._dataset

    @property
    def frames(self) -> int:
        """How many slices it says it has, at least 1.

        Raises:
            UnreadableImage: it cannot be that many.
        """
        with quiet_readers():
            count = tags.frames(self._dataset)
        if count > MAXIMUM_FRAMES:
            raise UnreadableImage(f"{self._name}: damaged: it claims {count} frames")
        return count

    @property
    def size(self) -> tuple[int, int]:
        """Width and height that it claims, in pixels; 0 where it claims none."""
        with quiet_readers():
            columns, rows = (tags.number(self._dataset, tag) or 0 for tag in ("Columns", "Rows"))
        return int(columns), int(rows)

    def origin(self, number: int = 1) -> Origin:
        """Where the frame of this number, from 1, stands."""
        with quiet_readers():
            return tags.origin(self._dataset, number if self.frames > 1 else None)

    def read(self, number: int = 1, maximum_pixels: int | None = None) -> Slice:
        """The frame of this number, from 1, as a viewer shows it.

        Args:
            number: of the frame.
            maximum_pixels: a larger picture is not decoded; None takes `falx.reading.pixels.MAXIMUM_PIXELS`.

        Raises:
            NotASlice: it is no MR slice of a head by its tags.
            DicomUnavailable: what decompresses it is not installed.
            UnreadableImage: it holds no picture, or a damaged one.
        """
        most = MAXIMUM_PIXELS if maximum_pixels is None else maximum_pixels
        with quiet_readers():
            origin = self.origin(number)
            reason = tags.refusal(self._dataset, number)
            if reason is not None:
                raise NotASlice(f"{self._name}: {reason.message}", reason, origin)
            values = self._decode(number, most)
            doubt = tags.doubt(self._dataset, number)
            if values.ndim == 3:
                coloured = from_array(values, self._name)
                return Slice(coloured.pixels, coloured.colour, origin, doubt)
            shown = self._brightness(values, number)
            pixels = np.floor(255 * shown + 0.5).astype(np.uint8)
            if doubt is not None and self._largest_mm(pixels, number) > tags.LARGEST_HEAD_MM:
                raise NotASlice(f"{self._name}: {doubt.message}", doubt, origin)
            return Slice(window.squared(pixels, *tags.aspect(self._dataset, number)), 0.0, origin, doubt)

    def _largest_mm(self, pixels: npt.NDArray[np.uint8], number: int) -> float:
        """The longer side of what a slice shows; 0 where the tags do not tell."""
        shown = find_head(pixels)
        row_mm, column_mm = tags.spacing_mm(self._dataset, number) or (0.0, 0.0)
        return max(shown.height * row_mm, shown.width * column_mm)

    def _decode(self, number: int, maximum_pixels: int) -> npt.NDArray[Any]:
        """The stored values of a frame: `(H, W)`, or `(H, W, 3)` in colour."""
        columns, rows = self.size
        if rows < 1 or columns < 1:
            raise UnreadableImage(f"{self._name}: the DICOM data set holds no picture")
        interpretation = tags.text(self._dataset, "PhotometricInterpretation").upper() or "MONOCHROME2"
        if interpretation not in GREY and tags.number(self._dataset, "SamplesPerPixel") != 3:
            which = interpretation if interpretation in ("PALETTE COLOR", "RGB") else "another"
            raise UnreadableImage(f"{self._name}: expected {' or '.join(GREY)}, got {which}")
        if rows * columns > maximum_pixels:
            raise UnreadableImage(
                f"{self._name}: too large to be a slice, so it was not decoded: {columns} x {rows} pixels"
            )
        try:
            values = np.asarray(self._pixels(number))
        except UnreadableImage:
            raise
        except Exception as error:  # noqa: BLE001 - pydicom and its decoders raise anything on damaged data
            raise self._undecodable(jpeg_lossless.reason(error) or type(error).__name__) from None
        if (
            values.shape[:2] != (rows, columns)
            or values.ndim not in (2, 3)
            or values.shape[2:] not in ((), (3,))
        ):
            raise self._undecodable(f"they are of shape {values.shape}")
        if values.dtype.kind not in "iu":
            raise self._undecodable(f"they are {values.dtype}")
        return values

    def _pixels(self, number: int) -> Any:
        pixels = importlib.import_module("pydicom.pixels")
        syntax = _syntax(self._dataset)
        if not is_dataset(self._source) and self.frames > 1 and syntax not in (None, *DEFLATED):
            # Only this frame is read. Deflated files, and those without a header, are read as a whole.
            with self._opened() as stream:
                if syntax in jpeg_lossless.SYNTAXES:
                    return _lossless_frame(stream, number, syntax)
                return pixels.pixel_array(stream, index=number - 1, decoding_plugin=_plugin(syntax))
        whole = self._source if is_dataset(self._source) else _read(self._source, self._name, pixels=True)
        if "PixelData" not in whole:
            raise UnreadableImage(f"{self._name}: the DICOM data set holds no picture")
        part = _completed(whole)
        if not part.file_meta.TransferSyntaxUID.is_encapsulated:
            expected = pixels.utils.get_expected_length(part)
            if len(part.PixelData) < expected:
                why = f"they are cut off: expected {expected} bytes, got {len(part.PixelData)}"
                raise self._undecodable(f"{why}; copy or export the file again")
        if syntax in jpeg_lossless.SYNTAXES:
            options = pixels.as_pixel_options(part)
            return jpeg_lossless.decoder(syntax).as_array(part, index=number - 1, **options)[0]
        return pixels.pixel_array(part, index=number - 1, decoding_plugin=_plugin(syntax))

    def _opened(self) -> BinaryIO:
        """The file."""
        if isinstance(self._source, bytes):
            return io.BytesIO(self._source)
        return open(self._source, "rb")  # noqa: PTH123 - a string; who calls this closes it

    def _undecodable(self, why: str) -> UnreadableImage:
        syntax = _syntax(self._dataset)
        if _missing_decoders(syntax):
            return DicomUnavailable(
                f"{self._name}: what decompresses transfer syntax {syntax} is not installed: "
                "pip install 'falx[dicom]'"
            )
        if syntax == EXTENDED and importlib.util.find_spec("libjpeg") is None:
            why += "; JPEG Extended of 12 bits needs pylibjpeg-libjpeg, which is GPL: pip install it yourself"
        return UnreadableImage(f"{self._name}: the DICOM pixels cannot be decoded: {why}")

    def _brightness(self, values: npt.NDArray[Any], number: int) -> npt.NDArray[np.float64]:
        """Stored values as brightness, 0 black to 1 white."""
        dataset = self._dataset
        padding = tags.padding(dataset)
        valid = None if padding is None else (values < padding[0]) | (values > padding[1])
        inverted = tags.text(dataset, "PhotometricInterpretation").upper() == "MONOCHROME1"
        shown = self._voi_table(values, number)
        if shown is None:
            shown = self._plain(values, number)
        if shown is None:
            real = self._modality(values, tags.rescale(dataset, number))
            return window.brightness(real, tags.window(dataset, number), valid, inverted=inverted)
        shown = 1 - shown if inverted else shown
        return shown if valid is None else np.where(valid, shown, 0.0)

    def _plain(self, values: npt.NDArray[Any], number: int) -> npt.NDArray[np.float64] | None:
        """Values that are brightness already; None where they are not."""
        bits = int(tags.number(self._dataset, "BitsStored") or 8 * values.itemsize)
        mapped = tags.window(self._dataset, number) is not None or (
            tags.rescale(self._dataset, number) is not None
            or tags.has_table(self._dataset, "ModalityLUTSequence")
        )
        if mapped or not 1 <= bits <= 8 or values.dtype.kind != "u":
            return None
        return window.Window(0, 2**bits - 1).apply(values.astype(np.float64))

    def _modality(
        self, values: npt.NDArray[Any], rescale: tuple[float, float] | None
    ) -> npt.NDArray[np.float64]:
        if tags.has_table(self._dataset, "ModalityLUTSequence"):
            return self._looked_up(values, "apply_modality_lut")
        real = values.astype(np.float64)
        return real if rescale is None else real * rescale[0] + rescale[1]

    def _voi_table(self, values: npt.NDArray[Any], number: int) -> npt.NDArray[np.float64] | None:
        """Brightness by the VOI LUT of the data set; None where there is none."""
        if not tags.has_table(self._dataset, "VOILUTSequence"):
            return None
        real = self._modality(values, tags.rescale(self._dataset, number))
        shown = self._looked_up(np.rint(real).astype(np.int64), "apply_voi")
        bits = tags.table_bits(self._dataset, "VOILUTSequence")
        return window.Window(0, 2**bits - 1).apply(shown)

    def _looked_up(self, values: npt.NDArray[Any], function: str) -> npt.NDArray[np.float64]:
        apply = getattr(importlib.import_module("pydicom.pixels"), function)
        try:
            return np.asarray(apply(values, self._dataset), np.float64)
        except Exception as error:  # noqa: BLE001 - as above: anything, on damaged tables
            raise self._undecodable(f"{type(error).__name__} in a lookup table") from None


def open_file(source: str | bytes | BinaryIO, name: str, path: str | None = None) -> Object:
    """Read the tags of a DICOM file.

    Args:
        source: a path, or what a file holds.
        name: what messages call it.
        path: of the file, as it was given.

    Raises:
        DicomUnavailable: pydicom is not installed.
        UnreadableImage: the file is damaged.
    """
    kept = source if isinstance(source, str | bytes) else source.read()
    return Object(_read(kept, name, pixels=False), kept, name, path)


def open_dataset(dataset: Any, name: str = "DICOM data set") -> Object:
    """Take a pydicom Dataset of the caller's; it is not changed.

    Raises:
        DicomUnavailable: pydicom is not installed.
    """
    _pydicom(name)
    return Object(dataset, dataset, name, None)


def _read(source: str | bytes, name: str, *, pixels: bool) -> Any:
    pydicom = _pydicom(name)
    wanted = [*tags.TAGS, *(PIXEL_TAGS if pixels else ())]
    with quiet_readers():
        try:
            with open(source, "rb") if isinstance(source, str) else io.BytesIO(source) as stream:  # noqa: PTH123 - either
                _check_deflated(stream, name)
                return pydicom.dcmread(
                    stream, force=True, stop_before_pixels=not pixels, specific_tags=wanted
                )
        except UnreadableImage:
            raise
        except OSError as error:
            raise UnreadableImage(
                f"{name}: cannot be read: {error.strerror or 'it ends too early'}"
            ) from None
        except Exception as error:  # noqa: BLE001 - pydicom raises anything on damaged files
            raise UnreadableImage(
                f"{name}: the DICOM file is damaged: {type(error).__name__} while reading it"
            ) from None


def _check_deflated(stream: BinaryIO, name: str) -> None:
    """Refuse a deflated file that inflates beyond all measure; the stream is at its start again."""
    start = stream.read(DICOM_START + META)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    if DEFLATED[0].encode() in start:
        # The file's header begins with the length of what follows (PS3.10, 7.1).
        stream.seek(DICOM_START + 12 + int.from_bytes(start[DICOM_START + 8 : DICOM_START + 12], "little"))
        data = stream.read()
        while data and not inflate.eof:
            size += len(inflate.decompress(data, 2**24))
            data = inflate.unconsumed_tail
            if size > MOST_BYTES:
                raise UnreadableImage(
                    f"{name}: too large to be a slice: it inflates to over {MOST_BYTES} bytes"
                )
    stream.seek(0)


def _completed(dataset: Any) -> Any:
    """What decoding takes of a data set, with what is missing and can be told in no other way."""
    pydicom = importlib.import_module("pydicom")
    part = pydicom.Dataset()
    for keyword in PIXEL_TAGS:
        if keyword in dataset and not (keyword == "NumberOfFrames" and tags.frames(dataset) == 1):
            part[keyword] = dataset[keyword]
    if tags.number(part, "SamplesPerPixel") is None:
        part.SamplesPerPixel = 1
    if not tags.text(part, "PhotometricInterpretation"):
        part.PhotometricInterpretation = "MONOCHROME2"
    if tags.number(part, "BitsAllocated") is None:
        cells = part.Rows * part.Columns * part.SamplesPerPixel * tags.frames(part)
        part.BitsAllocated = 8 * max(1, len(part.PixelData) // cells)
    if tags.number(part, "BitsStored") is None:
        part.BitsStored = part.BitsAllocated
    if tags.number(part, "HighBit") is None:
        part.HighBit = part.BitsStored - 1
    if tags.number(part, "PixelRepresentation") is None:
        part.PixelRepresentation = 0
    part.file_meta = pydicom.dataset.FileMetaDataset()
    part.file_meta.TransferSyntaxUID = _syntax(dataset) or _native_syntax(dataset)
    return part


def _syntax(dataset: Any) -> str | None:
    """The transfer syntax a data set names; None where it names none."""
    return tags.text(getattr(dataset, "file_meta", None), "TransferSyntaxUID") or None


def _native_syntax(dataset: Any) -> str:
    """How a data set without a transfer syntax was encoded; one made in memory is little-endian."""
    implicit, little = dataset.original_encoding
    if little is False:
        return EXPLICIT_BIG
    return IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE


def _lossless_frame(stream: BinaryIO, number: int, syntax: str) -> Any:
    """A frame of a file, as pydicom's `pixel_array` reads one, with another decoder."""
    pydicom, pixels = (importlib.import_module(name) for name in ("pydicom", "pydicom.pixels"))
    found = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=list(PIXEL_TAGS))
    # It is at the pixels; what is compressed has a header of one kind.
    stream.seek(ELEMENT, io.SEEK_CUR)
    options = pixels.as_pixel_options(_completed(found)) | {"pixel_keyword": "PixelData"}
    return jpeg_lossless.decoder(syntax).as_array(stream, index=number - 1, **options)[0]


def _plugin(syntax: str | None) -> str:
    """Which of pydicom's plugins to take; empty for the first that pydicom finds."""
    allowed = DECODERS.get(syntax or "")
    if allowed is None:
        return ""
    installed = importlib.import_module("pydicom.pixels").get_decoder(syntax).available_plugins
    return next((name for name in allowed if name in installed), allowed[0])


def _missing_decoders(syntax: str | None) -> bool:
    """Whether pydicom knows a transfer syntax, and no package that may decode it is installed."""
    if syntax in jpeg_lossless.SYNTAXES:
        return False
    try:
        decoder = importlib.import_module("pydicom.pixels").get_decoder(syntax)
    except Exception:  # noqa: BLE001 - an unknown syntax is another error
        return False
    if syntax in DECODERS:
        return not {*DECODERS[syntax]} & {*decoder.available_plugins}
    return not decoder.is_available


def _pydicom(name: str) -> Any:
    with needs(f"{name}: DICOM", "'falx[dicom]'", DicomUnavailable):
        return importlib.import_module("pydicom")
