"""Makes up for what rounding weights to int8 does to each channel's mean.

Rounding shifts the mean of a layer's output, channel by channel, and the shifts add up through 50
layers. So, layer after layer, weights are rounded and the bias is moved until the mean is again that
of the unrounded model ("empirical bias correction": Nagel et al. 2019, arXiv:1906.04721, section
4.2). `docs/quantization.md` says what it brings. Size and speed stay.

Each format is converted from a model corrected for its own steps: its converter finds the weights whole steps
already, and rounds them to the same integers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from falx_export.convert.equalisation import equalise
from falx_export.convert.operations import Operation, last_layers
from falx_export.errors import ConversionError
from falx_runs.arrays import Float32s
from falx_runs.silence import progress

STEM_CONVOLUTIONS: Final = 4
"""The first convolutions stay in float: the first, the block without expansion after it, and the expansion
behind that. They hold few weights, and in int8 cause a good part of the error; what the third makes has the
widest range of all, and in int8 caused half of what was left (docs/quantization.md)."""

STEPS: Final = 127
"""int8 without -128: symmetric, as TFLite rounds weights."""

SLICES: Final = 32
"""The slices that means are taken over; more would cost time and memory and change little."""

CHUNK: Final = 8

KerasTensors: TypeAlias = list[keras.KerasTensor]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer with weights.

    Attributes:
        kernel: the layer.
        sums: its output before any activation, for the image or features that make it.
        linear: the same layer without its activation, where `sums` needs one; its weights are copied.
    """

    kernel: keras.Layer
    sums: keras.KerasTensor
    linear: keras.Layer | None = None

    def follow(self) -> None:
        """Brings `sums` up to the layer's present weights."""
        if self.linear is not None:
            self.linear.set_weights(self.kernel.get_weights())


def rounded(kernel: Float32s, axis: int, steps: int = STEPS) -> Float32s:
    """Rounds a kernel to whole steps: `steps` of them to the largest weight of each channel along `axis`."""
    others = tuple(i for i in range(kernel.ndim) if i != axis)
    step = np.abs(kernel).max(axis=others, keepdims=True) / steps
    step[step == 0] = 1
    return np.asarray(np.rint(kernel / step) * step, np.float32)


def round_weights(model: keras.Model, slices: npt.NDArray[np.uint8], steps: int = STEPS) -> None:
    """Equalises channels, rounds the weights that int8 graphs hold and corrects the biases, in place.

    Args:
        model: a backbone, nested, that takes the image, and a head, nested, that takes what it makes.
        slices: `(N, 224, 224, 1)`, to measure ranges and means on.
        steps: between 0 and the largest weight of a channel, as the format has them.

    Raises:
        ConversionError: the model is not made like that.
    """
    backbone, head = _parts(model)
    equalise(backbone, slices)
    layers, more = list(_layers(backbone))[STEM_CONVOLUTIONS:], list(_layers(head, without=_last(head)))
    # Evenly over all of them: they come in turns of source and label.
    images = [slices[:: max(1, len(slices) // SLICES)][:SLICES].astype(np.float32)]
    wanted = _means(backbone.inputs, [layer.sums for layer in layers], images)
    features = _outputs(backbone.inputs, backbone.outputs, images)
    wanted += _means(head.inputs, [layer.sums for layer in more], features)
    with progress(None, "Round weights", len(wanted), unit="layer") as bar:
        _correct(backbone.inputs, images, layers, wanted[: len(layers)], steps, bar)
        features = _outputs(backbone.inputs, backbone.outputs, images)
        _correct(head.inputs, features, more, wanted[len(layers) :], steps, bar)


def _correct(
    sources: KerasTensors,
    values: list[Float32s],
    layers: list[_Layer],
    wanted: list[Float32s],
    steps: int,
    bar: tqdm[None],
) -> None:
    """Rounds layers one after the other, each time moving its bias so that its mean is the wanted one."""
    for index, (layer, mean) in enumerate(zip(layers, wanted, strict=True)):
        into = layer.kernel.input
        if _passes_all(into, [later.sums for later in layers[index:]]):
            # What lies before is done with, and needn't be computed for every layer behind.
            values = _outputs(sources, [into], values)
            sources = [into]
        kernel, *others = layer.kernel.get_weights()
        depthwise = isinstance(layer.kernel, keras.layers.DepthwiseConv2D)
        axis = 2 if depthwise else kernel.ndim - 1
        layer.kernel.set_weights([rounded(kernel, axis, steps), *others])
        layer.follow()
        shift = mean - _means(sources, [layer.sums], values)[0]
        layer.kernel.bias.assign(np.asarray(layer.kernel.bias) + shift)
        layer.follow()
        bar.update()


def _parts(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Returns the backbone and the head."""
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(nested) == 2:
        backbone, head = nested
        if _fits(model.inputs, backbone.inputs) and _fits(backbone.outputs, head.inputs):
            return backbone, head
    raise ConversionError(
        "expected a model whose image goes into a nested backbone, and what that makes into a nested head; "
        "train it with Falx"
    )


def _fits(made: KerasTensors, taken: KerasTensors) -> bool:
    """Tells whether tensors can go where others are taken; a side that either leaves open fits every size."""
    return len(made) == len(taken) and all(
        tf.TensorShape(one.shape).is_compatible_with(other.shape)
        for one, other in zip(made, taken, strict=True)
    )


def _has_kernel(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense)


def _last(head: keras.Model) -> set[str]:
    """Returns the names of the layers that stay in float: the same that `left_in_float` finds in a graph."""
    operations = [
        Operation(
            type(layer).__name__,
            tuple(id(tensor) for tensor in keras.tree.flatten(layer.input)),
            tuple(id(tensor) for tensor in keras.tree.flatten(layer.output)),
        )
        for layer in head.layers
    ]
    last = last_layers(operations, [id(tensor) for tensor in head.outputs])
    return {layer.name for index, layer in enumerate(head.layers) if index in last}


def _layers(part: keras.Model, without: Collection[str] = ()) -> Iterator[_Layer]:
    """Gives the layers with weights, each behind those it depends on."""
    for layer in part.layers:
        if not _has_kernel(layer) or layer.name in without:
            continue
        if not layer.use_bias:
            raise ConversionError(f"expected every layer with weights to have a bias; {layer.name} has none")
        if layer.activation is keras.activations.linear:
            yield _Layer(layer, layer.output)
        else:
            # Behind an activation, means depend on more than the bias.
            config = {**layer.get_config(), "activation": "linear", "name": f"{layer.name}_sums"}
            linear = type(layer).from_config(config)
            made = _Layer(layer, linear(layer.input), linear)
            made.follow()
            yield made


def _passes_all(tensor: keras.KerasTensor, targets: KerasTensors) -> bool:
    """Tells whether all that these are computed from passes through a tensor: no connection skips it."""
    try:
        keras.Model(tensor, targets)
    except ValueError:
        return False
    return True


def _outputs(sources: KerasTensors, targets: KerasTensors, values: list[Float32s]) -> list[Float32s]:
    """Computes tensors from given values of those before them."""
    if sources == targets:
        return values
    part = keras.Model(sources, targets)
    chunks = [keras.tree.flatten(part(chunk, training=False)) for chunk in _chunks(values)]
    return [np.concatenate([np.asarray(x) for x in made]) for made in zip(*chunks, strict=True)]


def _means(sources: KerasTensors, targets: KerasTensors, values: list[Float32s]) -> list[Float32s]:
    """Returns the means of tensors over slices and places, `(channels,)` each, for values of those before."""
    part = keras.Model(sources, [_over_places(target) for target in targets])
    sums = [np.zeros(target.shape[-1]) for target in targets]
    for chunk in _chunks(values):
        for total, output in zip(sums, keras.tree.flatten(part(chunk, training=False)), strict=True):
            total += np.asarray(output, np.float64).sum(axis=0)
    return [np.asarray(total / len(values[0]), np.float32) for total in sums]


def _over_places(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return keras.ops.mean(tensor, axis=(1, 2)) if len(tensor.shape) == 4 else tensor


def _chunks(values: list[Float32s]) -> Iterator[list[Float32s]]:
    for start in range(0, len(values[0]), CHUNK):
        yield [value[start : start + CHUNK] for value in values]
