"""Results, cards, errors and classifiers go wherever a program sends them."""

from __future__ import annotations

import copy
import dataclasses
import json
import multiprocessing
import pickle
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.tiny import ModelOf

import falx
from falx import errors, phantom
from falx.errors import ModelError, NotASlice
from falx.frozen import FrozenDict
from falx.slices.reasons import Reason
from falx.slices.slice import Origin
from falx.study import Study

Head = npt.NDArray[np.uint8]


def pickled(value: Any) -> Any:
    return loaded(pickle.dumps(value))


def loaded(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301 - it was pickled here


TRAVELS = [pickled, copy.copy, copy.deepcopy]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    classifier = falx.load()
    study = classifier.predict_study([phantom.clear(), b"none", phantom.lesion()], one_patient=True)
    return {
        "prediction": classifier.predict(phantom.lesion()),
        "rejected": classifier.predict(np.zeros((99, 99), np.uint8)),
        "failure": next(iter(classifier.predict_many([tmp_path_factory.mktemp("none") / "absent.png"]))),
        "study": study,
        "verdict": study.verdict,
        "card": classifier.card,
        "model": classifier.model,
        "thresholds": classifier.card.thresholds,
    }


KINDS = ["prediction", "rejected", "failure", "study", "verdict", "card", "model", "thresholds"]


@pytest.mark.parametrize("travel", TRAVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_equal_and_hashes_alike(
    results: dict[str, Any], kind: str, travel: Callable[[Any], Any]
) -> None:
    result = results[kind]
    other = travel(result)
    assert other == result
    assert hash(other) == hash(result)
    assert {result: 1}[other] == 1
    assert other.to_dict() == result.to_dict()
    assert all(other != results[name] for name in KINDS if name != kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_becomes_a_dictionary(results: dict[str, Any], kind: str) -> None:
    document = dataclasses.asdict(results[kind])
    assert list(document) == [field.name for field in dataclasses.fields(results[kind])]


def test_the_dictionary_of_a_prediction_is_plain_and_its_heatmap_travels(results: dict[str, Any]) -> None:
    document = dataclasses.asdict(dataclasses.replace(results["prediction"], location=None))
    assert json.loads(json.dumps(document))["probabilities"] == dict(results["prediction"].probabilities)
    heatmap = pickled(results["prediction"]).heatmap
    assert np.array_equal(heatmap, results["prediction"].heatmap)
    assert heatmap.max() > 0


def test_predictions_are_equal_where_they_say_the_same(head: Head) -> None:
    classifier = falx.load()
    one, other = classifier.predict(head), classifier.predict(head)
    assert one == other
    assert one.elapsed_ms != other.elapsed_ms
    assert one != classifier.predict(phantom.clear())
    turned = dataclasses.replace(one, location=classifier.predict(head[:, ::-1].copy()).location)
    assert one != turned


def test_what_a_representation_says_fits_one_line(
    results: dict[str, Any], head: Head, tmp_path: Path
) -> None:
    found, study, name = results["prediction"], results["study"], results["card"].name
    path = tmp_path / "a\nb.png"
    failure = next(iter(falx.load().predict_many([path])))
    said = {
        f"<falx.Prediction {found.decision} {found.confidence:.3f} ({found.band}) by {name}>": found,
        f"<falx.Prediction rejected blank by {name}>": results["rejected"],
        f"<falx.Failure ImageNotFound of {str(path)!r}>": failure,
    }
    assert [repr(one) for one in said.values()] == list(said)
    assert repr(study).startswith(f"<falx.Study {study.decision} ")
    for one in (*said.values(), study):
        assert "\n" not in repr(one)
        assert len(repr(one)) < 200


ERRORS = [
    getattr(errors, name)
    for name in errors.__all__
    if issubclass(getattr(errors, name), errors.FalxError) and name != "NotASlice"
]


@pytest.mark.parametrize("travel", TRAVELS)
@pytest.mark.parametrize("kind", ERRORS)
def test_errors_travel(kind: type[errors.FalxError], travel: Callable[[Any], Any]) -> None:
    error = kind("slice.png: said what was wrong")
    other = travel(error)
    assert type(other) is kind
    assert str(other) == "slice.png: said what was wrong"
    assert other == error
    assert hash(other) == hash(error)
    assert error != kind("another")
    assert error != RuntimeError("slice.png: said what was wrong")
    # Dask makes an error again in this way.
    assert kind.__new__(kind, "slice.png: said what was wrong") == error


@pytest.mark.parametrize("travel", TRAVELS)
def test_the_reason_of_an_error_travels(travel: Callable[[Any], Any]) -> None:
    error = NotASlice("a.dcm: a CT", Reason("not_mr", "It is CT."), Origin(format="dicom", frame=2))
    other = travel(error)
    assert (str(other), other.reason, other.origin) == (str(error), error.reason, error.origin)
    assert other == error
    assert error != NotASlice("a.dcm: a CT", Reason("not_mr", "It is PET."), error.origin)


def test_a_failure_keeps_nothing_of_its_input() -> None:
    picture = np.zeros((5, 5, 7), np.uint8)
    kept = weakref.ref(picture)
    (failure,) = falx.load().predict_many([picture])
    assert isinstance(failure, falx.Failure)
    assert str(failure.error).startswith("uint8 array of shape (5, 5, 7): expected ")
    del picture
    assert kept() is None


def test_a_frozen_dictionary() -> None:
    frozen = FrozenDict({"a": 1, "b": 2})
    assert frozen == {"a": 1, "b": 2}
    assert hash(frozen) == hash(FrozenDict({"b": 2, "a": 1}))
    assert repr(frozen) == "{'a': 1, 'b': 2}"
    assert json.dumps(frozen) == '{"a": 1, "b": 2}'
    changes: list[Callable[[], object]] = [
        partial(frozen.__setitem__, "a", 2),
        partial(frozen.__delitem__, "a"),
        partial(frozen.__ior__, {"a": 2}),
        partial(frozen.update, a=2),
        partial(frozen.setdefault, "c", 2),
        partial(frozen.pop, "a"),
        frozen.popitem,
        frozen.clear,
    ]
    for change in changes:
        with pytest.raises(TypeError, match="a result cannot be changed; make a dict of it first"):
            change()
    assert frozen == {"a": 1, "b": 2}


def predicted(classifier: falx.Classifier, name: str) -> falx.Prediction:
    return classifier.predict(phantom.PHANTOMS[name]())


def studied(classifier: falx.Classifier) -> Study:
    return classifier.predict_study([phantom.clear(), b"none", phantom.lesion()], one_patient=True)


def test_results_and_classifiers_go_through_a_pool_of_processes() -> None:
    classifier = falx.load(engines=1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        study = pool.submit(studied, classifier)
        answers = list(pool.map(partial(predicted, classifier), phantom.PHANTOMS))
        assert answers == [predicted(classifier, name) for name in phantom.PHANTOMS]
        assert study.result().results == studied(classifier).results


@pytest.mark.parametrize("travel", TRAVELS)
def test_a_classifier_travels_as_its_file_and_settings(
    model: Path, head: Head, travel: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    classifier = falx.load(model.name, threads=2, engines=1)
    monkeypatch.chdir("/")
    other = travel(classifier)
    assert other is not classifier
    assert (other.path, other.threads, other.engine) == (model, 2, classifier.engine)
    assert other.predict(head) == classifier.predict(head)
    assert len(pickle.dumps(classifier)) < 1000


def test_a_classifier_of_the_wheels_model_loads_the_one_that_is_there() -> None:
    assert str(falx.load().path).encode() not in pickle.dumps(falx.load())
    assert pickled(falx.load()).path == falx.load().path


def test_another_file_where_a_classifier_arrives(model: Path, model_of: ModelOf) -> None:
    data = pickle.dumps(falx.load(model))
    assert model_of(falx.load(model).engine, version="2") == model
    with pytest.raises(ModelError, match=r"expected the model with SHA-256 .*; bring the same file"):
        loaded(data)
    model.unlink()
    with pytest.raises(errors.ModelNotFound, match="no such model file"):
        loaded(data)
