"""Weights in whole steps."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("the export needs TensorFlow", allow_module_level=True)

from falx_export import rounding, samples
from falx_export.errors import ConversionError


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2, 3]))
def test_each_channel_is_rounded_to_127_steps_of_its_own_and_stays_so(seed: int, axis: int) -> None:
    random = np.random.default_rng(seed)
    kernel = (random.normal(size=(3, 3, 4, 5)) * 10 ** random.uniform(-3, 2)).astype(np.float32)
    coarse = rounding.rounded(kernel, axis)
    others = tuple(i for i in range(4) if i != axis)
    step = np.abs(kernel).max(axis=others, keepdims=True) / 127
    assert np.all(np.abs(coarse - kernel) <= step * 0.5001)
    steps = coarse / step
    assert np.allclose(steps, np.rint(steps), atol=1e-3)
    assert np.allclose(rounding.rounded(coarse, axis), coarse, rtol=1e-5)


def test_a_channel_of_zeros_stays_zero() -> None:
    assert not rounding.rounded(np.zeros((1, 1, 2, 3), np.float32), 3).any()


def test_a_model_without_backbone_is_refused() -> None:
    import keras

    image = keras.Input((224, 224, 1))
    model = keras.Model(image, keras.layers.Flatten()(image))
    with pytest.raises(ConversionError, match="expected a model whose image goes into a nested backbone"):
        rounding.round_weights(model, np.zeros((1, 224, 224, 1), np.uint8), quiet=True)


def test_biases_make_up_for_what_rounding_does_to_means(data: Path, build: Callable[..., Any]) -> None:
    import keras

    slices = samples.read(data, 8, 1, quiet=True).calibration
    exact, plain, corrected = (build() for _ in range(3))
    for layer in rounding._convolutions(plain.get_layer("backbone")):
        depthwise = isinstance(layer.kernel, keras.layers.DepthwiseConv2D)
        layer.kernel.set_weights([rounding.rounded(layer.kernel.get_weights()[0], 2 if depthwise else 3)])
    rounding.round_weights(corrected, slices, quiet=True)

    def means(model: keras.Model) -> list[npt.NDArray[np.float32]]:
        backbone = model.get_layer("backbone")
        outputs = [layer.bias.output for layer in rounding._convolutions(backbone)]
        return rounding._means(backbone.inputs[0], outputs, slices.astype(np.float32))

    wanted = means(exact)
    off, left = (
        max(float(np.abs(x - y).max()) for x, y in zip(means(model), wanted, strict=True))
        for model in (plain, corrected)
    )
    assert off > 0.02
    assert left < 1e-4
    hidden = corrected.get_layer("head").get_layer("hidden").get_weights()[0]
    assert np.allclose(rounding.rounded(hidden, axis=1), hidden, rtol=1e-5)
