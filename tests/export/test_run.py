"""Folders that are no runs, each with its own message."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("the export needs TensorFlow", allow_module_level=True)

from falx_export import run
from falx_runs.errors import RunError


def change(folder: Path, **fields: Any) -> None:
    path = folder / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_reads_a_run(run_folder: Path) -> None:
    read = run.read(run_folder)
    assert (read.name, read.temperature, read.outputs) == ("small", 1.5, ("probabilities", "heatmap"))
    assert read.thresholds.to_dict()["no_tumor"] == 0.85
    assert len(read.provenance["model_sha256"]) == 64
    assert read.provenance["changes"] == {"batch": 8}
    assert read.provenance["weights"] == "imagenet"
    assert read.data == run_folder / "data.csv"
    assert read.least_familiarity == 0


def test_what_an_older_run_lacks_is_left_out(altered: Path) -> None:
    meta = json.loads((altered / "meta.json").read_text())
    del meta["changes"], meta["weights"]
    (altered / "meta.json").write_text(json.dumps(meta))
    (altered / "data.csv").unlink()
    read = run.read(altered)
    assert not {"changes", "weights"} & read.provenance.keys()
    assert read.data is None


def test_a_name_given_takes_the_place_of_the_runs(altered: Path) -> None:
    change(altered, name="not a name")
    assert run.read(altered, "mine").name == "mine"
    with pytest.raises(RunError, match=re.escape("got '../x'")):
        run.read(altered, "../x")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema": 2}, "schema must be 1, got 2"),
        ({"name": "../x"}, "name must be a name of letters, digits, '.', '_' and '-', got '../x'"),
        (
            {"labels": ["glioma"]},
            "labels must be ['no_tumor', 'meningioma', 'glioma', 'pituitary'], in this order",
        ),
        ({"preprocessing": "other"}, "preprocessing must be 'falx-head-1', got 'other'"),
        ({"temperature": 0}, "temperature must be a number above 0, got 0"),
        ({"temperature": True}, "temperature must be a number above 0, got True"),
        ({"thresholds": {"glioma": 0.5}}, "no threshold for no_tumor, meningioma, pituitary"),
        (
            {"thresholds": {"no_tumor": 1.5, "meningioma": 0.6, "glioma": 0.5, "pituitary": 0.5}},
            "threshold of no_tumor must be in (0, 1], got 1.5",
        ),
        ({"license": 3}, "license must be a text, got 3"),
        ({"least_familiarity": 1.5}, "least_familiarity must be a number in 0..1, got 1.5"),
        ({"least_familiarity": "0.5"}, "least_familiarity must be a number in 0..1, got '0.5'"),
        (
            {"least_familiarity": 0.5},
            "meta.json has least_familiarity, but the model has no output familiarity",
        ),
        ({"weights": None}, "weights must be a text, got None"),
        ({"changes": ["batch"]}, "changes must be an object, got ['batch']"),
    ],
)
def test_a_wrong_field_is_named(altered: Path, fields: dict[str, Any], message: str) -> None:
    change(altered, **fields)
    with pytest.raises(RunError, match=re.escape(message)):
        run.read(altered)


def test_a_missing_field_is_named(altered: Path) -> None:
    meta = json.loads((altered / "meta.json").read_text())
    del meta["seed"]
    (altered / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(RunError, match=re.escape("lacks 'seed' (an integer)")):
        run.read(altered)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a run folder, found none there"):
        run.read(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["meta.json", "model.keras"])
def test_a_missing_file(altered: Path, name: str) -> None:
    (altered / name).unlink()
    with pytest.raises(RunError, match=f"has no {name}; give the folder that"):
        run.read(altered)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "expected JSON that can be read"), ("[]", "expected a JSON object, got list")]
)
def test_meta_that_is_no_object(altered: Path, text: str, message: str) -> None:
    (altered / "meta.json").write_text(text)
    with pytest.raises(RunError, match=message):
        run.read(altered)


def test_a_model_cut_short(altered: Path) -> None:
    path = altered / "model.keras"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(RunError, match=r"model\.keras: Keras cannot load it"):
        run.read(altered)


def test_a_model_with_another_input(altered: Path) -> None:
    import keras

    image = keras.Input((32, 32, 3))
    keras.Model(image, {"probabilities": keras.layers.Dense(4)(image)}).save(altered / "model.keras")
    with pytest.raises(
        RunError, match=re.escape("expected one input of shape (None, 224, 224, 1), got [(None, 32, 32, 3)]")
    ):
        run.read(altered)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            {"heatmap": (7, 14)},
            "outputs may be probabilities (1, 4), heatmap (1, N, N) with N in 1..224, familiarity (1, 1); "
            "got heatmap (1, 7, 14)",
        ),
        ({"familiarity": (2,)}, "got familiarity (1, 2)"),
        ({"mask": (7, 7)}, "got mask (1, 7, 7)"),
        ({}, None),
        ({"heatmap": (14, 14), "familiarity": (1,)}, None),
    ],
)
def test_a_model_has_the_outputs_that_a_card_may_state(
    altered: Path, outputs: dict[str, tuple[int, ...]], message: str | None
) -> None:
    import keras
    from keras import layers

    image = keras.Input((224, 224, 1))
    flat = layers.GlobalAveragePooling2D()(image)
    made = {
        name: layers.Reshape(shape)(layers.Dense(int(np.prod(shape)))(flat))
        for name, shape in {"probabilities": (4,), **outputs}.items()
    }
    keras.Model(image, made).save(altered / "model.keras")
    change(altered, least_familiarity=0.5 if "familiarity" in outputs else 0)
    if message is None:
        read = run.read(altered)
        assert run.output_shapes(read.model) == {
            name: (1, *shape) for name, shape in {"probabilities": (4,), **outputs}.items()
        }
        assert read.least_familiarity == (0.5 if outputs else 0)
    else:
        with pytest.raises(RunError, match=re.escape(message)):
            run.read(altered)
