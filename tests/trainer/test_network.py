from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit, softmax

from falx_trainer import training
from falx_trainer.network import FEATURES_SHAPE, Network, build, inference_model, set_trainable
from falx_trainer.recipe import Recipe

Floats = npt.NDArray[np.floating]


@pytest.fixture(scope="module")
def images() -> Floats:
    """`(2, 224, 224, 1)` float32 0..255: noise, and a ramp."""
    noise = np.random.default_rng(5).integers(0, 256, (224, 224))
    return np.stack([noise, np.tile(np.arange(224), (224, 1))])[..., None].astype(np.float32)


@pytest.fixture(scope="module")
def networks(random_weights: Path) -> dict[str, Network]:
    return {head: build(head, 16, 0.3, 7, random_weights) for head in ("gap", "map")}


def difference_from_colour(weights: Path, backbone: Any, images: Floats) -> float:
    colour = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=str(weights))
    expected = colour.predict_on_batch(np.repeat(images / 127.5 - 1, 3, axis=-1))
    assert expected.max() > 0.01
    return float(np.abs(backbone.predict_on_batch(images) - expected).max() / expected.max())


def test_one_channel_is_three_equal_ones(
    networks: dict[str, Network], random_weights: Path, images: Floats
) -> None:
    assert difference_from_colour(random_weights, networks["gap"].backbone, images) < 1e-4


def test_one_channel_is_three_equal_ones_with_imagenet_weights(
    imagenet_weights: Path, images: Floats
) -> None:
    network = build("gap", 8, 0.3, 7, imagenet_weights)
    assert difference_from_colour(imagenet_weights, network.backbone, images) < 1e-4


def test_heads_compute_what_is_documented(networks: dict[str, Network]) -> None:
    features = np.random.default_rng(2).random((3, *FEATURES_SHAPE)).astype(np.float32)
    for kind, network in networks.items():
        head = network.head
        hidden, bias = head.get_layer("hidden").get_weights()
        last, last_bias = head.get_layer("logits").get_weights()
        assert hidden.shape == (1280, 16)
        pooled = features.mean(axis=(1, 2))
        logits = np.maximum(pooled @ hidden + bias, 0) @ last + last_bias
        outputs = head.predict_on_batch(features)
        np.testing.assert_allclose(outputs["logits"], logits, atol=1e-4)
        assert outputs.keys() == ({"logits"} if kind == "gap" else {"logits", "evidence"})
        if kind == "map":
            kernel, kernel_bias = head.get_layer("evidence").get_weights()
            evidence = features @ kernel[0, 0, :, 0] + kernel_bias
            np.testing.assert_allclose(outputs["evidence"], evidence, atol=1e-4)


def test_the_seed_makes_the_head(networks: dict[str, Network]) -> None:
    kernel = networks["gap"].head.get_layer("hidden").get_weights()[0]
    same, other = (
        build("gap", 16, 0.3, seed, None).head.get_layer("hidden").get_weights()[0] for seed in (7, 8)
    )
    np.testing.assert_array_equal(same, kernel)
    assert (other != kernel).any()


@pytest.mark.parametrize("last", [0, 1, 60, 154])
def test_last_layers_are_trainable_and_batch_normalisation_is_not(
    networks: dict[str, Network], last: int
) -> None:
    backbone = networks["gap"].backbone
    set_trainable(networks["gap"], 154)
    set_trainable(networks["gap"], last)
    for index, layer in enumerate(backbone.layers):
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        assert layer.trainable == (index >= len(backbone.layers) - last and not normalises)
    assert all(layer.trainable for layer in networks["gap"].head.layers)


def test_stage_2_changes_the_last_60_layers_and_no_others(random_weights: Path, images: Floats) -> None:
    """Neither weights nor statistics of batch normalisation change, nor anything before."""
    network = build("gap", 16, 0.0, 7, random_weights)
    set_trainable(network, 0)
    training._compile(network.head, Recipe())  # as stage 1 leaves it
    set_trainable(network, 60)
    training._compile(network.whole, Recipe())
    layers = network.backbone.layers
    before = [layer.get_weights() for layer in layers]
    head_before = network.head.get_weights()
    network.whole.optimizer.learning_rate = 0.01
    network.whole.fit(
        images, {"logits": np.eye(4, dtype=np.float32)[[1, 2]]}, batch_size=2, epochs=2, verbose=0
    )
    changed = {
        layer.name
        for layer, old in zip(layers, before, strict=True)
        if any((new != was).any() for new, was in zip(layer.get_weights(), old, strict=True))
    }
    convolutions = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    assert changed == {layer.name for layer in layers[-60:] if isinstance(layer, convolutions)}
    assert len(changed) == 20
    assert all((new != was).any() for new, was in zip(network.head.get_weights(), head_before, strict=True))


LOAD = """
import sys, numpy, keras
images = numpy.load(sys.argv[1])
for path in sys.argv[2:]:
    answer = keras.models.load_model(path).predict_on_batch(images)
    numpy.savez(path + ".npz", **answer)
assert not any(name.startswith("falx") for name in sys.modules)
"""


def test_a_saved_model_loads_with_keras_alone_and_answers_the_same(
    networks: dict[str, Network], images: Floats, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images)
    expected, paths = {}, []
    for kind, network in networks.items():
        # As training leaves it: what the losses are must not travel in the file.
        training._compile(network.head, Recipe(head=kind))
        training._compile(network.whole, Recipe(head=kind))
        model = inference_model(network, 1.7)
        for suffix in ("keras", "h5"):
            path = tmp_path / f"{kind}.{suffix}"
            model.save(path)
            paths.append(str(path))
            expected[str(path)] = model.predict_on_batch(images)
        outputs = network.whole.predict_on_batch(images)
        answer = expected[paths[-1]]
        np.testing.assert_allclose(
            answer["probabilities"], softmax(outputs["logits"] / 1.7, axis=1), atol=1e-5
        )
        assert answer.keys() == ({"probabilities"} if kind == "gap" else {"probabilities", "heatmap"})
        if kind == "map":
            np.testing.assert_allclose(answer["heatmap"], expit(outputs["evidence"]), atol=1e-5)
    command = [sys.executable, "-I", "-c", LOAD, str(tmp_path / "images.npy"), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in paths:
        with np.load(name + ".npz") as file:
            assert set(file.files) == set(expected[name])
            for output in file.files:
                np.testing.assert_allclose(file[output], expected[name][output], atol=1e-6)
