"""Make up for what rounding weights to int8 does to each channel's mean.

Rounding shifts the mean of a layer's output, channel by channel, and the shifts add up through 50
layers. So, layer after layer, weights are rounded and the bias is moved until the mean is again that
of the unrounded model ("empirical bias correction": Nagel et al. 2019, arXiv:1906.04721, section
4.2). `falx_export.to_tflite` says what it brings. Size and speed stay.

Both formats are then converted from the corrected model: they round its weights, which are whole
steps already, to the same integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from falx_export.errors import ConversionError

__all__ = ["STEM_CONVOLUTIONS", "round_weights", "rounded"]

STEM_CONVOLUTIONS: Final = 3
"""The first convolutions stay in float: the first, and the block without expansion after it. They hold
few weights, and in int8 cause a good part of the error."""

STEPS: Final = 127
"""int8 without -128: symmetric, as TFLite and ONNX Runtime round weights."""

SLICES: Final = 32
"""Means over so many slices (times all places) are steady enough; more costs time and memory."""

CHUNK: Final = 8

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A convolution and the batch normalisation whose offset is its bias."""

    kernel: keras.Layer
    bias: keras.Layer


def rounded(kernel: Floats, axis: int) -> Floats:
    """A kernel in whole steps of int8.

    Args:
        kernel: of any shape.
        axis: of the output channels; each has a step of its own.
    """
    others = tuple(i for i in range(kernel.ndim) if i != axis)
    step = np.abs(kernel).max(axis=others, keepdims=True) / STEPS
    step[step == 0] = 1
    return np.asarray(np.rint(kernel / step) * step, np.float32)


def round_weights(model: keras.Model, slices: npt.NDArray[np.uint8], *, quiet: bool = False) -> None:
    """Round the weights that int8 graphs hold, and correct the biases. Changes the model.

    Args:
        model: a backbone, nested, that takes the image, and a head on it.
        slices: `(N, 224, 224, 1)` uint8, to measure means on.
        quiet: show no progress.

    Raises:
        ConversionError: the model is not made like that.
    """
    backbone, hidden = _parts(model)
    layers = list(_convolutions(backbone))[STEM_CONVOLUTIONS:]
    # Evenly over all of them: they come in turns of source and label.
    images = slices[:: max(1, len(slices) // SLICES)][:SLICES].astype(np.float32)
    *wanted, features = _means(
        backbone.inputs[0], [*(x.bias.output for x in layers), backbone.output], images
    )
    source, values = backbone.inputs[0], images
    progress = tqdm(layers, "Round weights", leave=False, disable=quiet or None)
    for layer, mean in zip(progress, wanted, strict=True):
        if _passes_all(layer.kernel.input, backbone):
            # What lies before is done with, and needn't be computed for every layer behind.
            values = _outputs(source, layer.kernel.input, values)
            source = layer.kernel.input
        depthwise = isinstance(layer.kernel, keras.layers.DepthwiseConv2D)
        layer.kernel.set_weights([rounded(layer.kernel.get_weights()[0], axis=2 if depthwise else 3)])
        shift = mean - _means(source, [layer.bias.output], values)[0]
        layer.bias.beta.assign(np.asarray(layer.bias.beta) + shift)
    # Behind the hidden layer's sum comes a ReLU; but the sum's mean follows from the mean features.
    kernel, bias = hidden.get_weights()
    coarse = rounded(kernel, axis=kernel.ndim - 1)
    now = _means(source, [backbone.output], values)[0]
    matrix, coarse_matrix = (k.reshape(-1, k.shape[-1]) for k in (kernel, coarse))
    hidden.set_weights([coarse, bias + features @ matrix - now @ coarse_matrix])


def _parts(model: keras.Model) -> tuple[keras.Model, keras.Layer]:
    """The backbone, and the head's layer with the most weights."""
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if not nested or tuple(nested[0].inputs[0].shape) != tuple(model.inputs[0].shape):
        raise ConversionError("expected a model whose image goes into a nested backbone; train it with Falx")
    backbone = nested[0]
    head = [layer for layer in _flat(model) if layer not in backbone.layers and _has_kernel(layer)]
    channels = backbone.output.shape[-1]
    hidden = max(head, key=lambda layer: layer.count_params(), default=None)
    if hidden is None or not hidden.use_bias or hidden.kernel.shape[-2] != channels:
        raise ConversionError(f"expected a head that starts with a biased layer on {channels} channels")
    return backbone, hidden


def _flat(model: keras.Model) -> Iterator[keras.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flat(layer)
        else:
            yield layer


def _has_kernel(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense)


def _convolutions(backbone: keras.Model) -> Iterator[_Layer]:
    for index, layer in enumerate(backbone.layers):
        if not _has_kernel(layer):
            continue
        # MobileNetV2 is one chain, so the layers' order is the order of the data.
        after = backbone.layers[index + 1]
        if layer.use_bias or not isinstance(after, keras.layers.BatchNormalization):
            raise ConversionError(
                "expected convolutions without bias before batch normalisation, got "
                f"{layer.name} before {after.name}"
            )
        yield _Layer(layer, after)


def _passes_all(tensor: Any, backbone: keras.Model) -> bool:
    """Whether everything the backbone computes passes through this tensor: no connection skips it."""
    try:
        keras.Model(tensor, backbone.output)
    except ValueError:
        return False
    return True


def _outputs(source: Any, target: Any, values: Floats) -> Floats:
    """What a tensor is for given values of one before it."""
    if source is target:
        return values
    part = keras.Model(source, target)
    chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
    return np.concatenate([np.asarray(part(chunk, training=False)) for chunk in chunks])


def _means(source: Any, targets: list[Any], values: Floats) -> list[Floats]:
    """The means of tensors over slices and places, `(channels,)` each, for given values of one before."""
    part = keras.Model(source, [keras.ops.mean(target, axis=(1, 2)) for target in targets])
    sums = [np.zeros(target.shape[-1]) for target in targets]
    for start in range(0, len(values), CHUNK):
        outputs = part(values[start : start + CHUNK], training=False)
        # Keras unpacks a list of one.
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        for total, output in zip(sums, outputs, strict=True):
            total += np.asarray(output, np.float64).sum(axis=0)
    return [np.asarray(total / len(values), np.float32) for total in sums]
