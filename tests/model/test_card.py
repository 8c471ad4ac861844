from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny
from tests.cards import CARD
from tests.tiny import ModelOf

from falx.decision import Thresholds
from falx.errors import CardError, ChecksumError, ModelError, ModelNotFound
from falx.model import attachment
from falx.model import card as cards
from falx.model import file as model_file
from falx.model.card import Card, Format, SelfTest, Setting, TensorSpec
from falx.slices.limits import Limits
from falx.slices.preprocessing import NAME, SIZE
from falx.words import LABELS

KINDS: list[Format] = ["tflite", "onnx"]


def sealed(document: dict[str, Any]) -> str:
    """A card's JSON with the checksum its content has: what a careful forger would write."""
    body = {key: value for key, value in document.items() if key != "card_sha256"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return json.dumps({**body, "card_sha256": hashlib.sha256(canonical.encode()).hexdigest()})


def output(name: str, *shape: int, dtype: str = "float32") -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def thresholds(no_tumor: float) -> dict[str, Any]:
    return {"thresholds": {"no_tumor": no_tumor, "meningioma": 1, "glioma": 1, "pituitary": 1}}


WRONG_REJECTION = "rejection is not what it must be: "


PROBABILITIES = {"probabilities": output("probabilities", 1, 4)}


def test_a_card_survives_its_json() -> None:
    full = replace(
        CARD,
        self_test=(SelfTest("clear", (0.1, 0.2, 0.3, 0.4)),),
        history=(Setting(Thresholds(0.9, 0.8, 0.7, 0.6)), Setting(Thresholds(0.5, 0.5, 0.5, 0.5))),
        rejection=Limits(least_familiarity=0.5),
        weights_sha256="0" * 64,
    )
    assert json.loads(full.to_json())["history"][1] == {"thresholds": dict.fromkeys(LABELS, 0.5)}
    assert Card.from_json(full.to_json()) == full
    assert Card.from_json(full.to_json()).to_json() == full.to_json()


def test_the_preprocessing_is_that_of_the_runtime() -> None:
    assert cards.PREPROCESSING == {"name": NAME, "height": SIZE, "width": SIZE}
    assert CARD.input.shape == (1, SIZE, SIZE, 1)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    return found


@pytest.fixture
def data(kind: Format) -> bytes:
    """A model file of each format."""
    return model_file.embed(tiny.graph(kind), CARD, format=kind)


def test_embedding_and_extracting(kind: Format, data: bytes) -> None:
    assert data == model_file.embed(tiny.graph(kind), CARD, format=kind)
    read, payload = model_file.extract(data)
    assert payload == tiny.graph(kind)
    assert read == replace(CARD, weights_sha256=hashlib.sha256(payload).hexdigest())
    # The checksum of the file comes with the proof.
    assert model_file.prove(data) == (read, hashlib.sha256(data).hexdigest())


def test_tflite_holds_the_files_of_the_metadata_standard() -> None:
    data = model_file.embed(tiny.graph("tflite"), CARD, format="tflite")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["falx.json", "labels.txt", "score_calibration.txt"]
        assert archive.read("score_calibration.txt") == b"1,1,0,0.85\n1,1,0,0.6\n1,1,0,0.55\n1,1,0,0.55"
        assert archive.read("labels.txt") == b"no_tumor\nmeningioma\nglioma\npituitary\n"
        assert json.loads(archive.read("falx.json"))["name"] == "tiny"
        # Offsets from the start of the whole file, which readers without Python's leniency need.
        assert archive.infolist()[0].header_offset == len(tiny.graph("tflite"))


def test_the_zip_is_the_same_for_ever() -> None:
    # Who reads a card makes the zip anew and compares: a Python that wrote another would refuse every file.
    made = attachment.attachment(100, b'{"card": 1}', ["a", "b"], "tflite", [0.5, 0.25])
    assert hashlib.sha256(made).hexdigest() == (
        "ef3aeb78961805e61a063da8c51cfaa515a9751e8ca08cd8f86a5ebb4fbd5cb7"
    )


def test_checksums_without_the_modules_that_python_may_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    data = model_file.embed(tiny.graph("tflite"), CARD, format="tflite")
    proved = model_file.prove(data)
    for module in ("_sha2", "_sha256"):
        monkeypatch.setitem(sys.modules, module, None)
    assert model_file.prove(data) == proved
    assert proved[1] == hashlib.sha256(data).hexdigest()


def test_a_field_behind_the_card_belongs_to_the_graph() -> None:
    # producer_name, which protobuf may write anywhere.
    field = b"\x12\x05other"
    sealed = model_file.embed(tiny.graph("onnx") + field, CARD, format="onnx")
    start, end, _ = attachment.locate(sealed) or (0, 0, b"")
    moved = sealed[: start - len(field)] + sealed[start:end] + field
    assert model_file.extract(moved) == model_file.extract(sealed)
    assert model_file.prove(moved)[1] == hashlib.sha256(moved).hexdigest()


def test_onnx_reads_the_card_as_metadata() -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model = onnx.load_model_from_string(model_file.embed(tiny.graph("onnx"), CARD, format="onnx"))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["falx"])["labels"] == list(CARD.labels)
    onnx.checker.check_model(model)


def test_one_flipped_bit_anywhere_is_refused(data: bytes) -> None:
    flips = np.random.default_rng(11).choice(8 * len(data), 300, replace=False)
    for flip in flips.tolist():
        damaged = bytearray(data)
        damaged[flip // 8] ^= 1 << flip % 8
        with pytest.raises(ModelError):
            model_file.extract(bytes(damaged))


def test_truncated_anywhere_and_bytes_after_the_end_are_refused(data: bytes) -> None:
    tails = (b"\0", b"\n", b"more", data)
    for changed in (*(data[:n] for n in range(0, len(data), 13)), *(data + tail for tail in tails)):
        with pytest.raises(ModelError):
            model_file.extract(changed)


@given(st.binary(max_size=400))
def test_any_bytes_give_the_documented_error(data: bytes) -> None:
    for start in (b"", b"\x1c\0\0\0TFL3", b"\x08\x08"):
        with pytest.raises(ModelError):
            model_file.extract(start + data)


def zipped(payload: bytes, content: bytes, method: int = zipfile.ZIP_STORED, offset: int = 0) -> bytes:
    """A graph with a card behind it in a zip that Falx would not have written."""
    buffer = io.BytesIO()
    buffer.write(payload)
    with zipfile.ZipFile(buffer, "a", method) as archive:
        archive.writestr("falx.json", content)
        archive.filelist[0].header_offset += offset
    return buffer.getvalue()


def test_a_compressed_card_is_not_unpacked() -> None:
    bomb = zipped(tiny.graph("tflite"), b" " * (64 << 20), zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        with pytest.raises(CardError, match="model: has no card of Falx"):
            model_file.extract(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("offset", [2**63 + 5, 2**40])
def test_a_zip_that_says_it_lies_elsewhere_holds_no_card(offset: int) -> None:
    with pytest.raises(CardError, match="model: has no card of Falx"):
        model_file.extract(zipped(tiny.graph("tflite"), b"{}", offset=offset))


def test_a_file_too_large_for_a_model_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.tflite"
    with path.open("wb") as file:
        file.truncate(model_file.MAXIMUM_BYTES + 1)
    with pytest.raises(ModelError, match=r"at most 67108864 bytes, this one has 67108865"):
        model_file.read(path)


def test_a_pipe_or_a_device_is_no_model(tmp_path: Path) -> None:
    paths = [Path("/dev/zero")]
    if hasattr(os, "mkfifo"):
        paths.append(tmp_path / "pipe.tflite")
        os.mkfifo(paths[-1])
    for path in paths:
        if path.exists():
            with pytest.raises(ModelError, match="expected a model file, got a pipe or a device"):
                model_file.read(path)


def attached(kind: Format, text: bytes) -> bytes:
    """A graph with a text where its card would be."""
    graph = tiny.graph(kind)
    return graph + attachment.attachment(len(graph), text, LABELS, kind)


def test_a_graph_without_a_card_or_with_a_foreign_one(kind: Format) -> None:
    with pytest.raises(CardError, match=r"model: has no card of Falx: .* export the model with it"):
        model_file.extract(tiny.graph(kind))
    for text in (b'{"name": "other", "labels": ["cat", "dog"]}', b"[1]", b"3"):
        with pytest.raises(CardError, match="this JSON is not a card of Falx"):
            model_file.extract(attached(kind, text))
    other = replace(CARD, weights_sha256="ab" * 32).to_json().encode()
    with pytest.raises(ChecksumError, match=r"weights with SHA-256 abab.*get it again"):
        model_file.extract(attached(kind, other))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"hello model\n", "text that starts with 'hello model"),
        (b"\x89PNG\r\n\x1a\n", "another kind of file, which starts with 89 50 4e 47"),
    ],
)
def test_what_is_no_model(data: bytes, found: str) -> None:
    with pytest.raises(ModelError, match=f"expected a TFLite or ONNX model, got {found}"):
        model_file.extract(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 1}, "schema must be 2, got 1; use the version of Falx that wrote it"),
        ({"labels": sorted(LABELS)}, "labels must be .*no_tumor.*got .*glioma"),
        ({"labels": 3}, "labels is not what it must be"),
        (thresholds(1.5), r"threshold of no_tumor must be in \(0, 1\], got 1.5"),
        (thresholds(0), r"threshold of no_tumor must be in \(0, 1\], got 0"),
        ({"thresholds": {"no_tumor": 0.5}}, "no threshold for meningioma, glioma, pituitary"),
        ({"thresholds": None}, "thresholds must be falx.Thresholds or a mapping"),
        ({"temperature": 0}, "temperature must be a number above 0, got 0"),
        ({"temperature": "1"}, "temperature must be a number above 0, got '1'"),
        ({"name": " "}, "name must be a text that is not empty"),
        ({"version": 1}, "version must be a text"),
        ({"input": output("x", 1, 224, 224, 1, dtype="uint8")}, "input must be .*image.*got .*'x'"),
        ({"input": {"name": "image"}}, "input is not what it must be: expected name, dtype and shape"),
        ({"outputs": {}}, "outputs must have probabilities, got none"),
        (
            {"outputs": {"probabilities": output("probabilities", 1, 4, dtype="int8")}},
            "outputs.probabilities must be",
        ),
        (
            {"preprocessing": {"name": "other-1", "height": 224, "width": 224}},
            "preprocessing must be .*falx-head-1.*got .*other-1",
        ),
        ({"rejection": {"minimum_side": -1}}, f"{WRONG_REJECTION}minimum_side must be finite"),
        ({"rejection": {"colour": 1}}, "unknown parameter colour"),
        (
            {"quantization": {"format": "int4", "scheme": "s"}},
            "quantization.format must be one of int8, float16, float32, got 'int4'",
        ),
        ({"quantization": {}}, "quantization must be format and scheme"),
        ({"metrics": []}, "metrics must be an object"),
        ({"self_test": [{"phantom": "clear", "probabilities": [1]}]}, "self_test must be 4 probabilities"),
        ({"self_test": [{}]}, "self_test is not what it must be"),
        ({"weights_sha256": "XYZ"}, "weights_sha256 must be 64 lower-case"),
        # Fuzzed: what is empty and no text.
        ({"weights_sha256": {}}, "weights_sha256 must be 64 lower-case"),
        ({"weights_sha256": 0}, "weights_sha256 must be 64 lower-case"),
        (
            {"outputs": PROBABILITIES | {"heatmap": output("heatmap", 1, 14, 7)}},
            r"outputs.heatmap must be heatmap, float32, \(1, N, N\) with N in 1..224, got .*14, 7",
        ),
        ({"outputs": PROBABILITIES | {"heatmap": output("heatmap", 1, 225, 225)}}, "outputs.heatmap must be"),
        ({"outputs": PROBABILITIES | {"heatmap": output("heatmap", 2, 7, 7)}}, "outputs.heatmap must be"),
        (
            {"outputs": PROBABILITIES | {"no_brain": output("no_brain", 1, 2)}},
            r"outputs.no_brain must be no_brain, float32, \(1, 1\), got",
        ),
        (
            {"outputs": PROBABILITIES | {"familiarity": output("familiarity", 1)}},
            r"outputs.familiarity must be familiarity, float32, \(1, 1\), got",
        ),
        (
            {"rejection": {"least_familiarity": 1.5}},
            f"{WRONG_REJECTION}least_familiarity must be in 0..1, got 1.5",
        ),
        ({"rejection": {"minimum_side": 10**400}}, f"{WRONG_REJECTION}.*too large"),
        ({"history": 3}, "history is not what it must be"),
        ({"history": [{}]}, "history is not what it must be: expected thresholds"),
        ({"history": [{"thresholds": {"glioma": 0.5}}]}, "no threshold for no_tumor, meningioma, pituitary"),
        ({"self_contained": 1}, "self_contained must be true or false, got 1"),
        ({"surprise": 1}, "has 'surprise', which schema 2 does not know"),
        ({"two\nlines": 1}, r"has 'two\\nlines', which schema 2 does not know"),
        (dict.fromkeys("abcd", 1), "has 'a', 'b', 'c' and more, which schema 2 does not know"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError, match=f"card: .*{message}"):
        Card.from_json(sealed({**CARD.to_dict(), **changes}))


@pytest.mark.parametrize("side", [1, 7, 14, 224])
def test_the_card_says_how_fine_the_heatmap_is(side: int) -> None:
    outputs = {
        **CARD.outputs,
        "heatmap": TensorSpec("heatmap", "float32", (1, side, side)),
        "familiarity": TensorSpec("familiarity", "float32", (1, 1)),
        "no_brain": TensorSpec("no_brain", "float32", (1, 1)),
    }
    read = Card.from_json(replace(CARD, outputs=outputs).to_json())
    assert read.outputs == outputs
    assert (read.has_heatmap, read.has_familiarity, CARD.has_familiarity) == (True, True, False)


def test_a_self_contained_graph_has_tensors_of_its_own() -> None:
    image = TensorSpec("image", "uint8", ("height", "width"))
    outputs = {"decision": TensorSpec("decision", "int64", (1,))}
    own = replace(CARD, self_contained=True, input=image, outputs=outputs)
    assert Card.from_json(own.to_json()) == own
    with pytest.raises(CardError, match=r"input must be .*got .*height"):
        replace(own, self_contained=False)
    wrongs: list[Any] = [(0,), ("",), (True,), (1.5,)]
    for wrong in wrongs:
        with pytest.raises(CardError, match="input must be a name, a type and axes, each a number from 1"):
            replace(own, input=TensorSpec("image", "uint8", wrong))
    with pytest.raises(CardError, match="outputs must have at least one, got none"):
        replace(own, outputs={})
    with pytest.raises(CardError, match=r"outputs\.label must be the output 'label', got .*'decision'"):
        replace(own, outputs={"label": outputs["decision"]})


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        *(
            (text, CardError, "expected JSON, got text that is not")
            for text in ("", "{", "\xff", '{"temperature": NaN}', '{"a": 1, "a": 2}', "[" * 100_000)
        ),
        (
            sealed({key: x for key, x in CARD.to_dict().items() if key not in ("temperature", "license")}),
            CardError,
            "card: lacks license, temperature; export the model again",
        ),
        (
            CARD.to_json().replace('"no_tumor": 0.85', '"no_tumor": 0.05'),
            ChecksumError,
            r"card_sha256 is .* changed after it was written",
        ),
    ],
)
def test_a_text_that_is_no_card(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Card.from_json(text)


def test_the_constructor_checks_too() -> None:
    with pytest.raises(CardError, match="metrics and provenance must be plain JSON"):
        replace(CARD, metrics={"accuracy": float("nan")})
    with pytest.raises(CardError, match=r"thresholds must be falx\.Thresholds"):
        replace(CARD, thresholds={"glioma": 1})  # type: ignore[arg-type] # the mistake that is tested
    with pytest.raises(CardError, match=r"must be of probabilities, .*familiarity, no_brain, got 'mask'"):
        replace(CARD, outputs={**CARD.outputs, "mask": TensorSpec("mask", "float32", (1, 7, 7))})


def test_embedding_twice_or_into_another_format_is_refused() -> None:
    data = model_file.embed(tiny.graph("onnx"), CARD, format="onnx")
    with pytest.raises(ModelError, match="has a card already"):
        model_file.embed(data, CARD, format="onnx")
    with pytest.raises(ModelError, match="expected a graph in tflite format"):
        model_file.embed(tiny.graph("onnx"), CARD, format="tflite")


def test_reading_from_files(tmp_path: Path, model_of: ModelOf) -> None:
    path = model_of("onnx", thresholds=Thresholds(0.31, 0.2, 0.4, 0.27))
    assert model_file.read(path)[0].thresholds.no_tumor == 0.31
    with pytest.raises(ModelNotFound, match=r"absent\.onnx: no such model file; give the path of"):
        model_file.read(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="expected a model file, got a folder"):
        model_file.read(tmp_path)
