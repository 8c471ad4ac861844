"""Lets the channels of a tensor that int8 holds have equal ranges.

int8 gives a whole tensor one step, so a channel with a tenth of the range of another has a tenth of its
resolution. Where no activation lies between the layers that make a tensor and those that take it, a
channel may be scaled in the ones and scaled back in the others, and the model computes what it did
("cross-layer equalisation": Nagel et al. 2019, arXiv:1906.04721, section 4.1). In MobileNets these are the
narrow tensors between blocks. What is added up has one scale, so a chain of residual blocks is scaled as a
whole. `docs/quantization.md` says what it brings. Size and speed stay.
"""

from __future__ import annotations

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
        makers: the convolutions that make them.
        tensors: what they make, and sums of it.
        takers: the layers that take them.
        fixed: whether one of those is no convolution, or one of the tensors an output: their scale must stay.
    """

    makers: list[keras.Layer] = field(default_factory=list)
    tensors: list[keras.KerasTensor] = field(default_factory=list)
    takers: list[keras.Layer] = field(default_factory=list)
    fixed: bool = False


def equalise(backbone: keras.Model, slices: npt.NDArray[np.uint8]) -> int:
    """Scales channels to equal ranges, measured on slices `(N, 224, 224, 1)`; returns the number of streams
    scaled.

    This changes the model's weights, not what it computes.
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
            # Channels come last in a kernel and in a bias.
            maker.set_weights([value * scale for value in maker.get_weights()])
        for taker in stream.takers:
            kernel, *others = taker.get_weights()
            taker.set_weights([kernel / scale[:, np.newaxis], *others])
    return len(streams)


def _streams(backbone: keras.Model) -> list[_Stream]:
    """Returns the streams that may be scaled, in the order of the data."""
    ends = {id(tensor) for tensor in backbone.outputs}
    of: dict[int, _Stream] = {}
    for layer in backbone.layers:
        inputs = keras.tree.flatten(layer.input)
        streams = [of[id(tensor)] for tensor in inputs if id(tensor) in of]
        convolution = isinstance(layer, keras.layers.Conv2D)
        if isinstance(layer, keras.layers.Add) and len(streams) == len(inputs):
            stream, other = streams
            stream.makers += other.makers
            stream.tensors += other.tensors
            stream.takers += other.takers
            stream.fixed |= other.fixed
            of.update((id(tensor), stream) for tensor in other.tensors)
        else:
            for taken in streams:
                taken.fixed |= not convolution
                taken.takers.append(layer)
            if not convolution or layer.activation is not keras.activations.linear:
                continue
            stream = _Stream(makers=[layer])
        stream.tensors.append(layer.output)
        stream.fixed |= id(layer.output) in ends
        of[id(layer.output)] = stream
    unique = {id(stream): stream for stream in of.values()}
    return [stream for stream in unique.values() if not stream.fixed]


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
