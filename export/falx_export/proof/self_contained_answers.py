"""Asks files for programs without Falx for slices, and brings their answers into Keras's shape.

A self-contained ONNX file takes pictures, and rejects some for their pixels; its heatmap lies on the picture,
so it is not compared. The TFLite files take what is prepared. The one for MediaPipe answers with
probabilities alone, and leaves the decision to its reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from falx import engines
from falx.errors import ModelError
from falx.model.card import Card, Format
from falx.model.tensor_spec import OUTPUTS
from falx.reading.source import FORMATS, read
from falx.slices.rejection import check
from falx.slices.slice import Slice
from falx.words import DECISIONS
from falx_export.proof import parity
from falx_export.proof.samples import PreparedSlice
from falx_export.self_contained import onnx_file, tflite_file
from falx_runs.errors import DataError

ENGINES: Final[dict[Format, str]] = {"onnx": "onnx", "tflite": "litert"}
"""The engine that runs such a file here, by its format."""


@dataclass(frozen=True, slots=True)
class SelfContainedAnswers:
    """The answers of such a file for slices.

    Attributes:
        outputs: those that can be compared with Keras's, `(N, ...)`.
        decisions: the file's own; None where it makes none.
        contradictions: for each slice, where that is another decision than Falx makes of the same
            probabilities, in words; empty where it is the same.
        refused: whether Falx rejects the picture for its pixels, before the model; `(N,)`.
        silent: whether the file rejects it and gives no probabilities; `(N,)`.
    """

    outputs: dict[str, npt.NDArray[np.float32]]
    decisions: list[str] | None
    contradictions: list[str]
    refused: list[bool]
    silent: list[bool]


def engine_for(file: object, asked: str | None, kind: Format) -> str:
    """Returns the name of the engine that runs such a file.

    Raises:
        ModelError: another engine is asked for.
    """
    name = ENGINES[kind]
    if asked not in (None, name):
        raise ModelError(
            f"{file}: is self-contained, and only {name} runs it here, not {asked}; leave out --engine"
        )
    return engines.choose(name, kind)


def starter(
    payload: bytes, card: Card, kind: Format
) -> Callable[[Sequence[PreparedSlice]], SelfContainedAnswers]:
    """Returns a function that answers for slices by the graph of a file that needs no Falx."""
    if kind == "tflite":
        return lambda chunk: _from_tensors(payload, card, chunk)
    run = onnx_file.started(payload)
    return lambda chunk: _from_pictures(run, card, chunk)


def _from_tensors(payload: bytes, card: Card, chunk: Sequence[PreparedSlice]) -> SelfContainedAnswers:
    tensors = np.stack([item.tensor for item in chunk])
    got = tflite_file.answers(payload, tensors)
    decides = "decision" in got
    none = [False] * len(chunk)
    return SelfContainedAnswers(
        outputs={name: got[name] for name in OUTPUTS if name in got},
        decisions=[DECISIONS[index] for index in got["decision"].tolist()] if decides else None,
        contradictions=tflite_file.contradictions(got, card) if decides else [""] * len(chunk),
        refused=none,
        silent=none,
    )


def _from_pictures(
    run: Callable[[npt.NDArray[np.uint8]], onnx_file.Outputs], card: Card, chunk: Sequence[PreparedSlice]
) -> SelfContainedAnswers:
    got: list[onnx_file.Outputs] = []
    contradictions, refused = [], []
    for item in chunk:
        picture = read(item.record.path)
        answer = run(_pixels(item, picture))
        got.append(answer)
        contradictions.append(onnx_file.contradiction(answer, picture, card))
        refused.append(check(picture, card.rejection) is not None)
    outputs = {"probabilities": np.stack([answer["probabilities"] for answer in got])}
    for name in parity.SHOWN:
        if name in card.outputs:
            outputs[name] = np.stack([answer[name].reshape(1) for answer in got])
    return SelfContainedAnswers(
        outputs=outputs,
        decisions=[DECISIONS[int(answer["decision"])] for answer in got],
        contradictions=contradictions,
        refused=refused,
        silent=[bool(answer["rejected"]) for answer in got],
    )


def _pixels(item: PreparedSlice, picture: Slice) -> npt.NDArray[np.uint8]:
    """Decodes a picture: `(H, W, 1)`, or where it has colours `(H, W, 3)`, alpha on black."""
    if not picture.colour:
        return picture.pixels[:, :, np.newaxis]
    try:
        with Image.open(item.record.path, formats=FORMATS) as file:
            image = ImageOps.exif_transpose(file)
            if image.has_transparency_data:
                black = Image.new("RGBA", image.size, (0, 0, 0, 255))
                image = Image.alpha_composite(black, image.convert("RGBA"))
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's plugins raise anything on damaged files
        raise DataError(f"{item.record.path}: its colours cannot be read: {error}; leave it out") from error
