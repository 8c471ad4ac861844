"""How a card lies in a model file: the bytes, not their meaning.

TFLite (the metadata standard's "associated files"): a zip of stored files after the flatbuffer, its
offsets counted from the start of the whole file, as `zipfile` and the TFLite libraries expect.
https://ai.google.dev/edge/litert/conversion/tensorflow/metadata

ONNX: one more `metadata_props` entry after the serialized model. Protobuf fields may come in any
order, so an appended field is a valid file.
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

__all__ = ["attachment", "detect", "fields", "locate", "split"]

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

ENTRY: Final = struct.Struct("<4s2B4HL2L2H")
DIRECTORY_ENTRY: Final = struct.Struct("<4s4B4HL2L5H2L")
DIRECTORY_END: Final = struct.Struct("<4s4H2LH")
ENTRY_MARK, DIRECTORY_MARK, END_MARK = b"PK\3\4", b"PK\1\2", b"PK\5\6"
"""The three records of a zip (APPNOTE.TXT 6.3.10, 4.3.7, 4.3.12 and 4.3.16). Written out, for `zipfile`
brings three decompressors and `shutil`, and every start of Falx would load them."""

MOST_BEHIND: Final = 0xFFFF
"""A zip may have so many bytes of comment behind its directory."""

STORED: Final = 0
ZIP_VERSION: Final = 20
UNIX: Final = 3
"""The system that entries say they are of, on every system: the file must not tell where it was made."""

PERMISSIONS: Final = 0o644 << 16
ZIP_EPOCH: Final = 1 << 5 | 1
"""1 January 1980, the earliest day a zip can hold; a real one would make files differ."""


def detect(data: bytes) -> Format | None:
    """The format of a model file from its bytes; None where it is neither."""
    if data[4:8] == TFLITE_IDENTIFIER:
        return "tflite"
    # ModelProto starts with ir_version (field 1, a varint), which every writer puts first.
    if data[:1] == b"\x08" and next(fields(data), None) is not None:
        return "onnx"
    return None


def split(data: bytes) -> tuple[bytes, bytes | None]:
    """Take a model file apart.

    Returns:
        The graph without the card, and the card's text; None where there is no card.
    """
    found = locate(data)
    if found is None:
        return data, None
    start, end, text = found
    return data[:start] + data[end:], text


def locate(data: bytes) -> tuple[int, int, bytes] | None:
    """Where the card lies in a model file: the first byte that is not the graph's, the next one that is, and
    the card's text; None where there is no card.
    """
    return _locate_tflite(data) if detect(data) == "tflite" else _locate_onnx(data)


def attachment(
    offset: int, card: bytes, labels: Sequence[str], kind: Format, thresholds: Sequence[float] = ()
) -> bytes:
    """The bytes to append to a graph of `offset` bytes so that the file holds the card.

    Args:
        offset: size of the graph.
        card: its text.
        labels: of the card; a TFLite file holds them a second time, for other programs.
        kind: of the file.
        thresholds: of the card, like the labels; none for no such file.
    """
    if kind == "onnx":
        return _tagged(METADATA_PROPS, _tagged(1, METADATA_KEY.encode()) + _tagged(2, card))
    files = {CARD_FILE: card, LABELS_FILE: "".join(f"{label}\n" for label in labels).encode()}
    if thresholds:
        files[CALIBRATION_FILE] = "\n".join(f"1,1,0,{threshold}" for threshold in thresholds).encode()
    entries, directory = b"", b""
    for name, content in files.items():
        about = (STORED, 0, ZIP_EPOCH, crc32(content), len(content), len(content), len(name))
        place = offset + len(entries)
        entries += ENTRY.pack(ENTRY_MARK, ZIP_VERSION, 0, 0, *about, 0) + name.encode() + content
        versions = (ZIP_VERSION, UNIX, ZIP_VERSION, 0, 0)
        directory += DIRECTORY_ENTRY.pack(DIRECTORY_MARK, *versions, *about, 0, 0, 0, 0, PERMISSIONS, place)
        directory += name.encode()
    count, place = len(files), offset + len(entries)
    return entries + directory + DIRECTORY_END.pack(END_MARK, 0, 0, count, count, len(directory), place, 0)


def _locate_tflite(data: bytes) -> tuple[int, int, bytes] | None:
    # A flatbuffer alone is no zip, and a file cut short has lost the directory at its end.
    end = data.rfind(END_MARK, max(0, len(data) - DIRECTORY_END.size - MOST_BEHIND))
    if end < 0:
        return None
    try:
        _, _, _, _, count, size, offset, _ = DIRECTORY_END.unpack_from(data, end)
        place = max(0, end - size)
        # Of what was cut out of the graph, or put into it, after the file was written.
        moved = place - offset
        starts, text = [], None
        for _ in range(count):
            mark, _, _, _, _, _, method, _, _, _, length, _, name, extra, comment, _, _, _, start = (
                DIRECTORY_ENTRY.unpack_from(data, place)
            )
            start += moved
            if mark != DIRECTORY_MARK or start < 0:
                return None
            starts.append(start)
            place += DIRECTORY_ENTRY.size
            # A card is written as it is; one that is compressed could be of any size.
            if data[place : place + name] == CARD_FILE.encode() and method == STORED:
                *_, own_name, own_extra = ENTRY.unpack_from(data, start)
                content = start + ENTRY.size + own_name + own_extra
                text = data[content : content + length]
            place += name + extra + comment
    except struct.error:
        return None
    return None if text is None else (min(starts), len(data), text)


def _locate_onnx(data: bytes) -> tuple[int, int, bytes] | None:
    for number, start, content, end in fields(data):
        if number != METADATA_PROPS:
            continue
        entry = {key: data[content:end][a:b] for key, _, a, b in fields(data[content:end])}
        if entry.get(1) == METADATA_KEY.encode():
            return start, end, entry.get(2, b"")
    return None


def fields(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a protobuf message: `(number, start, start of content, end)`.

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
    """A varint and the position after it; past the end of the data where it is cut short."""
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    return 0, len(data) + 1


def _tagged(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes."""
    return _encoded(number << 3 | BYTES) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
