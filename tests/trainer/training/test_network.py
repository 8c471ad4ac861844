from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import expit, softmax

from falx_runs.run_folder import Calibration
from falx_trainer.training import network as network_module
from falx_trainer.training import stages
from falx_trainer.training.calibration import probabilities
from falx_trainer.training.network import (
    BRAIN,
    DETAIL,
    DETAIL_SHAPE,
    FEATURES_SHAPE,
    NO_BRAIN,
    Network,
    build,
    inference_model,
    set_precision,
    set_trainable,
    split,
)
from falx_trainer.training.recipe import Recipe

Floats = npt.NDArray[np.floating]


@pytest.fixture(scope="module")
def images() -> Floats:
    """`(2, 224, 224, 1)` float32 0..255: noise, and a ramp."""
    noise = np.random.default_rng(5).integers(0, 256, (224, 224))
    return np.stack([noise, np.tile(np.arange(224), (224, 1))])[..., None].astype(np.float32)


@pytest.fixture(scope="module")
def networks(random_weights: Path) -> dict[str, Network]:
    return {
        head: build(head, 16, 0.3, 7, random_weights, familiarity=head == "map") for head in ("gap", "map")
    }


def difference_from_colour(weights: Path, network: Network, images: Floats) -> list[float]:
    """Returns how far outputs are from those of Keras's backbone with three channels and normalisation."""
    colour = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=str(weights))
    colour = keras.Model(colour.input, [colour.output, colour.get_layer(DETAIL).output])
    expected = colour.predict_on_batch(np.repeat(images / 127.5 - 1, 3, axis=-1))
    found = network.backbone.predict_on_batch(images)
    pairs = zip(found if isinstance(found, list) else [found], expected, strict=False)
    assert all(np.abs(values).max() > 0.01 for values in expected)
    return [float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs]


@pytest.mark.parametrize(("kind", "outputs"), [("gap", 1), ("map", 2)])
def test_the_backbone_is_that_of_keras_for_grey(
    kind: str, outputs: int, networks: dict[str, Network], random_weights: Path, images: Floats
) -> None:
    differences = difference_from_colour(random_weights, networks[kind], images)
    assert len(differences) == outputs
    assert max(differences) < 1e-4
    normalising = [
        layer
        for layer in networks[kind].backbone.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert normalising == []


def test_the_backbone_is_that_of_keras_for_grey_with_imagenet_weights(
    imagenet_weights: Path, images: Floats
) -> None:
    assert (
        max(difference_from_colour(imagenet_weights, build("map", 8, 0.3, 7, imagenet_weights), images))
        < 1e-4
    )


def test_batch_normalisation_is_folded_exactly() -> None:
    """Also where statistics and scales are not those of the shared weights file, which are 0 and 1."""
    colour = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=None)
    rng = np.random.default_rng(3)
    for layer in colour.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, shape),
                    rng.normal(0, 0.2, shape),
                    rng.normal(0, 0.2, shape),
                    rng.uniform(0.5, 2, shape),
                ]
            )
    backbone = network_module._backbone(colour, with_detail=True)
    image = rng.uniform(0, 255, (1, 224, 224, 1)).astype(np.float32)
    expected = colour.predict_on_batch(np.repeat(image / 127.5 - 1, 3, axis=-1))
    found = backbone.predict_on_batch(image)[0]
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(np.abs(expected).max()))


def test_heads_compute_what_is_documented(networks: dict[str, Network]) -> None:
    rng = np.random.default_rng(2)
    features = rng.random((3, *FEATURES_SHAPE)).astype(np.float32)
    detail = rng.normal(size=(3, *DETAIL_SHAPE)).astype(np.float32)
    for kind, network in networks.items():
        head = network.head
        hidden, bias = head.get_layer("hidden").get_weights()
        last, last_bias = head.get_layer("logits").get_weights()
        assert hidden.shape == (1280, 16)
        activated = np.maximum(features.mean(axis=(1, 2)) @ hidden + bias, 0)
        logits = activated @ last + last_bias
        outputs = head.predict_on_batch(features if kind == "gap" else (features, detail))
        assert outputs.keys() == (
            {"logits"} if kind == "gap" else {"logits", "evidence", "place", "seen", "familiarity"}
        )
        if kind == "map":
            # From zero: at first a head with a map decides as one without.
            (local,) = head.get_layer("local").get_weights()
            assert not local.any()
            head.get_layer("local").set_weights([local + np.array([-1, 2, 3, 4], np.float32)])
            outputs = head.predict_on_batch((features, detail))
            coarse, fine, around, evidence = (
                head.get_layer(name).get_weights() for name in ("coarse", "fine", "around", "evidence")
            )
            both = np.maximum(
                (features @ coarse[0][0, 0] + coarse[1]).repeat(2, axis=1).repeat(2, axis=2)
                + (detail @ fine[0][0, 0] + fine[1]),
                0,
            )
            padded = np.pad(both, ((0, 0), (1, 1), (1, 1), (0, 0)))
            blurred = sum(
                padded[:, row : row + 14, column : column + 14] @ around[0][row, column]
                for row in range(3)
                for column in range(3)
            )
            places = np.maximum(blurred + around[1], 0) @ evidence[0][0, 0] + evidence[1]
            np.testing.assert_allclose(outputs["evidence"], places.reshape(3, 196), atol=1e-4)
            np.testing.assert_array_equal(outputs["place"], outputs["evidence"])
            windows = sliding_window_view(places[..., 0], (2, 2), axis=(1, 2)).mean(axis=(3, 4))
            np.testing.assert_allclose(outputs["seen"][:, 0], windows.max(axis=(1, 2)), atol=1e-4)
            logits = logits + places.max(axis=(1, 2)) * np.array([-1, 2, 3, 4])
            kernel, offset = head.get_layer("familiarity").get_weights()
            np.testing.assert_allclose(outputs["familiarity"], activated @ kernel + offset, atol=1e-4)
        np.testing.assert_allclose(outputs["logits"], logits, atol=1e-3)


def test_the_seed_makes_the_head(networks: dict[str, Network]) -> None:
    kernel = networks["gap"].head.get_layer("hidden").get_weights()[0]
    same, other = (
        build("gap", 16, 0.3, seed, None).head.get_layer("hidden").get_weights()[0] for seed in (7, 8)
    )
    np.testing.assert_array_equal(same, kernel)
    assert (other != kernel).any()


@pytest.mark.parametrize("last", [0, 1, 60, 154])
def test_last_layers_are_trainable_as_keras_counts_them(networks: dict[str, Network], last: int) -> None:
    network = networks["gap"]
    assert len(network.layers) == 154
    assert network.layers[-60] == "block_10_depthwise_BN"
    set_trainable(network, 154)
    set_trainable(network, last)
    learning = {layer.name for layer in network.backbone.layers if layer.trainable and layer.weights}
    convolutions = [layer.name for layer in network.backbone.layers if layer.weights]
    assert learning == set(convolutions) & set(network.layers[154 - last :])
    assert len(convolutions) == 52
    assert all(layer.trainable for layer in network.head.layers)


def test_stage_2_changes_the_last_60_layers_and_no_others(random_weights: Path, images: Floats) -> None:
    network = build("gap", 16, 0.0, 7, random_weights)
    set_trainable(network, 0)
    stages._compile(network.head, Recipe())  # as stage 1 leaves it
    set_trainable(network, 60)
    stages._compile(network.whole, Recipe())
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
    assert changed == {layer.name for layer in layers if layer.weights} & set(network.layers[-60:])
    assert len(changed) == 20
    assert all((new != was).any() for new, was in zip(network.head.get_weights(), head_before, strict=True))


@pytest.mark.parametrize(
    ("last", "begins"),
    [(0, None), (30, "block_11_add"), (60, "block_9_add"), (100, "block_5_add"), (135, "block_1_project")],
)
@pytest.mark.parametrize("size", [96, 224])
def test_the_two_parts_answer_as_the_whole(
    last: int, begins: str | None, size: int, networks: dict[str, Network], images: Floats
) -> None:
    network = networks["map"]
    some = images[:, :size, :size]
    frozen, learning = split(network, last)
    assert frozen is not None
    assert begins is None or frozen.output is network.backbone.get_layer(begins).output
    expected = network.whole.predict_on_batch(some)
    assert expected["evidence"].shape == (2, (size // 16) ** 2)
    for name, values in learning.predict_on_batch(frozen.predict_on_batch(some)).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-4)


def test_nothing_is_frozen_where_the_first_block_learns(networks: dict[str, Network]) -> None:
    assert split(networks["map"], 154) == (None, networks["map"].whole)


@pytest.mark.parametrize(
    ("precision", "flags", "used"),
    [
        ("bfloat16", "", True),
        ("float32", "avx512_bf16", False),
        ("auto", "flags : avx2 avx512_bf16 sse", True),
        ("auto", "flags : avx2 avx512_vnni", False),
    ],
)
def test_convolutions_may_compute_in_bfloat16(
    precision: str,
    flags: str,
    used: bool,
    networks: dict[str, Network],
    images: Floats,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(network_module, "PROCESSOR", tmp_path / "cpuinfo")
    network = networks["gap"]
    before = network.backbone(images)
    set_precision(network, precision)
    assert all(weight.dtype == "float32" for weight in network.backbone.weights)
    other = np.abs(keras.ops.convert_to_numpy(network.backbone(images)) - before).max()
    assert (other > 0) == used
    set_precision(network, "float32")
    np.testing.assert_array_equal(network.backbone(images), before)


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
    calibration = Calibration(1.7, 0.4, 1.2)
    for kind, network in networks.items():
        # As training leaves it: what the losses are must not travel in the file.
        recipe = Recipe(head=kind, drawn_outliers=0.1 if kind == "map" else 0.0)
        stages._compile(network.head, recipe)
        stages._compile(network.whole, recipe)
        model = inference_model(network, calibration)
        for suffix in ("keras", "h5"):
            path = tmp_path / f"{kind}.{suffix}"
            model.save(path)
            paths.append(str(path))
            expected[str(path)] = model.predict_on_batch(images)
        outputs = network.whole.predict_on_batch(images)
        answer = expected[paths[-1]]
        np.testing.assert_allclose(
            answer["probabilities"], probabilities(outputs["logits"], calibration), atol=1e-5
        )
        assert answer.keys() == (
            {"probabilities"} if kind == "gap" else {"probabilities", "heatmap", "familiarity", "no_brain"}
        )
        if kind == "map":
            shown = softmax(outputs["familiarity"], axis=1)
            np.testing.assert_allclose(answer["familiarity"], shown[:, [BRAIN]], atol=1e-5)
            np.testing.assert_allclose(answer["no_brain"], shown[:, [NO_BRAIN]], atol=1e-5)
            np.testing.assert_allclose(
                answer["heatmap"], expit(outputs["evidence"]).reshape(2, 14, 14), atol=1e-5
            )
    command = [sys.executable, "-I", "-c", LOAD, str(tmp_path / "images.npy"), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in paths:
        with np.load(name + ".npz") as file:
            assert set(file.files) == set(expected[name])
            for output in file.files:
                np.testing.assert_allclose(file[output], expected[name][output], atol=1e-6)
