"""Lets the channels of a tensor that int8 holds have equal ranges.

int8 gives a whole tensor one step, so a channel with a tenth of the range of another has a tenth of its
resolution. Where no activation lies between the layers that make a tensor and those that take it, a
channel may be scaled in the ones and scaled back in the others, and the model computes what it did
("cross-layer equalisation": Nagel et al. 2019, arXiv:1906.04721, section 4.1). In MobileNets these are the
narrow tensors between blocks. What is added up has one scale, so a chain of residual blocks is scaled as a
whole. `docs/quantization.md` says what it brings. Size and speed stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import keras
import numpy as np
import numpy.typing as npt

from falx_runs.arrays import Float32s

FLOOR: Final = 1e-3
"""No channel is taken to have less than this part of its tensor's range; a dead one has none at all."""

CHUNK: Final = 8


@dataclass(slots=True)
class _Stream:
    """Tensors that must be scaled together.

    Attributes:
        makers: what makes them: convolutions, or the batch normalisations behind those.
        tensors: what they make, and sums of it.
        takers: convolutions on them.
        fixed: whether something else takes them too, so that their scale must stay.
    """

    makers: list[keras.Layer] = field(default_factory=list)
    tensors: list[keras.KerasTensor] = field(default_factory=list)
    takers: list[keras.Layer] = field(default_factory=list)
    fixed: bool = False


def equalise(backbone: keras.Model, slices: npt.NDArray[np.uint8]) -> int:
    """Scales channels to equal ranges, measured on slices `(N, 224, 224, 1)`; returns the number of streams
    scaled.

    This changes the model's weights, not what it computes. The backbone is a functional model of
    convolutions, each with a bias or batch normalisation behind it.
    """
    streams = _streams(backbone)
    if not streams:
        return 0
    ranges = iter(_ranges(backbone, [tensor for stream in streams for tensor in stream.tensors], slices))
    for stream in streams:
        # Each tensor has a step of its own: what counts is a channel's part of the tensor's range.
        parts = [found / max(found.max(), np.float32(FLOOR)) for found in islice(ranges, len(stream.tensors))]
        largest = np.max(parts, axis=0)
        scale = np.where(largest > 0, 1 / np.maximum(largest, FLOOR), 1).astype(np.float32)
        for maker in stream.makers:
            _scale_made(maker, scale)
        for taker in stream.takers:
            kernel, *others = taker.get_weights()
            taker.set_weights([kernel / scale[:, np.newaxis], *others])
    return len(streams)


def _streams(backbone: keras.Model) -> list[_Stream]:
    """Returns the streams that may be scaled, in the order of the data."""
    takers: dict[int, list[keras.Layer]] = {}
    for layer in backbone.layers:
        for tensor in _inputs(layer):
            takers.setdefault(id(tensor), []).append(layer)
    ends = {id(tensor) for tensor in backbone.outputs}
    of: dict[int, _Stream] = {}
    for layer in backbone.layers:
        inputs = _inputs(layer)
        streams = [of[id(tensor)] for tensor in inputs if id(tensor) in of]
        if isinstance(layer, keras.layers.Add):
            stream = _joined(streams, of) if len(streams) == len(inputs) else None
            for other in streams if stream is None else ():
                other.fixed = True
        elif _makes(layer, takers.get(id(layer.output), [])):
            stream = _Stream(makers=[layer])
        else:
            stream = None
        # The batch normalisation of a convolution, for one, has taken the tensor already.
        for other in streams:
            if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
                other.takers.append(layer)
            elif not isinstance(layer, keras.layers.Add):
                other.fixed = True
        if stream is not None:
            stream.tensors.append(layer.output)
            stream.fixed |= id(layer.output) in ends
            of[id(layer.output)] = stream
    unique = {id(stream): stream for stream in of.values()}
    return [stream for stream in unique.values() if not stream.fixed]


def _joined(streams: Sequence[_Stream], of: dict[int, _Stream]) -> _Stream:
    """Joins streams to one that takes their place."""
    first, *others = streams
    for other in others:
        if other is first:
            continue
        first.makers += other.makers
        first.tensors += other.tensors
        first.takers += other.takers
        first.fixed |= other.fixed
        for tensor in other.tensors:
            of[id(tensor)] = first
    return first


def _inputs(layer: keras.Layer) -> list[keras.KerasTensor]:
    return [] if isinstance(layer, keras.layers.InputLayer) else list(keras.tree.flatten(layer.input))


def _makes(layer: keras.Layer, takers: Sequence[keras.Layer]) -> bool:
    """Tells whether a layer makes a convolution's output, scaled and offset, before any activation."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return bool(layer.scale and layer.center)
    if not isinstance(layer, keras.layers.Conv2D) or not layer.use_bias:
        return False
    return layer.activation is keras.activations.linear and not any(
        isinstance(taker, keras.layers.BatchNormalization) for taker in takers
    )


def _scale_made(maker: keras.Layer, scale: Float32s) -> None:
    # Scale and offset of a batch normalisation, or kernel and bias of a convolution; channels are last.
    first, second, *others = maker.get_weights()
    maker.set_weights([first * scale, second * scale, *others])


def _ranges(
    backbone: keras.Model, tensors: list[keras.KerasTensor], slices: npt.NDArray[np.uint8]
) -> list[Float32s]:
    """Returns the largest size of each channel, `(channels,)` for each tensor."""
    part = keras.Model(backbone.inputs, [keras.ops.max(abs(tensor), axis=(0, 1, 2)) for tensor in tensors])
    found = [np.zeros(tensor.shape[-1], np.float32) for tensor in tensors]
    for start in range(0, len(slices), CHUNK):
        chunk = slices[start : start + CHUNK].astype(np.float32)
        made = keras.tree.flatten(part([chunk], training=False))
        found = [np.maximum(before, np.asarray(now)) for before, now in zip(found, made, strict=True)]
    return found
