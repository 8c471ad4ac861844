"""JPEG Lossless (ITU-T T.81, process 14), decoded with NumPy: of DICOM's JPEGs, the one Pillow cannot read.

The libraries that pydicom offers for it are GDCM, which believes what a damaged frame says of its size and
depth, so that it writes past its buffer and ends the process, and libjpeg, which is GPL. Here NumPy checks
each access, the frame must be of the size that the data set says, and nothing is installed.

The end of a code says where the next one begins, so codes cannot be looked up side by side. But the length
of a code that begins at a given bit, with the bits that follow it, can be looked up for every bit of a block
at once. The loop that is left only adds.

One or several components are read, with all seven predictors, any point transform, and restart intervals
of whole rows. Subsampled components and lines that are counted after the scan are errors: the standard
allows them, but DICOM excludes them or nobody writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

START, END, TABLES, SCAN, RESTARTS, FRAME = 0xD8, 0xD9, 0xC4, 0xDA, 0xDD, 0xC3
FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {TABLES, 0xC8, 0xCC})
"""Markers of frames of every process (T.81, table B.1)."""

LONGEST: Final = 16
"""Bits of the longest code; a difference follows in at most as many (T.81, table H.2)."""

BLOCK: Final = 2**16
"""Bytes that are looked up at once: 4 MB of working memory, 8 where codes are short, whatever the picture."""

AHEAD: Final = 5
"""Bytes from the one where a code begins to the one where what follows it ends."""

BROKEN: Final = 255
"""For bits that begin no code: leaves the block soon, whatever follows."""

WHOLE: Final = (np.uint64(1) << np.arange(LONGEST + 1, dtype=np.uint64)) - np.uint64(1)
"""The greatest number of so many bits."""

HALF: Final = np.int64(1) << np.arange(LONGEST + 1) >> 1
"""Limits by the count of bits: a number below its limit stands for a negative difference."""

MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""The end of the coded data of a scan: any marker but restarts. 0xFF of the data is followed by 0."""

RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")

Table = tuple[bytes, bytes]
"""Huffman table as a file has it: how many codes there are of each length, and what they mean."""

Codes = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
"""Counts by the next 16 bits: of the bits that the code takes, and of those of a difference that follow."""


class DamagedFrameError(ValueError):
    """It is no JPEG Lossless frame of the size expected, or it ends or goes wrong somewhere."""


@dataclass(frozen=True, slots=True)
class _Scan:
    components: tuple[int, ...]
    """The places of the components in the frame, rising (T.81, B.2.3)."""
    tables: tuple[int, ...]
    predictor: int
    transform: int
    first: int
    """The prediction for the first sample."""


def decode(data: bytes, rows: int, columns: int, samples: int = 1) -> tuple[npt.NDArray[np.uint16], int]:
    """Decodes a frame that must have so many rows, columns and samples.

    Returns:
        `(rows, columns, samples)` uint16, and the bits of a sample, 2 to 16.

    Raises:
        DamagedFrameError: The data is something else.
    """
    precision, names = 0, b""
    tables: dict[int, Table] = {}
    interval = 0
    shown = np.zeros((rows, columns, samples), np.uint16)
    missing = set(range(samples))
    for marker, start, stop in _segments(data):
        segment = data[start:stop]
        if marker in FRAMES:
            precision, names = _frame(marker, segment, shown.shape)
        elif marker == TABLES:
            tables |= _tables(segment)
        elif marker == RESTARTS:
            interval = int.from_bytes(segment[:2], "big")
        elif marker == SCAN:
            if not names:
                raise DamagedFrameError("a scan before the frame's header")
            scan = _scan(segment, precision, names, missing)
            if not tables.keys() >= {*scan.tables}:
                raise DamagedFrameError("a Huffman table is missing")
            codes = [_codes(*tables[number]) for number in scan.tables]
            for band, coded in _bands(data, stop, shown, interval):
                _fill(band, coded, codes, scan)
            missing.difference_update(scan.components)
    if not names or missing:
        raise DamagedFrameError("it holds no picture, or not all components of one")
    return shown, precision


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields markers, and where what belongs to them begins and ends."""
    if data[:2] != bytes((0xFF, START)):
        raise DamagedFrameError("it does not begin as a JPEG")
    at = 2
    while found := MARKER.search(data, at):
        marker, at = data[found.end() - 1], found.end() + 2
        if marker == END:
            return
        stop = found.end() + int.from_bytes(data[found.end() : at], "big")
        if not at <= stop <= len(data):
            raise DamagedFrameError("it ends within a header")
        yield marker, at, stop
        at = stop


def _frame(marker: int, segment: bytes, shape: tuple[int, ...]) -> tuple[int, bytes]:
    """Returns the bits of a sample, and the components' names, bytes of the encoder's choice (B.2.2)."""
    if marker != FRAME:
        raise DamagedFrameError(f"it is of another process of JPEG: frame marker {marker:#04x}")
    if len(segment) < 6 or len(segment) != 6 + 3 * segment[5]:
        raise DamagedFrameError("the frame's header is too short")
    said = (int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big"), segment[5])
    if said != shape:
        raise DamagedFrameError(f"expected rows, columns and components {shape}, got {said}")
    if not 2 <= segment[0] <= 16:
        raise DamagedFrameError(f"expected 2 to 16 bits, got {segment[0]}")
    if segment[5] > 1 and {*segment[7::3]} != {0x11}:
        raise DamagedFrameError("components of different sizes")
    return segment[0], segment[6::3]


def _tables(segment: bytes) -> dict[int, Table]:
    """Returns Huffman tables by number (T.81, B.2.4.2)."""
    tables, at = {}, 0
    while at < len(segment):
        number, counts = segment[at], segment[at + 1 : at + 1 + LONGEST]
        at += 1 + LONGEST
        tables[number] = counts, segment[at : at + sum(counts)]
        at += sum(counts)
    if at > len(segment):
        raise DamagedFrameError("a Huffman table is broken")
    return tables


def _codes(counts: bytes, values: bytes) -> Codes:
    """Returns what a table says of every 16 bits (T.81, annex C); a code of 0 bits where there is none."""
    lengths = np.repeat(np.arange(1, LONGEST + 1), np.frombuffer(counts, np.uint8))
    # Codes of a length are consecutive, so each stands for the next stretch of all 16-bit words.
    stretches = 1 << (LONGEST - lengths)
    used = int(stretches.sum())
    if used > 1 << LONGEST or max(values, default=0) > LONGEST:
        raise DamagedFrameError("a Huffman table is broken")
    code, size = np.zeros(1 << LONGEST, np.uint8), np.zeros(1 << LONGEST, np.uint8)
    code[:used] = np.repeat(lengths, stretches)
    size[:used] = np.repeat(np.frombuffer(values, np.uint8), stretches)
    return code, size


def _scan(header: bytes, precision: int, known: bytes, missing: set[int]) -> _Scan:
    """Returns what a scan's header says of components that are still missing (T.81, B.2.3)."""
    count = header[0] if header else 0
    if count == 0 or len(header) != 4 + 2 * count:
        raise DamagedFrameError("a scan's header is broken")
    names, predictor, transform = header[1:-3:2], header[-3], header[-1] & 15
    found = [n for n in sorted(missing) if known[n] in names]
    if [known[n] for n in found] != [*names]:
        raise DamagedFrameError("a scan of components that are not in the frame, or of one again")
    if not 1 <= predictor <= 7 or transform >= precision:
        raise DamagedFrameError("an unknown predictor or point transform")
    first = 1 << (precision - transform - 1)
    return _Scan((*found,), tuple(one >> 4 for one in header[2:-3:2]), predictor, transform, first)


def _bands(
    data: bytes, start: int, shown: npt.NDArray[np.uint16], interval: int
) -> Iterator[tuple[npt.NDArray[np.uint16], bytes]]:
    """Gives the rows between restarts, and their Huffman-coded data; all rows where there are no restarts."""
    rows, columns = shown.shape[:2]
    if interval % columns:
        raise DamagedFrameError("restarts within a row")
    end = MARKER.search(data, start)
    parts = RESTART.split(data[start : end.start() if end else len(data)])
    band = interval // columns or rows
    if len(parts) != -(-rows // band):
        raise DamagedFrameError("more or fewer restarts than its rows take")
    for number, part in enumerate(parts):
        # 0xFF is followed by 0, lest it be a marker (T.81, F.1.2.3).
        yield shown[number * band : (number + 1) * band], part.replace(b"\xff\0", b"\xff")


def _fill(band: npt.NDArray[np.uint16], coded: bytes, codes: Sequence[Codes], scan: _Scan) -> None:
    rows, columns, count = *band.shape[:2], len(codes)
    differences = _differences(coded, codes, rows * columns * count).reshape(rows, columns, count)
    for place, component in enumerate(scan.components):
        undone = _undone(differences[:, :, place], scan.predictor, scan.first)
        band[:, :, component] = undone << scan.transform


def _differences(data: bytes, codes: Sequence[Codes], count: int) -> npt.NDArray[np.int32]:
    """Returns the differences that Huffman-coded data holds, the components' one after the other."""
    out = np.empty(count, np.int32)
    coded = np.frombuffer(data + bytes([0xFF] * AHEAD), np.uint8)
    done = bit = 0
    while done < count:
        byte = bit >> 3
        block = coded[byte : byte + BLOCK + AHEAD].astype(np.uint64)
        length = len(block) - AHEAD
        if length <= 0:
            raise DamagedFrameError("it ends too early")
        # The 40 bits from each byte on: what begins in it, a code and its difference, lies within.
        words = np.zeros(length, np.uint64)
        for n in range(AHEAD):
            words |= block[n : n + length] << np.uint64(32 - 8 * n)
        order = [(done + n) % len(codes) for n in range(len(codes))]
        steps = {id(codes[n]): _steps(words, codes[n]) for n in order}
        begins = bytearray(8 * length)
        at = bit & 7
        # It ends where a code begins beyond this block.
        with suppress(IndexError):
            for step in islice(cycle([steps[id(codes[n])] for n in order]), count - done):
                begins[at] = 1
                at += step[at]
        places = np.flatnonzero(np.frombuffer(begins, np.uint8))
        out[done : done + len(places)] = _values(words, places, codes, done)
        done += len(places)
        bit = 8 * byte + at
    if bit > 8 * len(data):
        raise DamagedFrameError("it ends too early")
    return out


def _steps(words: npt.NDArray[np.uint64], codes: Codes) -> bytes:
    """Returns for every bit how many bits a code that begins there takes, with what follows it."""
    code, size = codes
    # Differences of 16 bits are all the same one, and have no bits (T.81, H.1.2.2).
    total = np.where(code == 0, BROKEN, code + np.where(size == LONGEST, 0, size)).astype(np.uint8)
    steps = np.empty((len(words), 8), np.uint8)
    # Half as wide, twice as fast: 23 bits are looked at.
    start = (words >> np.uint64(16)).astype(np.uint32)
    for offset in range(8):
        steps[:, offset] = total.take((start >> np.uint32(8 - offset)) & np.uint32(0xFFFF))
    return steps.tobytes()


def _values(
    words: npt.NDArray[np.uint64], places: npt.NDArray[np.intp], codes: Sequence[Codes], done: int
) -> npt.NDArray[np.int32]:
    """Returns the differences whose codes begin at these bits."""
    after = words.take(places >> 3) << (places & 7).astype(np.uint64)
    index = ((after >> np.uint64(24)) & np.uint64(0xFFFF)).astype(np.intp)
    taken, size = np.empty(len(places), np.uint8), np.empty(len(places), np.uint8)
    for n, (code, follow) in enumerate(codes):
        mine = slice((n - done) % len(codes), None, len(codes))
        taken[mine], size[mine] = code.take(index[mine]), follow.take(index[mine])
    if not taken.all():
        raise DamagedFrameError("a code that is in no table")
    shift = np.uint8(8 * AHEAD) - taken - size
    value = ((after >> shift.astype(np.uint64)) & WHOLE.take(size)).astype(np.int32)
    value -= np.where(value < HALF.take(size), WHOLE.take(size), 0).astype(np.int32)
    return np.where(size == LONGEST, np.int32(1 << (LONGEST - 1)), value)


def _undone(differences: npt.NDArray[np.int32], predictor: int, first: int) -> npt.NDArray[np.uint16]:
    """Samples from what they differ by from their prediction, modulo 2^16 (T.81, H.1.2.1)."""
    if predictor in (2, 6):
        # As 1 and 5, with rows and columns exchanged; so are the edges.
        return _undone(differences.T, predictor - 1, first).T
    shown = differences.astype(np.int64)
    shown[0, 0] += first
    # The first row is predicted from the left, the first column from above.
    shown[0] = np.cumsum(shown[0])
    shown[:, 0] = np.cumsum(shown[:, 0])
    if predictor == 1:
        shown[1:] = np.cumsum(shown[1:], axis=1)
    elif predictor == 4:
        # left + above - aboveleft: both sums at once, of what the edges differed by.
        shown[0, 1:], shown[1:, 0] = np.diff(shown[0]), np.diff(shown[:, 0])
        shown = np.cumsum(np.cumsum(shown, axis=0), axis=1)
    shown &= 0xFFFF
    for above, row in pairwise(shown):
        if predictor == 3:
            row[1:] = (row[1:] + above[:-1]) & 0xFFFF
        elif predictor == 5:
            row[1:] += (above[1:] - above[:-1]) >> 1
            row[:] = np.cumsum(row) & 0xFFFF
        elif predictor == 7:
            left, out = int(row[0]), [int(row[0])]
            for difference, over in zip(row[1:].tolist(), above[1:].tolist(), strict=True):
                left = (difference + ((left + over) >> 1)) & 0xFFFF
                out.append(left)
            row[:] = out
    return shown.astype(np.uint16)


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """Decodes a frame for pydicom, whose DecodeRunner is told how many bits the result has.

    Raises:
        DamagedFrameError: The frame cannot be decoded.
    """
    pixels, precision = decode(source, runner.rows, runner.columns, runner.samples_per_pixel)
    allocated = 8 if precision <= 8 else 16
    if allocated > runner.bits_allocated:
        raise DamagedFrameError(f"expected at most {runner.bits_allocated} bits, got {precision}")
    runner.set_option("bits_allocated", allocated)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
    return pixels.astype(np.uint8 if allocated == 8 else np.uint16).tobytes()
