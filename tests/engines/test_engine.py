"""One engine against the released files, as it is installed here.

In an environment of an engine's own, FALX_TEST_ENGINE names it: then it must work, and the others must
say what they need. Elsewhere whatever is installed is tried.
"""

from __future__ import annotations

import contextlib
import platform
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.engines.alone import ALONE, load

import falx
from falx import check, phantom
from falx.command import main
from falx.engines import ENGINES, tflite
from falx.errors import EngineUnavailable, FalxWarning
from falx.model import file as model_file
from falx.model.file import DEFAULT_MODEL
from falx.words import LABELS

RELEASED = sorted((Path(__file__).parents[2] / "models").glob("*/*.*"))
FILES = [path for path in RELEASED if path.suffix in (".tflite", ".onnx")]
# Self-contained files are for programs without Falx.
MODELS = [DEFAULT_MODEL, *(path for path in FILES if not model_file.read(path)[0].self_contained)]

EVERY_RUN = [
    pytest.param(engine, model, id=f"{engine}-{model.name}")
    for engine, (format_, _) in ENGINES.items()
    for model in MODELS
    if model.suffix == f".{format_}" and ALONE in (None, engine)
]


@pytest.mark.parametrize(("engine", "model"), EVERY_RUN)
def test_an_engine_answers_as_the_card_says(engine: str, model: Path) -> None:
    classifier = load(engine, model)
    assert classifier.engine == engine
    assert classifier.card.self_test != ()
    allowed = check.TOLERANCES[classifier.card.quantization["format"]]
    for known in classifier.card.self_test:
        answer = classifier.predict(phantom.PHANTOMS[known.phantom]())
        assert answer.probabilities is not None
        got = [answer.probabilities[label] for label in LABELS]
        assert got == pytest.approx(known.probabilities, abs=allowed)


@pytest.mark.parametrize(("engine", "model"), EVERY_RUN)
def test_threads_change_no_answer(engine: str, model: Path) -> None:
    image = phantom.lesion()
    one, two = (load(engine, model, threads).predict(image).probabilities for threads in (1, 2))
    assert one is not None
    assert two is not None
    assert np.allclose(list(one.values()), list(two.values()), atol=1e-5)


@pytest.mark.skipif(ALONE is None, reason="only where one engine is installed alone")
@pytest.mark.parametrize("engine", [name for name in ENGINES if name != ALONE])
def test_engines_that_are_not_here_say_what_they_need(engine: str) -> None:
    format_, _ = ENGINES[engine]
    model = next(path for path in MODELS if path.suffix == f".{format_}")
    with pytest.raises(EngineUnavailable, match="pip install"):
        falx.load(model, engine=engine)


@pytest.mark.skipif(ALONE is None, reason="only where one engine is installed alone")
def test_the_installed_wheel_is_what_is_tested() -> None:
    assert "site-packages" in Path(falx.__file__).parts
    with contextlib.suppress(ImportError):
        import tensorflow

        pytest.fail(f"this environment is not the wheel's own: it has {tensorflow.__file__}")


@pytest.mark.skipif(ALONE != "tflite", reason="only where tflite-runtime is installed alone")
def test_int8_on_x86_is_said_to_be_slow_by_python_and_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # Nobody asked for this engine: it is the only one here.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FalxWarning)
        classifier = falx.load()
    assert classifier.engine == "tflite"
    said = [str(warning.message) for warning in caught if warning.category is FalxWarning]
    slow = classifier.card.quantization["format"] == "int8" and platform.machine().lower() in tflite.X86
    assert [
        ("15 times slower than LiteRT" in text, "pip install ai-edge-litert" in text) for text in said
    ] == ([(True, True)] if slow else [])
    path = tmp_path / "slice.png"
    Image.fromarray(phantom.lesion()).save(path)
    assert main.main(["predict", str(path)]) == 0
    assert capsys.readouterr().err == "".join(f"falx: warning: {text}\n" for text in said)
