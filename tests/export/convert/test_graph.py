"""Models of runs that cannot be used, each with its own message."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from falx_export.convert.graph import loaded, output_shapes
from falx_runs.errors import RunError
from falx_runs.run_folder import read_run


def altered_facts(folder: Path, **fields: object) -> None:
    path = folder / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_loads_the_model_of_a_run(run_folder: Path) -> None:
    shapes = output_shapes(loaded(read_run(run_folder)))
    assert shapes == {
        "probabilities": (1, 4),
        "heatmap": (1, 14, 14),
        "familiarity": (1, 1),
        "no_brain": (1, 1),
    }


def refused(folder: Path, message: str) -> None:
    with pytest.raises(RunError, match=re.escape(message)):
        loaded(read_run(folder))


def test_a_model_that_is_missing_or_cut_short(altered: Path) -> None:
    path = altered / "model.keras"
    path.write_bytes(path.read_bytes()[:5000])
    refused(altered, "model.keras: Keras cannot load it")
    path.unlink()
    refused(altered, "has no model.keras; give the folder that")


def test_a_familiarity_that_the_model_does_not_give(altered: Path, build: Callable[..., Any]) -> None:
    build("gap").save(altered / "model.keras")
    altered_facts(altered, least_familiarity=0.5)
    refused(altered, "meta.json has least_familiarity, but the model has no output familiarity")


def test_a_model_with_another_input(altered: Path) -> None:
    image = keras.Input((32, 32, 3))
    keras.Model(image, {"probabilities": layers.Dense(4)(image)}).save(altered / "model.keras")
    refused(altered, "expected one input of shape (None, 224, 224, 1), got [(None, 32, 32, 3)]")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            {"heatmap": (7, 14)},
            "outputs may be probabilities (1, 4), heatmap (1, N, N) with N in 1..224, familiarity (1, 1), "
            "no_brain (1, 1); got heatmap (1, 7, 14)",
        ),
        ({"familiarity": (2,)}, "got familiarity (1, 2)"),
        ({"no_brain": (2,)}, "got no_brain (1, 2)"),
        ({"mask": (7, 7)}, "got mask (1, 7, 7)"),
        ({}, ""),
        ({"heatmap": (14, 14), "familiarity": (1,), "no_brain": (1,)}, ""),
    ],
)
def test_a_model_has_the_outputs_that_a_card_may_state(
    altered: Path, outputs: dict[str, tuple[int, ...]], message: str
) -> None:
    image, shapes = keras.Input((224, 224, 1)), {"probabilities": (4,), **outputs}
    flat = layers.GlobalAveragePooling2D()(image)
    made = {name: layers.Reshape(x)(layers.Dense(int(np.prod(x)))(flat)) for name, x in shapes.items()}
    keras.Model(image, made).save(altered / "model.keras")
    altered_facts(altered, least_familiarity=0.5 if "familiarity" in outputs else 0)
    if message:
        refused(altered, message)
    else:
        assert output_shapes(loaded(read_run(altered))) == {name: (1, *x) for name, x in shapes.items()}
