"""Weights in whole steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from falx_export.convert import rounding
from falx_export.errors import ConversionError
from falx_export.proof import samples


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2, 3]), st.sampled_from([127, 64]))
def test_each_channel_is_rounded_to_steps_of_its_own_and_stays_so(seed: int, axis: int, count: int) -> None:
    random = np.random.default_rng(seed)
    kernel = (random.normal(size=(3, 3, 4, 5)) * 10 ** random.uniform(-3, 2)).astype(np.float32)
    coarse = rounding.rounded(kernel, axis, count)
    others = tuple(i for i in range(4) if i != axis)
    step = np.abs(kernel).max(axis=others, keepdims=True) / count
    assert np.all(np.abs(coarse - kernel) <= step * 0.5001)
    steps = coarse / step
    assert np.allclose(steps, np.rint(steps), atol=1e-3)
    assert np.allclose(rounding.rounded(coarse, axis, count), coarse, rtol=1e-5)


def test_a_channel_of_zeros_stays_zero() -> None:
    assert not rounding.rounded(np.zeros((1, 1, 2, 3), np.float32), 3).any()


def in_parts(*, bias: bool, pooled: bool) -> Any:
    """A backbone of one layer and a head, between which the features are pooled or not."""
    image, features = keras.Input((224, 224, 1)), keras.Input((4,) if pooled else (7, 7, 4))
    backbone = keras.Model(image, layers.Conv2D(4, 3, strides=32, use_bias=bias, name="bare")(image))
    pool = layers.GlobalAveragePooling2D()
    head = keras.Model(features, layers.Dense(4)(features if pooled else pool(features)))
    made = backbone(image)
    return keras.Model(image, head(pool(made) if pooled else made))


def whole() -> Any:
    image = keras.Input((224, 224, 1))
    return keras.Model(image, layers.Flatten()(image))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (whole, "expected a model whose image goes into a nested backbone"),
        (
            lambda: in_parts(bias=False, pooled=False),
            "every layer with weights to have a bias; bare has none",
        ),
        (lambda: in_parts(bias=True, pooled=True), "and what that makes into a nested head; train it with"),
    ],
    ids=["no backbone", "no bias", "another head"],
)
def test_a_model_of_other_parts_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        rounding.round_weights(make(), np.zeros((1, 224, 224, 1), np.uint8))


def test_channels_of_the_backbone_are_equalised_before_anything_is_rounded(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, slices = build(), np.zeros((1, 224, 224, 1), np.uint8)
    before = [np.array(value) for value in model.get_weights()]

    class Called(Exception):  # noqa: N818 - ends the work where the test has seen enough
        pass

    def equalise(backbone: Any, given: npt.NDArray[np.uint8]) -> int:
        assert backbone is rounding._parts(model)[0]
        assert given is slices
        assert all(map(np.array_equal, model.get_weights(), before))
        raise Called

    monkeypatch.setattr(rounding, "equalise", equalise)
    with pytest.raises(Called):
        rounding.round_weights(model, slices)


@pytest.mark.parametrize(("head", "hidden"), [("gap", 1), ("map", 4)])
def test_biases_make_up_for_what_rounding_does_to_means(
    data: Path, build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, head: str, hidden: int
) -> None:
    # Scaling channels moves their means, as it must.
    monkeypatch.setattr(rounding, "equalise", lambda *_: None)
    slices = samples.read(data, 8, 1).calibration.astype(np.float32)
    exact, plain, corrected = (build(head) for _ in range(3))

    def layers_of(model: Any) -> tuple[list[rounding._Layer], list[rounding._Layer]]:
        backbone, rest = rounding._parts(model)
        return list(rounding._layers(backbone)), list(rounding._layers(rest, rounding._last(rest)))

    def means(model: Any) -> list[npt.NDArray[np.float32]]:
        backbone, rest = rounding._parts(model)
        layers, more = layers_of(model)
        features = rounding._outputs(backbone.inputs, backbone.outputs, [slices])
        found = rounding._means(backbone.inputs, [layer.sums for layer in layers], [slices])
        return found + rounding._means(rest.inputs, [layer.sums for layer in more], features)

    layers, more = layers_of(plain)
    assert (len(layers), len(more)) == (52, hidden)
    for layer in layers[rounding.STEM_CONVOLUTIONS :] + more:
        kernel, *others = layer.kernel.get_weights()
        axis = 2 if "depthwise" in layer.kernel.name else kernel.ndim - 1
        layer.kernel.set_weights([rounding.rounded(kernel, axis), *others])
    rounding.round_weights(corrected, slices.astype(np.uint8))

    wanted = means(exact)
    off, left = (
        [float(np.abs(x - y).max()) for x, y in zip(means(model), wanted, strict=True)]
        for model in (plain, corrected)
    )
    assert max(off[:52]) > 0.02
    assert max(off[52:]) > 0.005
    assert max(left) < 2e-4
    names = {layer.name: layer for layer in rounding._parts(corrected)[1].layers}
    for name in ["hidden", "coarse", "fine", "around"][:hidden]:
        kernel = names[name].get_weights()[0]
        assert np.allclose(rounding.rounded(kernel, kernel.ndim - 1), kernel, rtol=1e-5)
    # What stays in float is as it was.
    for name in {"logits", "evidence", "local", "familiarity"} & set(names):
        kept = rounding._parts(exact)[1].get_layer(name).get_weights()
        assert all(map(np.array_equal, names[name].get_weights(), kept))
