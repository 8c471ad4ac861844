"""A small model with all outputs, and images to export it with; made once for all export tests."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests import cards
from tests.finished import finished
from tests.said import Command, runner

from falx.decision import DEFAULT_THRESHOLDS, Thresholds
from falx.model.card import Card
from falx.slices.limits import Limits
from falx.words import LABELS
from falx_runs.run_folder import Calibration, write_run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("the export needs TensorFlow", allow_module_level=True)

import keras
from keras import layers

from falx_trainer.training import network

IMAGES = 48
"""Half of them in each of train and val."""


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
    """A model as the trainer builds it, but narrow, with random weights that tell images apart.

    Args:
        head: `map`, with a heatmap and familiarity, or `gap`, the plain one.
        dense: width of the hidden layer.
    """
    keras.utils.set_random_seed(3)
    colour = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=None, alpha=0.35)
    _normalise(colour)
    shape = tuple(colour.get_layer(network.DETAIL).output.shape[1:])
    with (
        mock.patch.object(keras.applications, "MobileNetV2", return_value=colour),
        mock.patch.object(network, "DETAIL_SHAPE", shape),
    ):
        built = network.build(head, dense, dropout=0.0, seed=7, weights=None, familiarity=head == "map")
    if head == "map":
        local = built.head.get_layer("local")
        local.kernel.assign(np.random.default_rng(8).normal(0, 0.3, local.kernel.shape))
    _spread(built.head)
    return network.inference_model(built, Calibration(1.5, 0.5, 1.2))


def _normalise(colour: Any) -> None:
    """Give what the trainer folds statistics of images; without, all images look the same in the end."""
    random = np.random.default_rng(5)
    for layer in colour.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(random.uniform(0.8, 1.6, layer.gamma.shape))
            layer.beta.assign(random.normal(0.1, 0.2, layer.beta.shape))
            layer.momentum = 0.0
    images = np.stack([drawn(random, 224) for _ in range(8)])[..., np.newaxis].astype(np.float32)
    colour(np.repeat(images, 3, axis=-1) / 127.5 - 1, training=True)


def _spread(head: Any) -> None:
    """Give a head biases, and logits that differ from each other."""
    random = np.random.default_rng(6)
    for layer in head.layers:
        if getattr(layer, "use_bias", False):
            layer.bias.assign(random.normal(0, 0.2, layer.bias.shape))
    logits = head.get_layer("logits")
    logits.kernel.assign(4 * logits.kernel)


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
    thresholds = replace(DEFAULT_THRESHOLDS, pituitary=0.5)
    write_run(finished(folder, thresholds=thresholds, changes={"batch": 8}, weights="imagenet"))
    first, *rows = (data / "manifest.csv").read_text().splitlines()
    (folder / "data.csv").write_text("\n".join([first, *(f"{data}/{row}" for row in rows)]) + "\n")
    return folder


WIDE = {"largest": 0.6, "mean": 0.08, "decisions": 0.4, "missed": 0.0, "heatmap": 0.9, "familiarity": 0.9}
"""Random weights make a model on edge everywhere; what is tested is that the numbers are kept to. How near
a trained model comes, its parity.json says."""


class Exported(NamedTuple):
    """The files that an export left, and what it printed."""

    folder: Path
    printed: str


@pytest.fixture(scope="session")
def wide() -> dict[str, float]:
    """The tolerance of int8 that the small model is held to."""
    return WIDE


@pytest.fixture(scope="session")
def arguments() -> Callable[..., list[str]]:
    """Arguments of an export of a run to a folder, with few slices and wide tolerances, and more behind."""

    def of(run: Path, out: Path, *more: str) -> list[str]:
        tolerances = ["float16.heatmap=0.2", *(f"int8.{key}={value}" for key, value in WIDE.items())]
        words = [word for tolerance in tolerances for word in ("--tolerance", tolerance)]
        return [str(run), "--out", str(out), "--samples", "12", "--calibration", "16", *words, *more]

    return of


@pytest.fixture(scope="session")
def exported(
    run_folder: Path, arguments: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """The run with all its files, exported once for all tests."""
    from falx_export.__main__ import main

    out = tmp_path_factory.mktemp("exported") / "models" / "small"
    printed = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        # The quantizers warn of what the export asks of them on purpose.
        warnings.simplefilter("ignore")
        assert main(arguments(run_folder, out, "--self-contained", "--mediapipe")) == 0
    return Exported(out, printed.getvalue())


@pytest.fixture
def altered(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the run to spoil."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("model.keras", "meta.json", "data.csv"):
        (folder / name).write_bytes((run_folder / name).read_bytes())
    return folder


PIXEL_OUTPUTS = {"probabilities": (1, 4), "heatmap": (1, 14, 14), "familiarity": (1, 1)}


@pytest.fixture(scope="session")
def pixel_model() -> bytes:
    """A TFLite graph with all outputs, each read off a pixel of the image, so that a test can ask for any.

    Of the first row, over 256: four `probabilities`, then `familiarity`; `heatmap` is the corner behind.
    """
    import tensorflow as tf

    from falx_export.convert import flatbuffer

    @tf.function(input_signature=[tf.TensorSpec((1, 224, 224, 1), tf.uint8, name="image")])  # type: ignore[untyped-decorator] # TensorFlow has no types
    def answer(image: Any) -> Any:
        values = tf.cast(image, tf.float32) / 256.0
        return values[:, 0, :4, 0], values[:, -14:, -14:, 0], values[:, 0, 4, :]

    concrete = answer.get_concrete_function()
    data = tf.lite.TFLiteConverter.from_concrete_functions([concrete], answer).convert()
    document = flatbuffer.parsed(data)
    graph = document.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = b"image"
    by_shape = {tuple(int(x) for x in graph.tensors[i].shape): i for i in graph.outputs}
    graph.outputs = [by_shape[shape] for shape in PIXEL_OUTPUTS.values()]
    for name, shape in PIXEL_OUTPUTS.items():
        graph.tensors[by_shape[shape]].name = name.encode()
    flatbuffer.sign(document)
    return flatbuffer.packed(document)


@pytest.fixture(scope="session")
def pixel_card() -> Card:
    """The card of `pixel_model`; its thresholds are values that a pixel can have, but for the second."""
    return cards.card(
        PIXEL_OUTPUTS,
        name="pixels",
        version="2.1.0",
        thresholds=Thresholds(204 / 256, 0.7, 154 / 256, 102 / 256),
        metrics={},
        provenance={},
        rejection=Limits(least_familiarity=0.2),
    )


@pytest.fixture
def exporter(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `python -m falx_export` in this process."""
    from falx_export.__main__ import main

    return runner(main, capsys)
