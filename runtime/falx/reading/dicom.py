"""Reads the slices of a DICOM file or data set, where pydicom is installed.

Values become brightness in this order (PS3.3, C.11):

- stored values, unsigned or signed, of the Bits Stored; Pixel Padding Value is no picture and black
- Modality LUT or Rescale Slope and Intercept
- VOI LUT, else the first window, where it shows the picture, else its percentiles (`falx.reading.window`);
  8-bit values without any of these are brightness already, as in any other picture
- MONOCHROME1: inverted
- pixels that are not square: resampled to the finer side

Functional groups of enhanced objects stand for the tags of their frames, frame by frame. Colour is
turned into grey as in other pictures. Errors of pydicom quote values of the data set, so no message
repeats them and no error keeps them. Files are read with the tags of `falx.reading.tags.TAGS` only.
"""

from __future__ import annotations

import importlib.util
import io
import zlib
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from falx.errors import DicomUnavailable, NotASlice, UnreadableImage
from falx.optional import needs
from falx.reading import decoders, tags, window
from falx.reading.damage import in_words
from falx.reading.decoders import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, JPEG_EXTENDED
from falx.reading.input_file import InputFile
from falx.reading.pixels import MAXIMUM_PIXELS, PixelArray, from_array
from falx.reading.quiet import quiet_readers
from falx.slices.preprocessing import find_head
from falx.slices.slice import Origin, Slice

if TYPE_CHECKING:
    import numpy.typing as npt
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

    Values = npt.NDArray[np.integer]

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
"""The tags that decoding takes."""

PIXELS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)
"""Float, Double Float and Pixel Data."""

ELEMENT: Final = 12
"""Bytes before the value of compressed pixels: tag, VR, two unused, length (PS3.5, 7.1.2 and A.4)."""

PREAMBLE: Final = 132
"""Bytes before the header of a file (PS3.10, 7.1)."""

META: Final = 1024
"""Bytes in which the header of a file names its transfer syntax."""


class DicomImage:
    """A DICOM image of one frame or several: its tags are read, its pixels not yet."""

    def __init__(self, dataset: Dataset, file: InputFile | None, name: str) -> None:
        """Takes over the tags, and the file of the pixels; None for a data set that has them."""
        self.dataset = dataset
        self.file = file
        self.name = name
        self.path = None if file is None else file.path
        with quiet_readers():
            self.frames = tags.frames(dataset)
        if self.frames > MAXIMUM_FRAMES:
            raise UnreadableImage(f"{name}: damaged: it claims {self.frames} frames")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height that the image claims, in pixels; 0 where it claims none."""
        with quiet_readers():
            columns, rows = (tags.number(self.dataset, tag) or 0 for tag in ("Columns", "Rows"))
        return int(columns), int(rows)

    def origin(self, number: int = 1) -> Origin:
        """Returns where the frame of this number, from 1, stands."""
        with quiet_readers():
            return tags.origin(self.dataset, number if self.frames > 1 else None)

    def read(self, number: int = 1) -> Slice:
        """Reads the frame of this number, from 1, as a viewer shows it."""
        with quiet_readers():
            origin = self.origin(number)
            reason = tags.refusal(self.dataset, number)
            reason = reason or tags.small_field(*tags.extent_mm(self.dataset, number))
            if reason is not None:
                raise NotASlice(f"{self.name}: {reason.message}", reason, origin)
            values = self._decode(number)
            doubt = tags.doubt(self.dataset, number)
            if values.ndim == 3:
                coloured = from_array(PixelArray(values), self.name)
                return Slice(coloured.pixels, coloured.colour, origin, doubt)
            shown = self._brightness(values, number)
            pixels = np.floor(255 * shown + 0.5).astype(np.uint8)
            if doubt is not None:
                head = find_head(pixels)
                row_mm, column_mm = tags.spacing_mm(self.dataset, number) or (0.0, 0.0)
                if max(head.height * row_mm, head.width * column_mm) > tags.LARGEST_HEAD_MM:
                    raise NotASlice(f"{self.name}: {doubt.message}", doubt, origin)
            return Slice(window.squared(pixels, *tags.aspect(self.dataset, number)), 0.0, origin, doubt)

    def greys(self, number: int = 1) -> window.Greys | None:
        """Returns the values behind the frame of this number, from 1, with the window it is shown with; None
        where no linear window makes the picture: colour, lookup tables, 8-bit brightness.
        """
        with quiet_readers():
            values = self._decode(number)
            dataset = self.dataset
            if values.ndim == 3 or tags.has_table(dataset, "VOILUTSequence"):
                return None
            if self._plain(values, number) is not None:
                return None
            valid, inverted = self._shown(values)
            real = self._modality(values, tags.rescale(dataset, number))
            used = window.suited(real, tags.window(dataset, number), valid, inverted=inverted)
            if used is None or used.sigmoid:
                return None
            if valid is not None:
                real = np.where(valid, real, real[valid].max() if inverted else real[valid].min())
            return window.Greys(real, used.low, used.high, inverted)

    def _decode(self, number: int) -> Values:
        """Returns the stored values of a frame: `(H, W)`, or `(H, W, 3)` in colour."""
        columns, rows = self.size
        if rows < 1 or columns < 1:
            raise UnreadableImage(f"{self.name}: the DICOM data set holds no picture")
        interpretation = tags.text(self.dataset, "PhotometricInterpretation").upper() or "MONOCHROME2"
        if interpretation not in GREY and tags.number(self.dataset, "SamplesPerPixel") != 3:
            which = interpretation if interpretation in ("PALETTE COLOR", "RGB") else "another"
            raise UnreadableImage(f"{self.name}: expected {' or '.join(GREY)}, got {which}")
        if rows * columns > (MAXIMUM_PIXELS if self.file is None else self.file.most_pixels):
            raise UnreadableImage(
                f"{self.name}: too large to be a slice, so it was not decoded: {columns} x {rows} pixels"
            )
        try:
            values = np.asarray(self._pixels(number))
        except UnreadableImage:
            raise
        except Exception as error:  # noqa: BLE001 - pydicom and its decoders raise anything on damaged data
            raise self._undecodable(decoders.reason(error) or in_words(error)) from None
        if (
            values.shape[:2] != (rows, columns)
            or values.ndim not in (2, 3)
            or values.shape[2:] not in ((), (3,))
        ):
            raise self._undecodable(f"they are of shape {values.shape}")
        if values.dtype.kind not in "iu":
            raise self._undecodable(f"they are {values.dtype}")
        return values

    def _pixels(self, number: int) -> Values:
        from pydicom.pixels.utils import get_expected_length

        syntax = _syntax(self.dataset)
        if self.file is not None and self.frames > 1 and syntax is not None and syntax not in DEFLATED:
            # Only this frame is read. Deflated files, and those without a header, are read as a whole.
            with self.file.open() as stream:
                return _frame(stream, number, syntax)
        whole = self.dataset if self.file is None else _read(self.file, pixels=True)
        if "PixelData" not in whole:
            raise UnreadableImage(f"{self.name}: the DICOM data set holds no picture")
        part = _completed(whole)
        if not part.file_meta.TransferSyntaxUID.is_encapsulated:
            expected = get_expected_length(part)
            if len(part.PixelData) < expected:
                why = f"they are cut off: expected {expected} bytes, got {len(part.PixelData)}"
                raise self._undecodable(f"{why}; copy or export the file again")
        return decoders.frame(part, number - 1, syntax)

    def _undecodable(self, why: str) -> UnreadableImage:
        syntax = _syntax(self.dataset)
        if decoders.missing(syntax):
            return DicomUnavailable(
                f"{self.name}: transfer syntax {syntax} needs the extra dicom: pip install 'falx[dicom]'"
            )
        if syntax == JPEG_EXTENDED and importlib.util.find_spec("libjpeg") is None:
            why += "; JPEG Extended of 12 bits needs pylibjpeg-libjpeg, which is GPL: pip install it yourself"
        return UnreadableImage(f"{self.name}: the DICOM pixels cannot be decoded: {why}")

    def _brightness(self, values: Values, number: int) -> npt.NDArray[np.float64]:
        """Returns stored values as brightness, 0 black to 1 white."""
        dataset = self.dataset
        valid, inverted = self._shown(values)
        shown = self._voi_table(values, number)
        if shown is None:
            shown = self._plain(values, number)
        if shown is None:
            real = self._modality(values, tags.rescale(dataset, number))
            return window.brightness(real, tags.window(dataset, number), valid, inverted=inverted)
        shown = 1 - shown if inverted else shown
        return shown if valid is None else np.where(valid, shown, 0.0)

    def _shown(self, values: Values) -> tuple[npt.NDArray[np.bool_] | None, bool]:
        """Returns which values belong to the picture, None for all, and whether the least are white."""
        padding = tags.padding(self.dataset)
        valid = None if padding is None else (values < padding[0]) | (values > padding[1])
        return valid, tags.text(self.dataset, "PhotometricInterpretation").upper() == "MONOCHROME1"

    def _plain(self, values: Values, number: int) -> npt.NDArray[np.float64] | None:
        """Returns values that are brightness already; None where they are not."""
        bits = int(tags.number(self.dataset, "BitsStored") or 8 * values.itemsize)
        mapped = tags.window(self.dataset, number) is not None or (
            tags.rescale(self.dataset, number) is not None
            or tags.has_table(self.dataset, "ModalityLUTSequence")
        )
        if mapped or not 1 <= bits <= 8 or values.dtype.kind != "u":
            return None
        return window.Window(0, 2**bits - 1).apply(values.astype(np.float64))

    def _modality(self, values: Values, rescale: tuple[float, float] | None) -> npt.NDArray[np.float64]:
        if tags.has_table(self.dataset, "ModalityLUTSequence"):
            return self._looked_up(values, "apply_modality_lut")
        real = values.astype(np.float64)
        return real if rescale is None else real * rescale[0] + rescale[1]

    def _voi_table(self, values: Values, number: int) -> npt.NDArray[np.float64] | None:
        """Returns the brightness by the VOI LUT of the data set; None where there is none."""
        if not tags.has_table(self.dataset, "VOILUTSequence"):
            return None
        real = self._modality(values, tags.rescale(self.dataset, number))
        shown = self._looked_up(np.rint(real).astype(np.int64), "apply_voi")
        bits = tags.table_bits(self.dataset, "VOILUTSequence")
        return window.Window(0, 2**bits - 1).apply(shown)

    def _looked_up(self, values: Values, function: str) -> npt.NDArray[np.float64]:
        from pydicom.pixels import processing

        try:
            return np.asarray(getattr(processing, function)(values, self.dataset), np.float64)
        except Exception as error:  # noqa: BLE001 - as above: anything, on damaged tables
            raise self._undecodable(f"a lookup table is damaged: {in_words(error)}") from None


def open_file(file: InputFile) -> DicomImage:
    """Reads the tags of a DICOM file."""
    return DicomImage(_read(file, pixels=False), file, file.name)


def open_dataset(dataset: Dataset, name: str = "DICOM data set") -> DicomImage:
    """Takes a pydicom Dataset of the caller's, which is not changed."""
    return DicomImage(dataset, None, name)


def _read(file: InputFile, *, pixels: bool) -> Dataset:
    with needs(f"{file.name}: DICOM", "dicom", DicomUnavailable):
        from pydicom.filereader import read_partial
    wanted = _wanted(pixels=pixels)
    until = None if pixels else lambda tag, *_: tag in PIXELS
    with quiet_readers(), file.open() as stream:
        try:
            _check_deflated(stream, file)
            # As `dcmread` does, which would look up the number of every tag again.
            return read_partial(stream, until, force=True, specific_tags=wanted)
        except UnreadableImage:
            raise
        except OSError as error:
            raise UnreadableImage(f"{file.name}: cannot be read: {in_words(error)}") from None
        except Exception as error:  # noqa: BLE001 - pydicom raises anything on damaged files
            raise UnreadableImage(f"{file.name}: the DICOM file is damaged: {in_words(error)}") from None


@cache
def _wanted(*, pixels: bool) -> list[BaseTag | int]:
    from pydicom.tag import Tag

    return [Tag(tag) for tag in (*tags.TAGS, *tags.PRIVATE, *(PIXEL_TAGS if pixels else ()))]


def _check_deflated(stream: BinaryIO, file: InputFile) -> None:
    """Refuses a deflated file that inflates beyond all measure; the stream is at its start again."""
    start = stream.read(PREAMBLE + META)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    if DEFLATED[0].encode() in start:
        # The file's header begins with the length of what follows (PS3.10, 7.1).
        stream.seek(PREAMBLE + 12 + int.from_bytes(start[PREAMBLE + 8 : PREAMBLE + 12], "little"))
        data = stream.read()
        while data and not inflate.eof:
            size += len(inflate.decompress(data, 2**24))
            data = inflate.unconsumed_tail
            if size > file.most_bytes:
                raise UnreadableImage(
                    f"{file.name}: too large to be a slice: it inflates to over {file.most_bytes} bytes"
                )
    stream.seek(0)


def _completed(dataset: Dataset) -> Dataset:
    """Returns what decoding takes of a data set, with what is missing and can be told in no other way."""
    import pydicom

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
    # Where it names none: as it was encoded; one made in memory is little-endian.
    implicit, little = dataset.original_encoding
    native = EXPLICIT_BIG if little is False else IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE
    part.file_meta.TransferSyntaxUID = pydicom.uid.UID(_syntax(dataset) or native)
    return part


def _syntax(dataset: Dataset) -> str | None:
    return tags.text(getattr(dataset, "file_meta", None), "TransferSyntaxUID") or None


def _frame(stream: BinaryIO, number: int, syntax: str) -> Values:
    """Reads one frame of a file, and no other."""
    import pydicom
    from pydicom.pixels.utils import as_pixel_options, pixel_array

    own = decoders.own(syntax)
    if own is None:
        return pixel_array(stream, index=number - 1, decoding_plugin=decoders.plugin(syntax))
    found = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=_wanted(pixels=True))
    # The stream is at the pixels; what is compressed has a header of one kind.
    stream.seek(ELEMENT, io.SEEK_CUR)
    options = as_pixel_options(_completed(found)) | {"pixel_keyword": "PixelData"}
    return own.as_array(stream, index=number - 1, **options)[0]
