"""The graph that both formats are converted from, and what both must look like in the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from falx.preprocessing import SIZE
from falx_export.run import OUTPUT_SHAPES

__all__ = ["HEAD_WEIGHTS", "INPUT", "SHAPE", "float_head", "readable", "serving", "size", "unused"]

INPUT: Final = "image"
SHAPE: Final = (1, SIZE, SIZE, 1)
"""Batch 1: a slice at a time is what a device decides on, and fixed shapes are what engines are fast on."""

HEAD_WEIGHTS: Final = 8192
"""The head in float begins behind the last layer with so many weights: what is left are the logits, their
pooling and softmax, and the heatmap. In int8, probabilities would have 256 values and logits steps of 0.1."""

_SCOPE: Final = re.compile(r"(^|/)(falx|functional|backbone|head|model)(_\d+)*(?=/)")


def serving(model: keras.Model) -> Callable[[Any], dict[str, Any]]:
    """The model as a tf.function: `image` `(1, 224, 224, 1)` uint8 -> its outputs by name."""

    @tf.function(input_signature=[tf.TensorSpec(SHAPE, tf.uint8, name=INPUT)])  # type: ignore[untyped-decorator] # TensorFlow has no types
    def falx(image: Any) -> dict[str, Any]:
        outputs = model(tf.cast(image, tf.float32), training=False)
        return {name: tf.identity(outputs[name], name=name) for name in OUTPUT_SHAPES if name in outputs}

    return falx  # type: ignore[no-any-return] # as above


def float_head(weights: Sequence[int]) -> int:
    """Where the head in float begins.

    Args:
        weights: of each node in the order of execution, how many weights it has.

    Returns:
        The index of the first node of the head.
    """
    return 1 + max(index for index, count in enumerate(weights) if count >= HEAD_WEIGHTS)


def readable(name: str) -> str:
    """A short name for a tensor or node of a converted graph.

    Args:
        name: as the converter made it: a path of scopes, several joined by `;` where it fused them.
    """
    short = name.split(";")[0].removesuffix(":0")
    while (shorter := _SCOPE.sub("", short).strip("/")) != short:
        short = shorter
    return short or "tensor"


def unused(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken already; it is taken afterwards."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}.{number}"
    taken.add(candidate)
    return candidate


def size(shape: Iterable[int]) -> int:
    """How many values a tensor of this shape has."""
    return int(np.prod(tuple(shape), dtype=np.int64))
