"""Other thresholds for a file: in its card, its checksums and its graph together."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny
from tests.cards import CARD
from tests.said import Command
from tests.tiny import ModelOf

import falx
from falx import phantom
from falx.decision import DEFAULT_THRESHOLDS, Thresholds
from falx.errors import CardError, ChecksumError, FalxError, ModelError, ThresholdError
from falx.model import file as model_file
from falx.model.card import Card, Format, Setting, TensorSpec
from falx.model.file import DEFAULT_MODEL
from falx.model.retarget import Chosen, least_float32, read_thresholds, retarget, write
from falx.words import LABELS

KINDS: list[Format] = ["tflite", "onnx"]


def deciding(kind: Format) -> bytes:
    """A graph that decides by itself, as `tests/data/make_models.py` makes it."""
    return (Path(__file__).parents[1] / "data" / f"decides.{kind}").read_bytes()


def own(card: Card) -> Card:
    """The card of such a graph."""
    outputs = {name: TensorSpec(name, "float32", (1, 4)) for name in ("probabilities", "reached")}
    return replace(card, self_contained=True, outputs=outputs)


def answers(kind: Format, payload: bytes, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
    """Returns what a graph answers in the engine itself, which knows nothing of Falx."""
    name = "onnxruntime" if kind == "onnx" else "ai_edge_litert.interpreter"
    package = pytest.importorskip(name, reason=f"{name} is not installed")
    tensor = image[np.newaxis, ..., np.newaxis]
    if kind == "onnx":
        session = package.InferenceSession(payload, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return {n: value[0] for n, value in zip(names, session.run(names, {"image": tensor}), strict=True)}
    interpreter = package.Interpreter(model_content=payload)
    runner = interpreter.get_signature_runner("serving_default")
    return {n: value[0] for n, value in runner(image=tensor).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_card_changes_and_the_graph_does_not(kind: Format) -> None:
    data = model_file.embed(tiny.graph(kind), CARD, format=kind)
    before, _ = model_file.extract(data)
    after, payload = model_file.extract(retarget(data, {"no_tumor": 0.95, "glioma": 0.7}))
    assert payload == tiny.graph(kind)
    assert after.thresholds == Thresholds(0.95, 0.6, 0.7, 0.55)
    assert after.history == (Setting(DEFAULT_THRESHOLDS),)
    assert replace(after, thresholds=before.thresholds, history=()) == before


def test_tflite_has_them_for_other_programs_too() -> None:
    data = retarget(model_file.embed(tiny.graph("tflite"), CARD, format="tflite"), {"no_tumor": 0.95})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        lines = archive.read("score_calibration.txt").decode().split("\n")
    assert [float(line.split(",")[-1]) for line in lines] == [0.95, 0.6, 0.55, 0.55]


@pytest.mark.parametrize("kind", KINDS)
def test_history_holds_every_earlier_setting_the_oldest_first(kind: Format) -> None:
    def thrice() -> bytes:
        data = model_file.embed(tiny.graph(kind), CARD, format=kind)
        for value in (0.9, 0.95, 1):
            data = retarget(data, {"no_tumor": value})
        return data

    changed, _ = model_file.extract(thrice())
    assert [setting.thresholds.no_tumor for setting in changed.history] == [0.85, 0.9, 0.95]
    assert changed.thresholds.no_tumor == 1
    assert thrice() == thrice()


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_that_decides_by_itself_changes_with_its_card(kind: Format) -> None:
    data = model_file.embed(deciding(kind), own(CARD), format=kind)
    image = np.full((224, 224), 20, np.uint8)
    first = answers(kind, deciding(kind), image)
    value = float(first["probabilities"][0])
    assert 0.6 < value < 0.85
    assert first["reached"].tolist() == [0, 0, 0, 0]

    changed = retarget(data, {"no_tumor": value})
    after, payload = model_file.extract(changed)
    assert (after.self_contained, after.thresholds.no_tumor) == (True, value)
    assert after.weights_sha256 == hashlib.sha256(payload).hexdigest()
    assert after.weights_sha256 != model_file.extract(data)[0].weights_sha256
    # Nothing but the four values.
    assert len(payload) == len(deciding(kind))
    assert sum(a != b for a, b in zip(payload, deciding(kind), strict=True)) <= 4
    # At its threshold a probability decides, and just below it does not.
    second = answers(kind, payload, image)
    assert second["probabilities"].tolist() == first["probabilities"].tolist()
    assert second["reached"].tolist() == [1, 0, 0, 0]
    _, payload = model_file.extract(retarget(changed, {"no_tumor": float(np.nextafter(value, 1))}))
    assert answers(kind, payload, image)["reached"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_back_again_is_the_same_graph(kind: Format) -> None:
    data = model_file.embed(deciding(kind), own(CARD), format=kind)
    changed = retarget(data, dict.fromkeys(LABELS, 0.123456789))
    assert model_file.extract(retarget(changed, DEFAULT_THRESHOLDS.to_dict()))[1] == deciding(kind)


@given(st.floats(0, 1, exclude_min=True), st.floats(0, 1, width=32))
def test_in_float32_the_same_probabilities_reach_a_threshold(threshold: float, probability: float) -> None:
    packed = least_float32([threshold, 1, 1, 1])
    assert packed[1:].tolist() == [1, 1, 1]
    assert (np.float32(probability) >= packed[0]) == (probability >= threshold)
    assert packed[0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_self_contained_file_without_such_a_constant_or_with_another(kind: Format) -> None:
    data = model_file.embed(tiny.graph(kind), replace(CARD, self_contained=True), format=kind)
    message = "x: is self-contained, but its graph has its thresholds 0 times, expected once; exp"
    with pytest.raises(ModelError, match=message):
        retarget(data, {"glioma": 0.7}, name="x")
    other = replace(own(CARD), thresholds=Thresholds(0.9, 0.6, 0.55, 0.55))
    data = model_file.embed(deciding(kind), other, format=kind)
    with pytest.raises(ModelError, match=r"has its thresholds 0 times, expected once"):
        retarget(data, {"glioma": 0.7})


def test_values_that_stand_in_the_graph_twice_are_not_changed() -> None:
    again = least_float32(CARD.thresholds.to_dict().values()).tobytes()
    # doc_string, a field of ModelProto that may hold anything.
    payload = deciding("onnx") + b"\x32\x10" + again
    data = model_file.embed(payload, own(CARD), format="onnx")
    with pytest.raises(ModelError, match=r"has its thresholds 2 times, expected once; export"):
        retarget(data, {"glioma": 0.7})


def test_values_that_the_graph_holds_elsewhere_are_not_taken() -> None:
    wanted = dict.fromkeys(LABELS, 0.85)
    payload = deciding("onnx") + b"\x32\x10" + least_float32(wanted.values()).tobytes()
    data = model_file.embed(payload, own(CARD), format="onnx")
    message = "x: its graph holds these four numbers elsewhere too, so it could not be retargeted again"
    with pytest.raises(ThresholdError, match=message):
        retarget(data, wanted, name="x")


def test_what_is_no_file_of_falx() -> None:
    for kind in KINDS:
        with pytest.raises(CardError, match=r"^x: has no card of Falx"):
            retarget(tiny.graph(kind), {"glioma": 0.7}, name="x")
        damaged = bytearray(model_file.embed(tiny.graph(kind), CARD, format=kind))
        damaged[400] ^= 1
        with pytest.raises(ChecksumError):
            retarget(bytes(damaged), {"glioma": 0.7})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({"glioma": value}, r"threshold of glioma must be (in|a number in) \(0, 1\], got")
            for value in (0, -0.1, 1.01, float("nan"), True, "0.5")
        ),
        ({"glioma": 0.7, "cat": 0.5}, "threshold for cat, which is none of no_tumor, meningioma, "),
    ],
)
def test_values_that_are_no_thresholds(changes: dict[str, Any], message: str) -> None:
    data = model_file.embed(tiny.graph("onnx"), CARD, format="onnx")
    with pytest.raises(ThresholdError, match=message):
        retarget(data, changes)


EVALUATED: dict[str, Any] = {
    "schema": 1,
    "model": {"name": "mine", "sha256": "0" * 64},
    "thresholds": {"no_tumor": 0.9},
    "choices": {
        "sensitivity": {"stated": 0.99, "thresholds": {"no_tumor": 0.9}},
        "youden": {"thresholds": {"no_tumor": 0.4, "glioma": 0.3}},
    },
    "warnings": ["too few", "and too old"],
}
"""The part of an evaluation's thresholds.json that matters here."""

OBJECT = "expected an object of labels"
NUMBER = r"threshold of glioma must be (in|a number in) \(0, 1\], got"


Read = Callable[..., Chosen]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads thresholds from a file of some text, or of some document."""

    def run(content: Any, choice: str | None = None) -> Chosen:
        path = tmp_path / "thresholds.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_thresholds(path, choice)

    return run


class TestReadThresholds:
    @pytest.mark.parametrize(
        "document",
        [
            {"no_tumor": 0.9, "glioma": 1},
            {"thresholds": {"no_tumor": 0.9, "glioma": 1}, "split": "val", "method": "youden"},
        ],
    )
    def test_both_forms(self, read: Read, document: Any) -> None:
        assert read(document).thresholds == {"no_tumor": 0.9, "glioma": 1}

    def test_what_an_evaluation_wrote(self, read: Read) -> None:
        assert read(EVALUATED) == Chosen({"no_tumor": 0.9}, "mine", ("too few", "and too old"))
        assert read(EVALUATED, "youden").thresholds == {"no_tumor": 0.4, "glioma": 0.3}

    @pytest.mark.parametrize(
        ("content", "choice", "message"),
        [
            ("{", None, "expected a JSON file with thresholds"),
            ("[" * 100_000, None, "expected a JSON file with thresholds"),
            ([], None, f"{OBJECT} with their thresholds, or one that has it as `thresholds`"),
            ({}, None, OBJECT),
            ({"thresholds": 3}, None, OBJECT),
            ({"glioma": "0.5"}, None, rf"{NUMBER} '0.5'"),
            ({"glioma": True}, None, rf"{NUMBER} True"),
            ({"glioma": float("nan")}, None, rf"{NUMBER} nan"),
            ({"glioma": 0}, None, rf"{NUMBER} 0"),
            pytest.param(f'{{"glioma": 1{"0" * 400}}}', None, NUMBER, id="not_a_float"),
            ({"glioma": 1.5}, None, rf"{NUMBER} 1.5"),
            (
                {"cat": 0.5},
                None,
                "threshold for cat, which is none of no_tumor, meningioma, glioma, pituitary",
            ),
            (EVALUATED, "best", "expected a choice 'best' of thresholds, it has sensitivity, youden"),
            ({"glioma": 0.3}, "best", "choice 'best' of thresholds, it has none; leave the choice out"),
            ([], "best", "choice 'best' of thresholds, it has none; leave the choice out"),
            ({"choices": {"best": 3}}, "best", f"{OBJECT} with their thresholds"),
            ({"choices": {"best": {"glioma": 3}}}, "best", rf"{NUMBER} 3"),
        ],
    )
    def test_what_is_none(self, read: Read, content: Any, choice: str | None, message: str) -> None:
        with pytest.raises(ThresholdError, match=rf"thresholds\.json: .*{message}"):
            read(content, choice)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ThresholdError, match=r"absent\.json: expected a JSON file with thresholds"):
            read_thresholds(tmp_path / "absent.json")


class TestWrite:
    def test_an_existing_file_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "old.onnx"
        path.write_bytes(b"old")
        with pytest.raises(FalxError, match=r"old\.onnx: exists already, and is left as it is; give another"):
            write(tiny.graph("onnx"), path)
        assert path.read_bytes() == b"old"

    def test_a_name_of_the_other_format(self, tmp_path: Path) -> None:
        with pytest.raises(
            FalxError, match=r"new\.tflite: the model is onnx, so the name must end in \.onnx"
        ):
            write(tiny.graph("onnx"), tmp_path / "new.tflite")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FalxError, match=r"new\.onnx: cannot be written: .*No such file"):
            write(tiny.graph("onnx"), tmp_path / "absent" / "new.onnx")
        with pytest.raises(FalxError, match="cannot be written"):
            write(tiny.graph("onnx"), tmp_path / "a\0b.onnx")

    @pytest.mark.parametrize(
        ("raised", "seen", "message"),
        [
            (
                OSError(errno.ENOSPC, "No space left on device"),
                FalxError,
                r"new\.onnx: cannot be written: No space left on device; make room, or give another name$",
            ),
            (
                OSError(errno.EIO, "Input/output error"),
                FalxError,
                r"cannot be written: .*Input/output error$",
            ),
            (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
        ],
        ids=["full", "broken", "stopped"],
    )
    def test_a_file_that_cannot_be_written(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        raised: BaseException,
        seen: type[BaseException],
        message: str,
    ) -> None:
        def failing(_: int) -> None:
            raise raised

        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(seen, match=message):
            write(tiny.graph("onnx"), tmp_path / "new.onnx")
        assert list(tmp_path.iterdir()) == []


class TestCommand:
    def test_a_new_file_that_decides_anew(
        self, engine: str, model_of: ModelOf, tmp_path: Path, command: Command
    ) -> None:
        path = model_of(engine)
        head = phantom.lesion()
        first = falx.load(path, engine=engine).predict(head)
        value = (first.probabilities or {})["no_tumor"]
        assert first.decision == "ambiguous"
        out = tmp_path / f"new{path.suffix}"
        arguments = ["retarget", path, "--threshold", f"no_tumor={value!r}", "--out", out]
        said = command(*arguments)
        row, *others = said.out.splitlines()
        assert (said.status, row[:11], row[-11:]) == (0, "no_tumor 0.", " (was 0.85)")
        assert others == ["meningioma 0.6", "glioma 0.55", "pituitary 0.55", f"written to {out}"]
        assert falx.load(out, engine=engine).predict(head).decision == "no_tumor"
        assert "earlier thresholds" in command("info", out).out
        command(*arguments).refuses(f"{out}: exists already, and is left as it is; give another name")

    def test_a_file_of_thresholds_and_one_on_top(self, model: Path, tmp_path: Path, command: Command) -> None:
        chosen, out = tmp_path / "thresholds.json", tmp_path / f"new{model.suffix}"
        chosen.write_text(json.dumps({"thresholds": {"no_tumor": 0.9, "glioma": 0.7}}))
        command("retarget", model, "--thresholds", chosen, "--threshold", "glioma=0.8", "--out", out)
        assert model_file.read(out)[0].thresholds == Thresholds(0.9, 0.6, 0.8, 0.55)
        assert model_file.read(model)[0].thresholds == DEFAULT_THRESHOLDS

    def test_a_choice_of_an_evaluation_and_what_it_warns_of(
        self, model: Path, tmp_path: Path, command: Command
    ) -> None:
        chosen, out = tmp_path / "thresholds.json", tmp_path / f"new{model.suffix}"
        chosen.write_text(json.dumps(EVALUATED))
        said = command("retarget", model, "--thresholds", chosen, "--choice", "youden", "--out", out)
        assert model_file.read(out)[0].thresholds == Thresholds(0.4, 0.6, 0.3, 0.55)
        name = model_file.read(model)[0].name
        assert (said.status, said.err.splitlines()) == (
            0,
            [
                f"falx: warning: {chosen}: too few",
                f"falx: warning: {chosen}: and too old",
                f"falx: warning: {chosen}: chosen for the model mine, this is {name}; "
                "its probabilities are others",
            ],
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["--threshold", "glioma=0.7", "--choice", "youden"],
                "--choice is one of the thresholds of an evaluation; give its --thresholds JSON",
            ),
            ([], "give new thresholds with --threshold LABEL=VALUE or --thresholds JSON"),
            (["--threshold", "glioma=1.5"], "threshold of glioma must be in (0, 1], got 1.5"),
            (["--threshold", "glioma=nan"], "threshold of glioma must be in (0, 1], got nan"),
            (["--thresholds", "absent.json"], "absent.json: expected a JSON file with thresholds"),
            *(
                (["--threshold", wrong], "--threshold: expected")
                for wrong in ("cat=0.5", "glioma=much", "glioma")
            ),
        ],
    )
    def test_what_is_refused(
        self, model: Path, tmp_path: Path, command: Command, arguments: list[str], message: str
    ) -> None:
        out = tmp_path / f"new{model.suffix}"
        command("retarget", model, *arguments, "--out", out).refuses(message)
        assert not out.exists()

    def test_a_file_that_is_none(self, tmp_path: Path, command: Command) -> None:
        absent, out = tmp_path / "absent.onnx", tmp_path / "new.onnx"
        said = command("retarget", absent, "--threshold", "glioma=0.7", "--out", out)
        said.refuses("absent.onnx: no such model file")


def test_the_default_model(tmp_path: Path) -> None:
    path = tmp_path / "strict.tflite"
    write(retarget(DEFAULT_MODEL.read_bytes(), {"no_tumor": 0.999}), path)
    before, after = model_file.read(DEFAULT_MODEL), model_file.read(path)
    assert after[1] == before[1]
    assert after[0].thresholds == replace(before[0].thresholds, no_tumor=0.999)
    assert after[0].history[-1].thresholds == before[0].thresholds
