"""Hypothesis strategies that change real files: a failure shrinks to the least change that fails."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from hypothesis import strategies as st

from falx.model import attachment
from falx.model.card import Format
from falx.words import LABELS

__all__ = ["card_texts", "compressed", "damaged", "model_files", "pictures"]

HEADER: Final = 256
"""Half of all changes fall into this many bytes from the start, where sizes and kinds stand."""

TELLING: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at the ends of their types, as sizes and offsets go wrong."""

Change = Callable[[bytearray], None]


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, others: Sequence[bytes] = ()) -> bytes:
    """A file after one to four changes: bits, numbers, pieces lost, doubled or of another file."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        _change(draw, data, others)
    return bytes(data)


def _change(draw: st.DrawFn, data: bytearray, others: Sequence[bytes]) -> None:
    end = len(data) - 1
    at = draw(st.integers(0, min(HEADER, end)) | st.integers(0, end))
    kind = draw(st.integers(0, 8 if others else 7))
    if kind <= 1:
        data[at] ^= 1 << draw(st.integers(0, 7))
    elif kind == 2:
        data[at] = draw(st.integers(0, 255))
    elif kind in (3, 4):
        form = draw(st.sampled_from(["<H", ">H", "<I", ">I"]))
        limit = 256 ** struct.calcsize(form) - 1
        number = draw(st.sampled_from(TELLING) | st.integers(0, 20_000)) & limit
        data[at : at + struct.calcsize(form)] = struct.pack(form, number)
    elif kind == 5:
        del data[at : at + draw(st.integers(1, 64))]
    elif kind == 6:
        piece = data[at : at + draw(st.integers(1, 64))]
        data[at:at] = piece * draw(st.integers(1, 4))
    elif kind == 7:
        del data[at:]
    else:
        other = draw(st.sampled_from(others))
        start = draw(st.integers(0, max(0, len(other) - 1)))
        data[at:] = other[start : start + draw(st.integers(1, 4096))]


@st.composite
def compressed(draw: st.DrawFn, whole: bytes) -> bytes:
    """A changed file in gzip: mostly before it is compressed, or little but its checksum would be tried."""
    if draw(st.integers(0, 3)):
        return gzip.compress(draw(damaged(gzip.decompress(whole))), 1, mtime=0)
    return draw(damaged(whole))


@st.composite
def pictures(draw: st.DrawFn, whole: bytes, others: Sequence[bytes]) -> bytes:
    """A changed picture. A PNG mostly gets the checksums that go with it, or nothing behind them is tried."""
    if whole.startswith(PNG) and draw(st.integers(0, 3)):
        if draw(st.booleans()):
            return _checked(draw(damaged(whole)))
        return draw(_repacked(whole))
    return draw(damaged(whole, others))


PNG: Final = b"\x89PNG\r\n\x1a\n"


def _checked(data: bytes) -> bytes:
    """A PNG with right checksums, as far as its chunks can be told apart."""
    out, at = bytearray(data), len(PNG)
    while at + 12 <= len(out):
        length = int.from_bytes(out[at : at + 4], "big")
        if at + 12 + length > len(out):
            break
        out[at + 8 + length : at + 12 + length] = struct.pack(">I", zlib.crc32(out[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(out)


@st.composite
def _repacked(draw: st.DrawFn, whole: bytes) -> bytes:
    """A PNG whose rows were changed before they were compressed, or whose header says something else."""
    start = whole.index(b"IDAT") - 4
    length = int.from_bytes(whole[start : start + 4], "big")
    rows = draw(damaged(zlib.decompress(whole[start + 8 : start + 8 + length])))
    body = zlib.compress(rows, 1)
    data = bytearray(whole[:start] + struct.pack(">I", len(body)) + b"IDAT" + body)
    data += b"\0\0\0\0" + whole[start + 8 + length :]
    if draw(st.booleans()):
        field = draw(st.integers(16, 28))
        data[field] = draw(st.integers(0, 255))
    return _checked(bytes(data))


def _odd() -> st.SearchStrategy[Any]:
    """JSON values that a card does not expect."""
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just(10**400)
    plain = st.none() | st.booleans() | numbers | st.text(max_size=8) | st.sampled_from(LABELS)
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=4,
    )


ODD: Final = _odd()


@st.composite
def card_texts(draw: st.DrawFn, whole: str) -> bytes:
    """A card with fields replaced, removed and added, mostly with the checksum that goes with it."""
    document = json.loads(whole)
    del document["card_sha256"]
    for _ in range(draw(st.integers(0, 3))):
        _change_field(draw, document)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sealed = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    document["card_sha256"] = sealed if draw(st.integers(0, 5)) else draw(ODD)
    data = json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 7)) == 0:
        depth = draw(st.integers(1, 3000))
        data = data.replace(b'"accuracy": 0.5', b'"accuracy": ' + b"[" * depth + b"]" * depth)
    return data if draw(st.integers(0, 3)) else draw(damaged(data))


def _change_field(draw: st.DrawFn, document: dict[str, Any]) -> None:
    place: Any = document
    key: Any = draw(st.sampled_from(sorted(document)))
    while isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
        place = place[key]
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(keys))
    kind = draw(st.integers(0, 4))
    if kind == 0:
        del place[key]
    elif kind == 1 and isinstance(place, dict):
        place[draw(st.text(max_size=4))] = draw(ODD)
    else:
        place[key] = draw(ODD)
    # What was removed may have been the last field there was to choose from.
    document.setdefault("schema", 2)


@st.composite
def model_files(draw: st.DrawFn, kind: Format, graph: bytes, whole: bytes, text: str) -> bytes:
    """A changed model file: its bytes, or its card, or how the card lies in it.

    The graph under a card is changed only where the checksum of the weights notices: who computes that
    anew has written another model, and what it does is the engine's affair.
    """
    way = draw(st.integers(0, 5))
    if way <= 2:
        return draw(damaged(whole))
    changed = draw(card_texts(text))
    if way <= 4 or kind == "onnx":
        return graph + attachment.attachment(len(graph), changed, LABELS, kind)
    return draw(_zipped(graph, changed))


@st.composite
def _zipped(draw: st.DrawFn, graph: bytes, text: bytes) -> bytes:
    """A card in a zip that Falx would not have written: compressed, twice, beside others."""
    methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    buffer = io.BytesIO(graph)
    buffer.seek(0, io.SEEK_END)
    names = draw(st.lists(st.sampled_from(["falx.json", "labels.txt", "a/b"]), max_size=3, unique=True))
    with zipfile.ZipFile(buffer, "a", draw(st.sampled_from(methods))) as archive:
        for name in names:
            archive.writestr(name, text)
        archive.comment = draw(st.binary(max_size=8))
    data = buffer.getvalue()
    return data if draw(st.booleans()) else graph + draw(damaged(data[len(graph) :]))
