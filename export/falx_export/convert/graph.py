"""The model of a run, the graph that both formats are converted from, and the names in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import keras
import tensorflow as tf

from falx.model.tensor_spec import INPUT_SHAPE, OUTPUTS
from falx_runs.run_folder import FinishedRun

INPUT: Final = "image"
_SCOPE: Final = re.compile(r"(^|/)(falx|functional|backbone|head|model)(_\d+)*(?=/)")


def loaded(run: FinishedRun) -> keras.Model:
    """Loads the model of a run, so that it is converted to the same bytes every time."""
    # Layers are named in the order in which this process made them, and their names end up in the files.
    keras.backend.clear_session()
    return run.load(keras.models.load_model)


def output_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Returns the outputs of a model in the order of `OUTPUTS`, with the shapes of a batch of one."""
    return {name: (1, *model.output[name].shape[1:]) for name in OUTPUTS if name in model.output}


def serving(model: keras.Model) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns the model as a tf.function: `image` `(1, 224, 224, 1)` uint8 -> its outputs by name.

    Batch 1: a slice at a time is what a device decides on, and fixed shapes are what engines are fast on.
    """

    @tf.function(input_signature=[tf.TensorSpec(INPUT_SHAPE, tf.uint8, name=INPUT)])  # type: ignore[untyped-decorator] # TensorFlow has no types
    def falx(image: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = model(tf.cast(image, tf.float32), training=False)
        return {name: tf.identity(outputs[name], name=name) for name in OUTPUTS if name in outputs}

    return falx  # type: ignore[no-any-return] # as above


def readable(name: str) -> str:
    """Returns a short name for a tensor or node that a converter called by paths of scopes, joined by `;`."""
    short = name.split(";")[0].removesuffix(":0")
    while (shorter := _SCOPE.sub("", short).strip("/")) != short:
        short = shorter
    return short or "tensor"


def unused(name: str, taken: set[str]) -> str:
    """Returns the name, with a number where it is taken already, and takes it."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}.{number}"
    taken.add(candidate)
    return candidate
