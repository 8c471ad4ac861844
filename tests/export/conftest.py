"""A small model with both outputs, and images to export it with; made once for all export tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

LABELS = ["no_tumor", "meningioma", "glioma", "pituitary"]
IMAGES = 48
"""Half of them in each of train and val."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pass what TensorFlow's variables warn of under NumPy 2, which Keras brings about."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"))


def meta() -> dict[str, Any]:
    """What a training writes beside its model."""
    return {
        "schema": 1,
        "name": "small",
        "preset": "default",
        "changes": {"batch": 8},
        "weights": "imagenet",
        "labels": LABELS,
        "preprocessing": "falx-head-1",
        "temperature": 1.5,
        "thresholds": {"no_tumor": 0.85, "meningioma": 0.6, "glioma": 0.55, "pituitary": 0.5},
        "seed": 7,
        "trainer": "0.1.0",
        "data": {"fingerprint": "0" * 64, "sources": {"drawn": IMAGES}},
        "metrics": {"val": {"accuracy": 0.5}},
        "versions": {"keras": "3"},
        "seconds": 1.0,
    }


def build_model() -> Any:
    """A narrow MobileNetV2 with a local head, random weights and batch normalisation that does something."""
    import keras
    from keras import layers, ops

    keras.utils.set_random_seed(3)
    image = keras.Input((224, 224, 1), name="image")
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    backbone = keras.applications.MobileNetV2(
        (224, 224, 1), alpha=0.35, include_top=False, weights=None, input_tensor=scaled, name="backbone"
    )
    random = np.random.default_rng(5)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    random.uniform(0.8, 1.6, gamma.shape),
                    random.normal(0.1, 0.2, beta.shape),
                    random.normal(0, 0.05, mean.shape),
                    random.uniform(0.3, 0.9, variance.shape),
                ]
            )
    features = keras.Input(backbone.output.shape[1:], name="features")
    hidden = layers.Conv2D(256, 1, activation="relu", name="hidden")(features)
    cells = ops.reshape(layers.Conv2D(4, 1, name="local")(hidden), (-1, 49, 4))
    evidence = cells[:, :, 0]
    tumor = ops.logsumexp(evidence, axis=1, keepdims=True) - float(np.log(7))
    attention = ops.expand_dims(ops.softmax(evidence, axis=1), -1)
    kind = ops.log_softmax(ops.sum(attention * cells[:, :, 1:], axis=1), axis=-1)
    logits = ops.concatenate([ops.zeros_like(tumor), tumor + kind], axis=-1)
    head = keras.Model(
        features, {"logits": logits, "evidence": ops.reshape(evidence, (-1, 7, 7))}, name="head"
    )
    whole = keras.Input((224, 224, 1), name="image")
    outputs = head(backbone(whole, training=False), training=False)
    scaled_logits = layers.Rescaling(1 / 1.5, name="temperature")(outputs["logits"])
    answer = {
        "probabilities": layers.Softmax(name="probabilities")(scaled_logits),
        "heatmap": layers.Activation("sigmoid", name="heatmap")(outputs["evidence"]),
    }
    return keras.Model(whole, answer, name="falx")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn images and their manifest."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(11)
    lines = ["path,label,source,split"]
    for index in range(IMAGES):
        pixels = np.zeros((96, 96), np.uint8)
        top, left, size = (int(random.integers(*ends)) for ends in ((8, 30), (8, 30), (30, 58)))
        texture = random.integers(40, 256, (8, 8)).astype(np.uint8)
        pixels[top : top + size, left : left + size] = np.asarray(
            Image.fromarray(texture).resize((size, size), Image.Resampling.BICUBIC)
        )
        name = f"{index:02}.png"
        Image.fromarray(pixels).save(folder / name)
        lines.append(f"{name},{LABELS[index % 4]},drawn,{'train' if index % 2 else 'val'}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def run_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as the trainer leaves it."""
    folder = tmp_path_factory.mktemp("run")
    build_model().save(folder / "model.keras")
    (folder / "meta.json").write_text(json.dumps(meta()))
    first, *rows = (data / "manifest.csv").read_text().splitlines()
    (folder / "data.csv").write_text("\n".join([first, *(f"{data}/{row}" for row in rows)]) + "\n")
    return folder


@pytest.fixture
def altered(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the run to spoil."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("model.keras", "meta.json", "data.csv"):
        (folder / name).write_bytes((run_folder / name).read_bytes())
    return folder
