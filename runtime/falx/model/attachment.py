"""The bytes that hold a card in a model file; `falx.model.card` knows what they mean.

TFLite (the metadata standard's "associated files"): a zip of stored files after the flatbuffer, its
offsets counted from the start of the whole file, as `zipfile` and the TFLite libraries expect.
https://ai.google.dev/edge/litert/conversion/tensorflow/metadata

ONNX: one more `metadata_props` entry after the serialized model. Protobuf fields may come in any
order, so an appended field is a valid file.
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

Format: TypeAlias = Literal["tflite", "onnx"]

CARD_FILE: Final = "falx.json"
LABELS_FILE: Final = "labels.txt"
CALIBRATION_FILE: Final = "score_calibration.txt"
"""The thresholds as the standard's score calibration has them: a line a label, of scale, slope and offset
of a logistic function, which at 1, 1, 0 undoes the inverse that the graph's metadata names, and the least
score. MediaPipe takes an end of line after the last for one more label."""

METADATA_KEY: Final = "falx"

TFLITE_IDENTIFIER: Final = b"TFL3"
"""Stands at bytes 4..8 of every TFLite flatbuffer."""

METADATA_PROPS: Final = 14
"""The number of `ModelProto.metadata_props`."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf."""

ZIP_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold; a real one would make files differ."""

UNIX: Final = 3
"""The system that entries say they are of, on every system: the file must not tell where it was made."""

PERMISSIONS: Final = 0o644 << 16

DAMAGED: Final = (
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    OSError,
    EOFError,
    RuntimeError,  # NotImplementedError among them
    OverflowError,
)
"""Errors that reading a zip raises on bytes that may be anything; the last is for an offset that no seek
takes, which zip64 may hold."""


def detect(data: bytes) -> Format | None:
    """Returns the format of a model file from its bytes; None where it is neither."""
    if data[4:8] == TFLITE_IDENTIFIER:
        return "tflite"
    # ModelProto starts with ir_version (field 1, a varint), which every writer puts first.
    if data[:1] == b"\x08" and next(fields(data), None) is not None:
        return "onnx"
    return None


def split(data: bytes) -> tuple[bytes, bytes | None]:
    """Returns the graph of a model file, and the text of its card; None where there is none."""
    found = locate(data)
    if found is None:
        return data, None
    start, end, text = found
    return data[:start] + data[end:], text


def locate(data: bytes) -> tuple[int, int, bytes] | None:
    """Finds the card in a model file: the first byte that is not the graph's, the next one that is, and the
    card's text; None where there is no card.
    """
    return _locate_tflite(data) if detect(data) == "tflite" else _locate_onnx(data)


def attachment(
    offset: int, card: bytes, labels: Sequence[str], kind: Format, thresholds: Sequence[float] = ()
) -> bytes:
    """Returns the bytes to append to a graph of `offset` bytes so that the file holds the card.

    A TFLite file holds labels and thresholds a second time, for other programs.
    """
    if kind == "onnx":
        return _tagged(METADATA_PROPS, _tagged(1, METADATA_KEY.encode()) + _tagged(2, card))
    files = {CARD_FILE: card, LABELS_FILE: "".join(f"{label}\n" for label in labels).encode()}
    if thresholds:
        files[CALIBRATION_FILE] = "\n".join(f"1,1,0,{threshold}" for threshold in thresholds).encode()
    behind = _Behind(offset)
    # Who reads a card makes this anew and compares: what Python writes for these entries must stay as it is,
    # and a test has its checksum.
    with zipfile.ZipFile(behind, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            entry.create_system, entry.external_attr = UNIX, PERMISSIONS
            archive.writestr(entry, content)
    return behind.getvalue()


class _Behind(io.BytesIO):
    """A stream that is written behind bytes that are elsewhere: its positions count from their start."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self._offset = offset

    def tell(self) -> int:
        return self._offset + super().tell()

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        return self._offset + super().seek(position - self._offset * (whence == io.SEEK_SET), whence)


def _locate_tflite(data: bytes) -> tuple[int, int, bytes] | None:
    # A flatbuffer alone is no zip, and a file cut short has lost the directory at its end.
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            start = min(entry.header_offset for entry in archive.infolist())
            # A card is written as it is; one that is compressed could be of any size.
            if start < 0 or archive.getinfo(CARD_FILE).compress_type != zipfile.ZIP_STORED:
                return None
            return start, len(data), archive.read(CARD_FILE)
    except DAMAGED:
        return None


def _locate_onnx(data: bytes) -> tuple[int, int, bytes] | None:
    for number, start, content, end in fields(data):
        if number != METADATA_PROPS:
            continue
        entry = {key: data[content:end][a:b] for key, _, a, b in fields(data[content:end])}
        if entry.get(1) == METADATA_KEY.encode():
            return start, end, entry.get(2, b"")
    return None


def fields(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yields the fields of a protobuf message: `(number, start, start of content, end)`.

    Stops where the bytes stop being fields.
    """
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        length = 0
        if tag & 7 == VARINT:
            content = position
            _, position = _varint(data, position)
        elif tag & 7 == BYTES:
            length, content = _varint(data, position)
            position = content + length
        elif tag & 7 in (FIXED64, FIXED32):
            content = position
            position += 8 if tag & 7 == FIXED64 else 4
        else:
            return
        if position > len(data) or tag >> 3 == 0:
            return
        yield tag >> 3, start, content, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Returns a varint and the position after it; past the end of the data where it is cut short."""
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    return 0, len(data) + 1


def _tagged(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | BYTES) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
