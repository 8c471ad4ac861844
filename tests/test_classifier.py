from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests import tiny
from tests.tiny import ModelOf

import falx
from falx import phantom
from falx.decision import Thresholds
from falx.engines.pool import LOOK_AHEAD
from falx.errors import GraphError, ModelError, ModelNotFound, ThresholdError
from falx.model import file as model_file
from falx.reading.source import Source
from falx.slices.limits import Limits
from falx.slices.preprocessing import prepare
from falx.words import LABELS, RECOMMENDATIONS

LOW = Thresholds(1e-6, 1e-6, 1e-6, 1e-6)
Head = npt.NDArray[np.uint8]
Outputs = dict[str, npt.NDArray[np.float32]]
Answering = Callable[[Callable[[Outputs], Outputs]], None]


def test_the_answer_for_a_slice(engine: str, model_of: ModelOf, head: Head) -> None:
    path = model_of(engine, thresholds=LOW)
    classifier = falx.load(path, engine=engine, threads=2)
    prediction = classifier.predict(head)
    expected, _ = tiny.answer(prepare(head)[0])
    assert prediction.probabilities is not None
    assert list(prediction.probabilities) == list(LABELS)
    assert list(prediction.probabilities.values()) == pytest.approx(expected, abs=1e-4)
    assert prediction.decision == "no_tumor"
    assert prediction.confidence == prediction.probabilities["no_tumor"]
    assert prediction.band == "low"
    assert prediction.recommendation == RECOMMENDATIONS["no_tumor"]
    assert (prediction.reason, prediction.path) == (None, None)
    assert prediction.elapsed_ms > 0
    assert prediction.model == classifier.model
    assert classifier.model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (classifier.engine, classifier.threads, classifier.path) == (engine, 2, path)
    assert repr(classifier) == f"<falx.Classifier tiny 1.2.3 on {engine}>"


def test_every_kind_of_source_gives_the_same_answer(
    classifier: falx.Classifier, head: Head, scan: Path
) -> None:
    colours = np.stack([head] * 3, axis=-1)
    sources: list[Source] = [scan, str(scan), scan.read_bytes(), Image.fromarray(head), head, colours]
    answers = [classifier.predict(source) for source in sources]
    assert len({tuple((answer.probabilities or {}).values()) for answer in answers}) == 1
    assert [answer.path for answer in answers] == [str(scan), str(scan), None, None, None, None]


def test_ambiguous_has_probabilities_and_no_confidence(classifier: falx.Classifier, head: Head) -> None:
    prediction = classifier.predict(head, thresholds=Thresholds(1, 1, 1, 1))
    assert (prediction.decision, prediction.confidence, prediction.band) == ("ambiguous", None, None)
    assert prediction.probabilities is not None


def test_rejected_has_a_reason_and_no_probabilities(classifier: falx.Classifier) -> None:
    prediction = classifier.predict(np.zeros((200, 200), np.uint8))
    assert prediction.reason is not None
    assert (prediction.decision, prediction.reason.code) == ("rejected", "blank")
    assert (prediction.probabilities, prediction.confidence, prediction.band) == (None, None, None)
    assert prediction.heatmap is None
    assert prediction.recommendation == RECOMMENDATIONS["rejected"]


def test_thresholds_of_a_call_come_before_those_of_the_card(
    any_engine: str, model_of: ModelOf, head: Head
) -> None:
    classifier = falx.load(model_of(any_engine, thresholds=LOW))
    assert classifier.predict(head).decision == "no_tumor"
    youden = {"no_tumor": 1.0, "meningioma": 1e-6, "glioma": 0.2, "pituitary": 0.2}
    other = classifier.predict(head, thresholds=youden)
    assert other.decision != "no_tumor"
    # The answer names the thresholds in force, and those that are not the card's.
    assert other.thresholds == Thresholds(**youden)
    assert other.thresholds_changed == ("no_tumor", "glioma", "pituitary")
    own = classifier.predict(head)
    assert (own.decision, own.thresholds, own.thresholds_changed) == ("no_tumor", LOW, ())
    (rejected,) = classifier.predict_many([np.zeros((99, 99), np.uint8)], thresholds=youden)
    assert isinstance(rejected, falx.Prediction)
    assert rejected.thresholds == Thresholds(**youden)


@pytest.mark.parametrize("label", ["no_tumor", "glioma"])
def test_a_probability_at_its_threshold_decides_and_just_below_does_not(
    classifier: falx.Classifier, label: str
) -> None:
    # The brighter the head, the more the tiny model says glioma.
    head = np.where(phantom.clear() > 60, phantom.clear() // 4 + 190, phantom.clear() // 2).astype(np.uint8)
    probabilities = classifier.predict(head).probabilities
    assert probabilities is not None
    value = probabilities[label]
    never = Thresholds(1, 1, 1, 1)
    at = replace(never, **{label: value})
    above = replace(never, **{label: np.nextafter(value, 2)})
    assert classifier.predict(head, thresholds=at).decision == label
    assert classifier.predict(head, thresholds=above).decision == "ambiguous"


@pytest.mark.parametrize(
    "thresholds", [{"glioma": 0.5}, dict.fromkeys(LABELS, 0), dict.fromkeys(LABELS, 1.1), 0.5]
)
def test_wrong_thresholds_of_a_call(classifier: falx.Classifier, head: Head, thresholds: Any) -> None:
    with pytest.raises(ThresholdError):
        classifier.predict(head, thresholds=thresholds)
    with pytest.raises(ThresholdError):
        classifier.predict_many([head], thresholds=thresholds)


def test_the_heatmap_lies_on_the_slice(classifier: falx.Classifier) -> None:
    wide = np.pad(phantom.lesion(), ((0, 100), (300, 0)))
    heatmap = classifier.predict(wide).heatmap
    assert heatmap is not None
    assert heatmap.shape == wide.shape
    assert heatmap.dtype == np.float32
    # The tiny model's heatmap is brightness: high on the head, nothing off it.
    assert heatmap[104, 300 + 160] > 0.3
    assert not heatmap[:, :300].any()
    assert not heatmap[260:].any()


def test_a_model_without_heatmap(model: Path, head: Head, answering: Answering) -> None:
    answering(lambda outputs: {"probabilities": outputs["probabilities"]})
    assert falx.load(model).predict(head).heatmap is None


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_many_keep_their_order_and_one_bad_input_is_one_failure(
    classifier: falx.Classifier, head: Head, tmp_path: Path, workers: int
) -> None:
    missing = tmp_path / "absent.png"
    sources: list[Source] = [head, missing, b"", np.zeros((99, 99), np.uint8), head] * 4
    answers = list(classifier.predict_many(sources, workers=workers))
    names = [type(a if isinstance(a, falx.Prediction) else a.error).__name__ for a in answers]
    assert names == ["Prediction", "ImageNotFound", "UnreadableImage", "Prediction", "Prediction"] * 4
    assert [a.path for a in answers] == [None, str(missing), None, None, None] * 4


@pytest.mark.parametrize("workers", [1, 2])
def test_many_read_only_a_little_ahead(classifier: falx.Classifier, head: Head, workers: int) -> None:
    taken = itertools.count()

    def endless() -> Iterator[Head]:
        for _ in taken:
            yield head

    answers = classifier.predict_many(endless(), workers=workers)
    for _ in range(5):
        next(answers)
    answers.close()  # type: ignore[attr-defined] # a generator
    assert next(taken) <= 5 + LOOK_AHEAD * workers
    assert not [t for t in threading.enumerate() if t.name.startswith("falx")]


def test_many_of_none(classifier: falx.Classifier) -> None:
    assert list(classifier.predict_many([])) == list(classifier.predict_many([], workers=2)) == []


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_wrong_numbers_of_threads_and_workers(classifier: falx.Classifier, model: Path, value: Any) -> None:
    with pytest.raises(ValueError, match=r"threads must be a whole number from 1, got"):
        falx.load(model, threads=value)
    with pytest.raises(ValueError, match=r"engines must be a whole number from 1, got"):
        falx.load(model, engines=value)
    with pytest.raises(ValueError, match=r"workers must be a whole number from 1, got"):
        classifier.predict_many([], workers=value)


def test_an_installation_without_a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(model_file, "DEFAULT_MODEL", tmp_path / "default.tflite")
    message = "has no model of its own; install the wheel, or give a model file"
    with pytest.raises(ModelNotFound, match=message):
        falx.load()


def test_a_wrong_extension(any_engine: str, model: Path, tmp_path: Path) -> None:
    for name in ("model.bin", "model", "model.onnx" if model.suffix == ".tflite" else "model.tflite"):
        other = tmp_path / name
        other.write_bytes(model.read_bytes())
        message = rf"holds a {model.suffix[1:]} model, so its name must end in .*; rename"
        with pytest.raises(ModelError, match=message):
            falx.load(other)


@pytest.mark.filterwarnings("ignore:tflite-runtime runs int8:falx.FalxWarning")
def test_the_default_model_answers(engine: str, head: Head) -> None:
    if engine == "onnx":
        pytest.skip("the default model is TFLite")
    prediction = falx.load(engine=engine).predict(head)
    assert prediction.probabilities is not None
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("wrong", [float("nan"), -0.1, 1.5])
def test_answers_that_are_no_probabilities(
    model: Path, head: Head, answering: Answering, wrong: float
) -> None:
    answering(lambda _: {"probabilities": np.array([0.5, 0.25, 0.25, wrong], np.float32)})
    broken = falx.load(model)
    with pytest.raises(
        GraphError,
        match=rf"tiny\.\w+: the graph answered probabilities \[0\.5, 0\.25, 0\.25, .*\] on "
        rf"engine {broken.engine}, expected probabilities in 0\.\.1; "
        r"try another engine, or export the model again",
    ):
        broken.predict(head)


Knowing = Callable[..., falx.Classifier]


@pytest.fixture
def knowing(any_engine: str, model_of: ModelOf, answering: Answering) -> Knowing:
    """A classifier whose graph says how familiar a picture is, and a card with the least that is needed."""

    def load(familiarity: float, least: float, **more: float) -> falx.Classifier:
        shown = {"familiarity": familiarity, **more}
        answering(lambda outputs: outputs | {key: np.array([x], np.float32) for key, x in shown.items()})
        path = model_of(any_engine, thresholds=LOW, rejection=Limits(least_familiarity=least))
        return falx.load(path, engine=any_engine)

    return load


@pytest.mark.parametrize(("familiarity", "least"), [(0.25, 0.26), (0.0, 0.01), (0.999, 1)])
def test_an_unfamiliar_picture_is_rejected(
    knowing: Knowing, head: Head, familiarity: float, least: float
) -> None:
    prediction = knowing(familiarity, least).predict(head)
    assert prediction.reason is not None
    assert (prediction.decision, prediction.reason.code) == ("rejected", "unfamiliar")
    assert (prediction.probabilities, prediction.confidence, prediction.band) == (None, None, None)
    assert (prediction.heatmap, prediction.elapsed_ms > 0) == (None, True)
    said = f"Its familiarity is {familiarity:.3f}, {least:g} is needed."
    assert prediction.to_dict()["reason"]["message"].endswith(said)


def test_a_head_without_brain_is_rejected_as_such(knowing: Knowing, head: Head) -> None:
    classifier = knowing(0.25, 0.5, no_brain=0.5)
    prediction = classifier.predict(head)
    assert (prediction.decision, prediction.probabilities) == ("rejected", None)
    assert prediction.to_dict()["reason"] == {
        "code": "no_brain",
        "message": "The picture seems to show a head without brain: scalp, neck or face. "
        "Its familiarity is 0.250, 0.5 is needed.",
    }
    assert classifier.infer(prepare(head)[0]).no_brain == 0.5


@pytest.mark.parametrize(("familiarity", "least"), [(0.25, 0.25), (0.0, 0), (1.0, 1)])
def test_a_familiar_picture_is_answered(
    knowing: Knowing, head: Head, familiarity: float, least: float
) -> None:
    classifier = knowing(familiarity, least)
    assert classifier.predict(head).decision == "no_tumor"
    assert classifier.infer(prepare(head)[0]).familiarity == familiarity


def test_a_model_that_does_not_say_rejects_nothing_as_unfamiliar(
    any_engine: str, model_of: ModelOf, head: Head
) -> None:
    classifier = falx.load(model_of(any_engine, thresholds=LOW, rejection=Limits(least_familiarity=1)))
    assert classifier.predict(head).decision == "no_tumor"
    answer = classifier.infer(prepare(head)[0])
    assert (answer.familiarity, answer.no_brain) == (None, None)


@pytest.mark.parametrize("wrong", [float("nan"), -0.5, 1.5])
def test_a_familiarity_that_is_no_probability(knowing: Knowing, head: Head, wrong: float) -> None:
    classifier = knowing(wrong, 0)
    with pytest.raises(GraphError, match=rf"the graph answered familiarity \[{wrong}\] on .*in 0\.\.1"):
        classifier.predict(head)


def test_a_self_contained_file_is_for_others(any_engine: str, model_of: ModelOf) -> None:
    path = model_of(any_engine, self_contained=True)
    with pytest.raises(ModelError, match=r"tiny\.\w+: is self-contained: .*without --self-contained"):
        falx.load(path)
