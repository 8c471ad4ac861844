"""A small model with both outputs, and images to export it with; made once for all export tests."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
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


def drawn(random: np.random.Generator, side: int) -> npt.NDArray[np.uint8]:
    """A textured square on black, `(side, side)`."""
    pixels = np.zeros((side, side), np.uint8)
    unit = side // 12
    top, left, size = (
        int(random.integers(*ends)) for ends in ((unit, 4 * unit), (unit, 4 * unit), (4 * unit, 7 * unit))
    )
    texture = random.integers(40, 256, (8, 8)).astype(np.uint8)
    pixels[top : top + size, left : left + size] = np.asarray(
        Image.fromarray(texture).resize((size, size), Image.Resampling.BICUBIC)
    )
    return pixels


def build_model(head: str = "map", dense: int = 16) -> Any:
    """What the trainer builds on a narrow backbone, with random weights that tell images apart."""
    import keras

    from falx_trainer import network

    keras.utils.set_random_seed(3)
    narrow = functools.partial(keras.applications.MobileNetV2, alpha=0.35)
    with mock.patch.object(keras.applications, "MobileNetV2", narrow):
        built = network.build(head, dense=dense, dropout=0.0, seed=7, weights=None)
    random = np.random.default_rng(5)
    normalisations = [x for x in built.backbone.layers if isinstance(x, keras.layers.BatchNormalization)]
    for layer in normalisations:
        layer.gamma.assign(random.uniform(0.8, 1.6, layer.gamma.shape))
        layer.beta.assign(random.normal(0.1, 0.2, layer.beta.shape))
        layer.momentum = 0.0
    # Statistics of images, as a training leaves them: without, all images look the same in the end.
    images = np.stack([drawn(random, 224) for _ in range(8)])[..., np.newaxis]
    built.backbone([images.astype(np.float32)], training=True)
    for layer in normalisations:
        layer.momentum = 0.99
    logits = built.head.get_layer("logits")
    logits.kernel.assign(4 * logits.kernel)
    return network.inference_model(built, temperature=1.5)


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """`build_model`, for tests that need a model of their own."""
    return build_model


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn images and their manifest."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(11)
    lines = ["path,label,source,split"]
    for index in range(IMAGES):
        pixels = drawn(random, 96)
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
