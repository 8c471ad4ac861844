"""A self-contained TFLite file where Falx isn't needed to run it: with the bare engine installed here.

`self-contained.tflite` is what the export makes of a graph whose answers are pixels of the image; see
`pixel_model` in `tests/export/conftest.py`, where a test holds that the export still makes the same.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engines.alone import ALONE

from falx.decision import decide
from falx.model import file as model_file
from falx.slices.rejection import check_familiarity
from falx.words import DECISIONS, REJECTED

FILE = Path(__file__).with_name("self-contained.tflite")
PACKAGES = {"litert": "ai_edge_litert", "tflite": "tflite_runtime"}


def interpreter(engine: str) -> Any:
    if ALONE not in (None, engine) or importlib.util.find_spec(PACKAGES[engine]) is None:
        pytest.skip(f"{PACKAGES[engine]} is not what is tried here")
    module = importlib.import_module(f"{PACKAGES[engine]}.interpreter")
    try:
        return module.Interpreter(model_path=str(FILE))
    except SystemError as error:
        # tflite-runtime beside NumPy 2, which `falx.engines` tells too.
        pytest.skip(f"{PACKAGES[engine]} does not run here: {error}")


@pytest.mark.parametrize("engine", PACKAGES)
def test_a_bare_engine_decides_as_falx(engine: str) -> None:
    runner = interpreter(engine).get_signature_runner("serving_default")
    card, _ = model_file.read(FILE)
    random = np.random.default_rng(4)
    decided = []
    for _ in range(100):
        pixels = random.integers(0, 256, 5)
        image = np.zeros((1, 224, 224, 1), np.uint8)
        image[0, 0, :5, 0] = pixels
        answer = runner(image=image)
        values = answer["probabilities"][0].tolist()
        np.testing.assert_array_equal(values, pixels[:4] / 256)
        unfamiliar = check_familiarity(answer["familiarity"].item(), card.rejection)
        wanted = REJECTED if unfamiliar else decide(values, card.thresholds)
        assert DECISIONS[answer["decision"].item()] == wanted
        assert answer["confidence"].item() == dict(zip(card.labels, values, strict=True)).get(wanted, 0)
        decided.append(wanted)
    assert set(decided) == set(DECISIONS)
