"""TFLite files for programs without Falx: they decide as the runtime does, and can be set anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from falx.decision import Thresholds, decide
from falx.model import file as model_file
from falx.slices.rejection import check_familiarity
from falx.words import DECISIONS, LABELS, REJECTED
from falx_export.convert import flatbuffer
from falx_export.errors import ConversionError, ParityError
from falx_export.self_contained import tflite_file as own
from falx_export.self_contained.onnx_decision import THRESHOLDS

Pixels = npt.NDArray[np.integer[Any]]


def images(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Images whose first pixels are these, `(N, 5)`: four probabilities and familiarity, times 256."""
    made = np.zeros((len(pixels), 224, 224, 1), np.uint8)
    made[:, 0, :5, 0] = pixels
    return made


def expected(card: Any, pixels: Pixels) -> list[str]:
    """Returns what the runtime decides."""
    values = pixels.astype(np.float32) / np.float32(256)
    return [
        REJECTED if check_familiarity(row[4], card.rejection) else decide(row[:4], card.thresholds)
        for row in values.tolist()
    ]


@pytest.fixture(scope="module")
def pixels(pixel_card: Any) -> Pixels:
    """All there is around the thresholds, and what chance brings."""
    edges = [round(pixel_card.thresholds[label] * 256) for label in LABELS]
    edges.append(round(pixel_card.rejection.least_familiarity * 256))
    random = np.random.default_rng(3)
    around = np.array(edges) + random.integers(-1, 2, (200, 5))
    return np.concatenate([around, random.integers(0, 256, (200, 5)), np.full((1, 5), 128)])


def run(payload: bytes, pixels: Pixels) -> dict[str, Any]:
    return own.answers(payload, images(pixels))


def test_it_decides_as_the_runtime_does(pixel_model: bytes, pixel_card: Any, pixels: Pixels) -> None:
    answer = run(own.with_decision(pixel_model, pixel_card), pixels)
    wanted = expected(pixel_card, pixels)
    assert [DECISIONS[index] for index in answer["decision"]] == wanted
    assert {name for name in DECISIONS if wanted.count(name) < 5} == set()
    values = pixels[:, :4].astype(np.float32) / np.float32(256)
    confidence = [
        row[DECISIONS.index(name)] if name in LABELS else 0.0
        for row, name in zip(values, wanted, strict=True)
    ]
    np.testing.assert_array_equal(answer["confidence"], np.array(confidence, np.float32))
    np.testing.assert_array_equal(answer["probabilities"], values)
    assert answer["heatmap"].shape == (len(pixels), 14, 14)


def thresholds_of(document: Any) -> Any:
    """The tensor that holds them, the only one of its name."""
    name = THRESHOLDS.encode()
    (tensor,) = (tensor for tensor in document.subgraphs[0].tensors if tensor.name == name)
    return tensor


@pytest.mark.parametrize("values", [(0.5, 0.5, 0.5, 0.5), (1.0, 0.001, 1.0, 0.3)], ids=["equal", "far"])
def test_thresholds_are_one_constant_that_can_be_set_anew(
    pixel_model: bytes, pixel_card: Any, pixels: Pixels, values: tuple[float, float, float, float]
) -> None:
    # As `falx retarget` does: four floats in their place, and no byte more.
    payload = own.with_decision(pixel_model, pixel_card)
    document = flatbuffer.parsed(payload)
    tensor = thresholds_of(document)
    assert (tensor.type, list(tensor.shape)) == (0, [4])
    assert sum(other.buffer == tensor.buffer for other in document.subgraphs[0].tensors) == 1
    old = bytes(document.buffers[tensor.buffer].data)
    assert payload.count(old) == 1
    changed = replace(pixel_card, thresholds=Thresholds(*values))
    new = np.array(values, np.float32)
    new = np.where(new < np.array(values), np.nextafter(new, np.float32(2)), new)
    patched = payload.replace(old, new.astype(np.float32).tobytes())
    assert patched == own.with_decision(pixel_model, changed)
    decided = [DECISIONS[index] for index in run(patched, pixels)["decision"]]
    assert decided == expected(changed, pixels)
    assert decided != expected(pixel_card, pixels)


def test_a_threshold_is_rounded_up_to_what_a_probability_can_be(pixel_model: bytes, pixel_card: Any) -> None:
    document = flatbuffer.parsed(own.with_decision(pixel_model, pixel_card))
    stored = np.frombuffer(bytes(document.buffers[thresholds_of(document).buffer].data), np.float32)
    exact = np.array([pixel_card.thresholds[label] for label in LABELS])
    # float32(0.7) is below 0.7: a probability of that is not enough for the runtime.
    assert float(np.float32(0.7)) < 0.7
    assert (stored >= exact).all()
    assert (np.nextafter(stored, np.float32(0)) < exact).all()


def test_a_model_without_familiarity_rejects_nothing(pixel_model: bytes, pixel_card: Any) -> None:
    known = {name: pixel_card.outputs[name] for name in ("probabilities", "heatmap")}
    document = flatbuffer.parsed(own.with_decision(pixel_model, replace(pixel_card, outputs=known)))
    assert own.FAMILIARITY_LIMIT.encode() not in [t.name for t in document.subgraphs[0].tensors]
    outputs = flatbuffer.named(document, document.subgraphs[0].outputs)
    assert list(outputs) == ["decision", "confidence", "probabilities", "heatmap"]
    answer = run(flatbuffer.packed(document), np.array([[255, 0, 0, 0, 0]]))
    assert answer["decision"].tolist() == [0]


def test_the_file_says_what_it_is(pixel_model: bytes, pixel_card: Any) -> None:
    data = own.sealed(pixel_model, pixel_card)
    assert data == own.sealed(pixel_model, pixel_card)
    card, payload = model_file.extract(data)
    assert card.self_contained
    assert [(spec.name, spec.dtype, spec.shape) for spec in card.outputs.values()] == [
        ("decision", "int32", (1,)),
        ("confidence", "float32", (1,)),
        ("probabilities", "float32", (1, 4)),
        ("heatmap", "float32", (1, 14, 14)),
        ("familiarity", "float32", (1, 1)),
    ]
    document = flatbuffer.parsed(payload)
    graph = document.subgraphs[0]
    assert list(flatbuffer.named(document, graph.outputs)) == list(card.outputs)
    for index, spec in zip(graph.outputs, card.outputs.values(), strict=True):
        assert tuple(graph.tensors[int(index)].shape) == spec.shape


def test_the_file_that_bare_engines_are_tried_with_is_what_is_made_now(
    pixel_model: bytes, pixel_card: Any
) -> None:
    file = Path(__file__).parents[2] / "engines" / "self-contained.tflite"
    card, payload = model_file.read(file)
    now, made = model_file.extract(own.sealed(pixel_model, pixel_card))
    assert replace(card, weights_sha256="") == replace(now, weights_sha256="")

    def operations(data: bytes) -> list[tuple[str, int]]:
        document = flatbuffer.parsed(data)
        versions = [code.version for code in document.operatorCodes]
        used = [versions[operator.opcodeIndex] for operator in document.subgraphs[0].operators]
        return list(zip(flatbuffer.kinds(document), used, strict=True))

    assert operations(payload) == operations(made), f"make {file} again, and try the oldest engine with it"


def test_for_mediapipe_it_takes_colour_and_answers_with_probabilities_alone(
    pixel_model: bytes, pixel_card: Any, pixels: Pixels
) -> None:
    card, payload = model_file.extract(own.sealed_for_mediapipe(pixel_model, pixel_card))
    assert (card.input.shape, list(card.outputs)) == ((1, 224, 224, 3), ["probabilities"])
    answer = run(payload, pixels)
    assert list(answer) == ["probabilities"]
    np.testing.assert_array_equal(answer["probabilities"], pixels[:, :4].astype(np.float32) / np.float32(256))


def test_a_file_that_answers_something_else_is_refused(
    pixel_model: bytes, pixel_card: Any, pixels: Pixels
) -> None:
    slices, data = images(pixels), own.sealed(pixel_model, pixel_card)
    plain = own.answers(pixel_model, slices)
    own.prove("own", data, slices, plain)
    own.prove("own", own.sealed_for_mediapipe(pixel_model, pixel_card), slices, plain)
    other = plain | {"heatmap": plain["heatmap"] + np.float32(0.01)}
    with pytest.raises(
        ParityError, match=r"own: heatmap is 0\.01 from that of the graph it is made of, 1e-05"
    ):
        own.prove("own", data, slices, other)
    # The graph of one setting with the card of another.
    changed = replace(pixel_card, thresholds=Thresholds(0.9, 0.7, 154 / 256, 102 / 256))
    own_card, _ = model_file.extract(own.sealed(pixel_model, changed))
    data = model_file.embed(own.with_decision(pixel_model, pixel_card), own_card, format="tflite")
    wrong = np.mean(
        [a != b for a, b in zip(expected(pixel_card, pixels), expected(changed, pixels), strict=True)]
    )
    assert wrong > 0.1
    message = f"own: decides {round(wrong * len(pixels))} of {len(pixels)} slices otherwise than Falx"
    with pytest.raises(ParityError, match=message):
        own.prove("own", data, slices, plain)


def test_a_graph_of_other_outputs_is_refused(pixel_model: bytes, pixel_card: Any) -> None:
    document = flatbuffer.parsed(pixel_model)
    document.subgraphs[0].outputs = document.subgraphs[0].outputs[1:]
    with pytest.raises(ConversionError, match="cannot join TFLite graphs"):
        own.with_decision(flatbuffer.packed(document), pixel_card)
