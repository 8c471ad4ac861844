"""Each input is tried, and must end in an answer or in an error that is documented."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

from hypothesis import strategies as st
from tests.fuzz import mutations, seeds

import falx
from falx import phantom
from falx.errors import CardError, ChecksumError, ModelError, UnreadableImage
from falx.model import card as cards
from falx.model import file as model_file
from falx.reading.files import expand
from falx.words import DECISIONS, LABELS, REJECTED

__all__ = ["TARGETS", "Target"]

Try = Callable[[bytes], str]


@dataclass(frozen=True)
class Target:
    """One part of Falx that takes bytes from outside.

    Attributes:
        share: how many of a hundred inputs it gets.
        inputs: from the name of a seed to the strategy of its mutations.
        seeds: names of what is mutated.
        attempt: tries one input in a folder; returns what came of it, and raises what must not.
    """

    share: int
    inputs: Callable[[str], st.SearchStrategy[bytes]]
    seeds: Callable[[], list[str]]
    attempt: Callable[[bytes, str, Path], str]


def check(result: falx.Prediction) -> None:
    """A prediction is what its documentation says."""
    assert result.decision in DECISIONS
    assert (result.reason is not None) == (result.decision == REJECTED) == (result.probabilities is None)
    if result.probabilities is not None:
        assert list(result.probabilities) == list(LABELS)
        assert abs(sum(result.probabilities.values()) - 1) < 0.01
    json.dumps(result.to_dict(), allow_nan=False)


@cache
def _pictures() -> dict[str, bytes]:
    return seeds.images()


@cache
def _classifier(folder: Path) -> falx.Classifier:
    kind, graph = next(iter(seeds.models().values()))
    path = folder / f"whole.{kind}"
    path.write_bytes(model_file.embed(graph, seeds.card(), format=kind))
    return falx.load(path)


def _picture(data: bytes, seed: str, folder: Path) -> str:
    try:
        result = _classifier(folder).predict(data)
    except UnreadableImage as error:
        return _nameless(str(error), type(error).__name__)
    check(result)
    outcome = REJECTED if result.decision == REJECTED else "prediction"
    return _nameless(json.dumps(result.to_dict()), outcome)


def _nameless(said: str, outcome: str) -> str:
    """Returns an outcome, if nothing of the patient of drawn DICOM files stands in what was said."""
    assert "Mustermann" not in said
    return outcome


@cache
def _several() -> dict[str, bytes]:
    return seeds.several()


def _file(data: bytes, seed: str, folder: Path) -> str:
    """By its path, as the command line takes it: the first slices of a file of several."""
    path = folder / f"input.{seed.partition(' ')[0]}"
    path.write_bytes(data)
    outcome = ""
    for result in _classifier(folder).predict_many(islice(expand([str(path)]), FEW)):
        if isinstance(result, falx.Failure):
            assert isinstance(result.error, UnreadableImage)
            json.dumps(result.to_dict(), allow_nan=False)
            return type(result.error).__name__
        check(result)
        outcome = REJECTED if result.decision == REJECTED else "prediction"
    assert outcome, "a file was answered by nothing"
    return outcome


def _text(data: bytes, seed: str, folder: Path) -> str:
    try:
        card = cards.Card.from_json(data)
    except (CardError, ChecksumError) as error:
        return _said(error)
    assert cards.Card.from_json(card.to_json()) == card
    return "card"


FEW: Final = 2
"""Slices of a file of several that are answered: the next are read in the same way."""

MESSAGE: Final = 2000
"""Characters of the longest message: it names the field, and does not repeat the card."""


def _said(error: ModelError) -> str:
    """The kind of an error, whose message is one line of a size that can be read."""
    message = str(error)
    if not message or "\n" in message or len(message) > MESSAGE:
        raise AssertionError(f"this is no message: {message[:MESSAGE]!r}")
    return type(error).__name__


@cache
def _whole(seed: str) -> tuple[bytes, str]:
    kind, graph = seeds.models()[seed]
    card = seeds.card()
    whole = model_file.embed(graph, card, format=kind)
    return whole, model_file.extract(whole)[0].to_json()


def _model_inputs(seed: str) -> st.SearchStrategy[bytes]:
    kind, graph = seeds.models()[seed]
    whole, text = _whole(seed)
    return mutations.model_files(kind, graph, whole, text)


def _model(data: bytes, seed: str, folder: Path) -> str:
    path = folder / seed
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", falx.FalxWarning)
            loaded = falx.load(path)
    except ModelError as error:
        return _said(error)
    check(loaded.predict(phantom.lesion()))
    return "loaded"


TARGETS: Final = {
    "picture": Target(
        70,
        lambda seed: mutations.pictures(_pictures()[seed], list(_pictures().values())),
        lambda: list(_pictures()),
        _picture,
    ),
    "file of several": Target(
        10,
        lambda seed: (
            mutations.compressed(_several()[seed])
            if seed.startswith("nii.gz")
            else mutations.damaged(_several()[seed], list(_several().values()))
        ),
        lambda: list(_several()),
        _file,
    ),
    "card": Target(10, lambda _: mutations.card_texts(_whole("tiny.tflite")[1]), lambda: ["tiny"], _text),
    "model": Target(10, _model_inputs, lambda: list(seeds.models()), _model),
}
