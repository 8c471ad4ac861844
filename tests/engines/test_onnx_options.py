"""Providers and session options of ONNX Runtime reach it, and none is left out silently."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.tiny import ModelOf

import falx
from falx.errors import EngineUnavailable

onnxruntime: Any = pytest.importorskip("onnxruntime")

Head = npt.NDArray[np.uint8]
CPU = "CPUExecutionProvider"


@pytest.fixture
def path(model_of: ModelOf) -> Path:
    return model_of("onnx")


def test_providers_and_options_reach_the_session(
    path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    real = onnxruntime.InferenceSession

    def session(*arguments: Any, **settings: Any) -> Any:
        seen.append(settings)
        return real(*arguments, **settings)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    providers: list[Any] = [(CPU, {"arena_extend_strategy": "kSameAsRequested"})]
    session_options = {"enable_cpu_mem_arena": False, "session.intra_op.allow_spinning": "0"}
    given = falx.OnnxOptions(providers=providers, session=session_options)
    classifier = falx.load(path, threads=2, onnx=given)
    assert classifier.predict(head) == falx.load(path).predict(head)
    (first, plain) = seen
    assert first["providers"] == providers
    assert plain["providers"] == [CPU]
    options = first["sess_options"]
    assert (options.intra_op_num_threads, options.enable_cpu_mem_arena) == (2, False)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert plain["sess_options"].enable_cpu_mem_arena


def test_a_provider_that_is_not_there(path: Path) -> None:
    there = ", ".join(onnxruntime.get_available_providers())
    several: list[list[Any]] = [[CPU, "NoExecutionProvider"], [("NoExecutionProvider", {}), CPU]]
    for providers in several:
        with pytest.raises(
            EngineUnavailable,
            match=rf"engine onnx: expected providers of {there}, got NoExecutionProvider; install .*-gpu",
        ):
            falx.load(path, onnx=falx.OnnxOptions(providers))
    with pytest.raises(EngineUnavailable, match="got none"):
        falx.load(path, onnx=falx.OnnxOptions([]))


def test_a_provider_that_does_not_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    session = SimpleNamespace(get_providers=lambda: [CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: session)
    with pytest.raises(EngineUnavailable, match=rf"expected providers of {CPU}, got CUDAExecutionProvider"):
        falx.load(path, onnx=falx.OnnxOptions(["CUDAExecutionProvider", CPU]))


@pytest.mark.parametrize(
    ("session", "message"),
    [
        ({"enable_speed": True}, "does not take enable_speed=True: .*no attribute 'enable_speed'"),
        ({"enable_profiling": "very"}, "does not take enable_profiling='very'"),
    ],
)
def test_an_option_that_is_not_known(path: Path, session: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        falx.load(path, onnx=falx.OnnxOptions(session=session))


def test_options_for_another_engine(any_engine: str, model: Path) -> None:
    if any_engine == "onnx":
        pytest.skip("this is the engine that takes them")
    with pytest.raises(ValueError, match=rf"onnx= is for engine onnx, this model runs on {any_engine}; give"):
        falx.load(model, onnx=falx.OnnxOptions())


def test_options_travel_with_the_classifier(path: Path, head: Head) -> None:
    classifier = falx.load(path, onnx=falx.OnnxOptions(session={"enable_cpu_mem_arena": False}))
    other = pickle.loads(pickle.dumps(classifier))  # noqa: S301 - it was pickled here
    assert other.predict(head) == classifier.predict(head)
