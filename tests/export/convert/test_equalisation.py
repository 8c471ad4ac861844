"""Channels of equal range, and a model that computes what it did."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from falx_export.convert import equalisation

SLICES = np.random.default_rng(2).integers(0, 256, (4, 16, 16, 1)).astype(np.uint8)
SCALES = np.array([1, 0.01, 5, 0.3], np.float32)


def built(*, ends: bool = False) -> keras.Model:
    """A linear convolution, and a residual one on it, of channels with ranges far apart."""
    keras.utils.set_random_seed(1)
    image = keras.Input((16, 16, 1))
    first = layers.Conv2D(4, 1, name="first")(layers.Rescaling(1 / 127.5, -1)(image))
    inner = layers.ReLU(6.0)(layers.Conv2D(8, 1, name="expand")(first))
    second = layers.Conv2D(4, 1, name="second")(inner)
    last = layers.ReLU(6.0)(layers.Conv2D(5, 3, name="last")(layers.Add(name="sum")([first, second])))
    model = keras.Model(image, [last, first] if ends else last)
    for name in ("first", "second"):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel * SCALES, np.ones_like(bias) * SCALES])
    return model


def ranges(model: keras.Model, name: str) -> Any:
    part = keras.Model(model.inputs, model.get_layer(name).output)
    return np.abs(np.asarray(part([SLICES.astype(np.float32)]))).max(axis=(0, 1, 2))


def test_ranges_become_equal_and_the_answers_stay() -> None:
    model = built()
    before = np.asarray(model(SLICES.astype(np.float32)))
    spread = ranges(model, "sum")
    assert spread.max() / spread.min() > 100
    assert equalisation.equalise(model, SLICES) == 1
    np.testing.assert_allclose(np.asarray(model(SLICES.astype(np.float32))), before, rtol=1e-4, atol=1e-5)
    # Each channel reaches the end of one of the three tensors that share their scale.
    parts = [found / found.max() for found in (ranges(model, name) for name in ("first", "second", "sum"))]
    np.testing.assert_allclose(np.max(parts, axis=0), 1, rtol=1e-3)


def test_a_tensor_that_leaves_the_model_keeps_its_scale() -> None:
    model = built(ends=True)
    before = ranges(model, "first")
    assert equalisation.equalise(model, SLICES) == 0
    np.testing.assert_array_equal(ranges(model, "first"), before)


def test_a_dead_channel_stays_dead() -> None:
    model = built()
    for name in ("first", "second"):
        layer = model.get_layer(name)
        layer.set_weights([value * np.array([1, 0, 1, 1], np.float32) for value in layer.get_weights()])
    assert equalisation.equalise(model, SLICES) == 1
    assert ranges(model, "sum")[1] == 0
    assert all(np.isfinite(value).all() for value in model.get_weights())


@pytest.mark.parametrize(("head", "streams"), [("gap", 7), ("map", 6)])
def test_what_the_trainer_builds_is_scaled_between_blocks(build: Any, head: str, streams: int) -> None:
    model = build(head)
    (backbone, _) = (layer for layer in model.layers if isinstance(layer, keras.Model))
    slices = np.random.default_rng(3).integers(0, 256, (2, 224, 224, 1)).astype(np.uint8)
    before = model(slices.astype(np.float32))
    # MobileNetV2 has seven stages, each of them one chain of residual blocks; a map takes what one makes.
    assert equalisation.equalise(backbone, slices) == streams
    after = model(slices.astype(np.float32))
    for name in before:
        np.testing.assert_allclose(np.asarray(after[name]), np.asarray(before[name]), atol=2e-4)
