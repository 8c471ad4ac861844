from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests import tiny
from tests.cards import CARD
from tests.said import python
from tests.tiny import ModelOf

import falx
from falx import engines
from falx.errors import EngineUnavailable, GraphError, ModelError, UnknownEngine
from falx.model.card import Card, Format, TensorSpec


@pytest.fixture
def start() -> Callable[..., engines.Engine]:
    def run(name: str, of: Card = CARD, threads: int = 1) -> engines.Engine:
        kind: Any = engines.ENGINES[name][0]
        return engines.start(name, tiny.graph(kind), of, threads=threads)

    return run


@pytest.mark.parametrize("threads", [1, 2])
def test_an_engine_answers_as_numpy_does(
    engine: str, start: Callable[..., engines.Engine], threads: int
) -> None:
    running = start(engine, threads=threads)
    assert running.name == engine
    rng = np.random.default_rng(4)
    for high in (20, 120, 256):
        tensor = rng.integers(0, high, (224, 224), np.uint8)
        outputs = running.run(tensor)
        probabilities, cells = tiny.answer(tensor)
        assert outputs["probabilities"].dtype == outputs["heatmap"].dtype == np.float32
        assert outputs["probabilities"] == pytest.approx(probabilities, abs=1e-4)
        assert outputs["heatmap"] == pytest.approx(cells, abs=1e-4)


def test_an_answer_outlives_the_next_run(engine: str, start: Callable[..., engines.Engine]) -> None:
    running = start(engine)
    first = running.run(np.zeros((224, 224), np.uint8))
    kept = {name: value.copy() for name, value in first.items()}
    running.run(np.full((224, 224), 255, np.uint8))
    assert all(np.array_equal(first[name], kept[name]) for name in kept)


def test_a_graph_that_is_not_its_cards(engine: str, start: Callable[..., engines.Engine]) -> None:
    bare = replace(CARD, outputs={"probabilities": CARD.outputs["probabilities"]})
    message = (
        r"the graph's outputs are heatmap float32 \[1, 7, 7\], probabilities float32 \[1, 4\], "
        r"its card says probabilities float32 \[1, 4\]; export the model again"
    )
    with pytest.raises(GraphError, match=message):
        start(engine, bare)
    # A card refuses this in its constructor; here it stands for any graph that differs.
    other = replace(CARD)
    object.__setattr__(other, "input", TensorSpec("image", "float32", (1, 224, 224, 1)))
    with pytest.raises(GraphError, match=r"inputs are image uint8 .*, its card says image float32"):
        start(engine, other)


def test_bytes_that_are_no_graph(engine: str) -> None:
    with pytest.raises(GraphError, match=f"engine {engine} cannot run this graph"):
        engines.start(engine, b"\x1c\0\0\0TFL3" + bytes(64), CARD, threads=1)


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [({"ai_edge_litert", "tflite_runtime"}, "litert"), ({"tflite_runtime"}, "tflite"), (set(), "litert")],
)
def test_choosing_by_name_or_by_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], chosen: str
) -> None:
    there = SimpleNamespace()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: there if name in installed else None)
    assert engines.choose(None, "tflite") == chosen
    assert engines.choose(None, "onnx") == "onnx"
    assert [engines.choose(name, "tflite") for name in ("litert", "tflite")] == ["litert", "tflite"]
    assert engines.choose("onnx", "onnx") == "onnx"


@pytest.mark.parametrize(
    ("name", "kind", "raised", "message"),
    [
        ("tensorrt", "tflite", UnknownEngine, "unknown engine 'tensorrt'; known are litert, tflite, onnx"),
        (
            "onnx",
            "tflite",
            ModelError,
            "engine onnx runs onnx files, this one is tflite; use litert or tflite, "
            r"or give the model as the \.onnx file that falx_export wrote beside it",
        ),
        ("litert", "onnx", ModelError, "engine litert runs tflite files, this one is onnx; use onnx"),
    ],
)
def test_an_engine_that_cannot_be_chosen(
    name: str, kind: Format, raised: type[Exception], message: str
) -> None:
    with pytest.raises(raised, match=message):
        engines.choose(name, kind)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("litert", "ai-edge-litert, which is not installed: pip install ai-edge-litert"),
        (
            "tflite",
            r"tflite-runtime, for Python up to 3\.11 and NumPy 1, which is not installed: "
            r"pip install 'falx\[tflite\]'",
        ),
        ("onnx", r".*: pip install 'falx\[onnx\]'"),
    ],
)
def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    package = engines.ENGINES[name][1]
    for loaded in [key for key in sys.modules if key.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, loaded)
    # None in sys.modules is how Python itself marks what must not be imported.
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EngineUnavailable, match=rf"engine {name} needs {message}"):
        engines.start(name, b"", CARD, threads=1)


def test_tflite_runtime_beside_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise SystemError("returned a result with an exception set") from AttributeError(
            "_ARRAY_API not found"
        )

    package = ModuleType("tflite_runtime")
    package.interpreter = ModuleType("tflite_runtime.interpreter")  # type: ignore[attr-defined] # made here
    package.interpreter.Interpreter = fail
    monkeypatch.setitem(sys.modules, "tflite_runtime", package)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", package.interpreter)
    with pytest.raises(
        EngineUnavailable,
        match=rf"engine tflite does not work with NumPy {np.__version__} \(_ARRAY_API not found\): "
        r"pip install 'numpy<2', or use engine litert",
    ):
        engines.start("tflite", b"", CARD, threads=1)


@pytest.mark.parametrize(
    ("machine", "form", "warned"),
    [
        ("x86_64", "int8", True),
        ("AMD64", "int8", True),
        ("x86_64", "float16", False),
        ("aarch64", "int8", False),
    ],
)
def test_the_caution_about_int8_on_x86(
    monkeypatch: pytest.MonkeyPatch, machine: str, form: str, warned: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    of = replace(CARD, quantization={"format": form, "scheme": ""})
    caution = engines.caution("tflite", of)
    assert (caution is not None) is warned
    if caution is not None:
        assert "15 times slower than LiteRT" in caution
    assert engines.caution("litert", of) is None


def test_loading_warns_once_of_int8_on_x86(
    monkeypatch: pytest.MonkeyPatch, any_engine: str, model_of: ModelOf
) -> None:
    monkeypatch.setattr("falx.classifier.caution", lambda *_: "slow here")
    path = model_of(any_engine)
    with pytest.warns(falx.FalxWarning, match="slow here") as caught:
        classifier = falx.load(path, engine=any_engine)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    list(classifier.predict_many([], workers=2))


def test_no_engine_is_imported_for_another(engine: str, model_of: ModelOf) -> None:
    # In a process of its own, where what other tests loaded is not loaded.
    code = (
        "import sys, warnings; import falx; warnings.simplefilter('ignore'); "
        "falx.load(sys.argv[1], engine=sys.argv[2]); "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = python("-c", code, model_of(engine), engine)
    assert done.status == 0, done.err
    packages = {package for _, package in engines.ENGINES.values()}
    assert {*done.out.split()} & packages == {engines.ENGINES[engine][1]}


@pytest.mark.parametrize("before", [None, "0"])
def test_onnx_runtime_sees_no_telemetry_and_the_environment_stays(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    code = (
        "import os\n"
        "from falx.engines import onnx\n"
        "seen, real = [], onnx.importlib.import_module\n"
        "def imported(name):\n"
        "    seen.append((name, os.environ.get('ORT_DISABLE_TELEMETRY')))\n"
        "    return real(name)\n"
        "onnx.importlib.import_module = imported\n"
        "before = dict(os.environ)\n"
        "try: onnx.start(b'', None, 1)\n"
        "except onnx.GraphError: pass\n"
        "assert seen[0] == ('onnxruntime', '1'), seen\n"
        "assert dict(os.environ) == before\n"
    )
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    assert python("-c", code, **{} if before is None else {"ORT_DISABLE_TELEMETRY": before}).status == 0
