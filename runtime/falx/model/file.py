"""A model file: a graph with its card behind it, written as one and proved as one."""

from __future__ import annotations

import hashlib
import re
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from falx.errors import CardError, ChecksumError, ModelError, ModelNotFound
from falx.model import attachment
from falx.model.card import Card, Format

DEFAULT_MODEL: Final = Path(__file__).parents[1] / "default.tflite"
"""The model in the wheel."""

MAXIMUM_BYTES: Final = 64 << 20
"""The largest model file: six times what Falx exports at most. It is held five times while it is proved."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file that was read and proved; checksum and data are of the whole file."""

    path: Path
    format: Format
    card: Card
    sha256: str
    data: bytes = field(repr=False)


def load(path: Path) -> ModelFile:
    """Reads a model file that Falx can run, and proves that every byte is as it was written."""
    data = load_bytes(path)
    card, checksum = prove(data, name=str(path))
    if card.self_contained:
        raise ModelError(
            f"{path}: is self-contained: its graph prepares and decides by itself, for programs "
            "without Falx; give Falx a file exported without --self-contained"
        )
    kind = attachment.detect(data)
    assert kind is not None  # noqa: S101 - our own invariant: `prove` refuses anything else
    if path.suffix.lower() != f".{kind}":
        raise ModelError(f"{path}: holds a {kind} model, so its name must end in .{kind}; rename it")
    return ModelFile(path, kind, card, checksum, data)


def embed(payload: bytes, card: Card, *, format: Format) -> bytes:  # noqa: A002 - the caller's word
    """Returns a model file: a graph with its card, whose checksum is filled in here.

    It is byte for byte the same for the same arguments.
    """
    if attachment.detect(payload) != format:
        raise ModelError(f"expected a graph in {format} format to embed the card in, got other bytes")
    if attachment.split(payload)[1] is not None:
        raise ModelError("the graph has a card already; embed into the graph without it")
    sealed = replace(card, weights_sha256=hashlib.sha256(payload).hexdigest())
    return payload + _attachment(len(payload), sealed, format)


def _attachment(offset: int, card: Card, kind: Format) -> bytes:
    thresholds = [card.thresholds[label] for label in card.labels]
    return attachment.attachment(offset, card.to_json().encode(), card.labels, kind, thresholds)


def extract(data: bytes, *, name: str = "model") -> tuple[Card, bytes]:
    """Returns the card of a model file and its graph; proves that every byte is as it was written.

    Raises ModelError, with the name, where it is not; a subclass says why.
    """
    card, _ = prove(data, name=name)
    return card, attachment.split(data)[0]


def prove(data: bytes, *, name: str = "model") -> tuple[Card, str]:
    """Proves a model file as `extract` does; returns its card and SHA-256, and copies no graph."""
    kind = attachment.detect(data)
    if kind is None:
        raise ModelError(f"{name}: expected a TFLite or ONNX model, got {_described(data)}")
    found = attachment.locate(data)
    if found is None:
        raise CardError(
            f"{name}: has no card of Falx: the file is incomplete or damaged, or was not written by "
            "`python -m falx_export`; get it again, or export the model with it"
        )
    start, end, text = found
    try:
        card = Card.from_json(text)
    except ModelError as error:
        raise type(error)(f"{name}: {error}") from error
    # Both sums begin alike: most of the file is read once.
    view = memoryview(data)
    whole = hashlib.sha256(view[:start])
    weights = whole.copy()
    weights.update(view[end:])
    whole.update(view[start:])
    checksum = weights.hexdigest()
    if checksum != card.weights_sha256:
        raise ChecksumError(
            f"{name}: the card belongs to weights with SHA-256 {card.weights_sha256[:16]}..., the file's "
            f"have {checksum[:16]}...; it is damaged or was edited: get it again, or export the model again"
        )
    if data[start:end] != _attachment(start, card, kind):
        raise ChecksumError(
            f"{name}: bytes around the card were changed after the file was written; get it again"
        )
    return card, whole.hexdigest()


def read(path: str | Path) -> tuple[Card, bytes]:
    """Reads a model file: `extract` on its bytes."""
    return extract(load_bytes(Path(path)), name=str(path))


def load_bytes(path: Path) -> bytes:
    """Returns the bytes of a model file; raises ModelError where it cannot be one."""
    try:
        if path == DEFAULT_MODEL:
            return _own_model()
        # Before it is read: a pipe waits for a writer, a device may never end.
        _check_file(path)
        return path.read_bytes()
    except ModelError:
        raise
    except FileNotFoundError as error:
        raise ModelNotFound(_missing(path)) from error
    # ValueError: a path with a null byte.
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot read the model file: {error}") from error


def _own_model() -> bytes:
    """Returns the model in the wheel, through Python's loader: the package may lie in a zip file."""
    try:
        data: bytes = globals()["__loader__"].get_data(str(DEFAULT_MODEL))
    except OSError as error:
        raise FileNotFoundError(str(error)) from error
    return data


def _missing(path: Path) -> str:
    """Returns a message on why there is no model file at a path, and what to give instead."""
    if path == DEFAULT_MODEL:
        return f"{path}: this installation has no model of its own; install the wheel, or give a model file"
    # A path keeps one slash of two.
    if address := re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]+):/(.*)", path.as_posix()):
        return f"{address[1]}://{address[2]}: is an address, and Falx downloads nothing; give a file"
    if not path.parent.exists():
        return f"{path}: no such model file: there is no folder {path.parent}"
    return f"{path}: no such model file; give the path of a .tflite or .onnx file"


def _check_file(path: Path) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ModelError(f"{path}: expected a model file, got a folder; give the .tflite or .onnx file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path}: expected a model file, got a pipe or a device")
    if path.suffix in (".keras", ".h5"):
        raise ModelError(
            f"{path}: is a model of Keras, which Falx does not run; export it first: python -m falx_export"
        )
    if status.st_size > MAXIMUM_BYTES:
        raise ModelError(
            f"{path}: expected a model file of at most {MAXIMUM_BYTES} bytes, this one has {status.st_size}"
        )


def _described(data: bytes) -> str:
    if not data:
        return "an empty file"
    start = data[:64]
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return f"text that starts with {start[:24].decode('ascii')!r}"
    return f"another kind of file, which starts with {start[:8].hex(' ')}"
