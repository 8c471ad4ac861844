"""The network: MobileNetV2 for one grey channel, with one of two small heads.

Only Keras operations, no TensorFlow ones, and no custom classes: a saved model loads anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
from keras import layers

from falx.preprocessing import SIZE
from falx.words import LABELS

__all__ = ["FEATURES_SHAPE", "Network", "build", "inference_model", "set_trainable"]

FEATURES_SHAPE: Final = (7, 7, 1280)
"""Shape of MobileNetV2's last feature map at 224 x 224."""


@dataclass(frozen=True)
class Network:
    """A backbone and a head, and the whole that shares their weights.

    Attributes:
        backbone: `(B, 224, 224, 1)` float 0..255 -> `(B, 7, 7, 1280)`.
        head: `(B, 7, 7, 1280)` -> `{"logits": (B, 4)}`, and `"evidence": (B, 7, 7)` (logits of a
            tumour at that place) where the head has a map.
        whole: the head on the backbone.
    """

    backbone: keras.Model
    head: keras.Model
    whole: keras.Model


def build(head: str, dense: int, dropout: float, seed: int, weights: str | Path | None) -> Network:
    """Build the network.

    Args:
        head: `gap` or `map`.
        dense: width of the hidden layer.
        dropout: share of it dropped in training.
        seed: of the head's initial weights and its dropout.
        weights: file with the ImageNet backbone's weights; `imagenet` downloads them; None leaves
            them random (for tests).
    """
    backbone = _backbone(weights)
    head_model = _head(head, dense, dropout, seed)
    image = keras.Input((SIZE, SIZE, 1), name="image")
    whole = keras.Model(image, head_model(backbone(image)), name="falx")
    return Network(backbone, head_model, whole)


def _backbone(weights: str | Path | None) -> keras.Model:
    image = keras.Input((SIZE, SIZE, 1), name="image")
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(image)
    grey = keras.applications.MobileNetV2(
        (SIZE, SIZE, 1), include_top=False, weights=None, input_tensor=scaled, name="backbone"
    )
    if weights is not None:
        colour = keras.applications.MobileNetV2((SIZE, SIZE, 3), include_top=False, weights=str(weights))
        for layer in colour.layers[1:]:
            values = layer.get_weights()
            if layer.name == "Conv1":
                # Three equal channels times three kernels is one channel times their sum: exact.
                values = [values[0].sum(axis=2, keepdims=True)]
            grey.get_layer(layer.name).set_weights(values)
    return grey


def _head(kind: str, dense: int, dropout: float, seed: int) -> keras.Model:
    features = keras.Input(FEATURES_SHAPE, name="features")
    hidden = layers.GlobalAveragePooling2D(name="pool")(features)
    hidden = layers.Dense(dense, "relu", kernel_initializer=_initial(seed), name="hidden")(hidden)
    hidden = layers.Dropout(dropout, seed=seed, name="dropout")(hidden)
    outputs = {
        "logits": layers.Dense(len(LABELS), kernel_initializer=_initial(seed + 1), name="logits")(hidden)
    }
    if kind == "map":
        evidence = layers.Conv2D(1, 1, kernel_initializer=_initial(seed + 2), name="evidence")(features)
        outputs["evidence"] = layers.Reshape(FEATURES_SHAPE[:2], name="cells")(evidence)
    return keras.Model(features, outputs, name="head")


def _initial(seed: int) -> keras.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)


def set_trainable(network: Network, last: int) -> None:
    """Let the last layers of the backbone learn, and no others of it.

    Batch normalisation never does, so it keeps its statistics: a layer whose flag is off runs in
    inference mode. Calling the backbone with `training=False` does not achieve that, since Keras
    3.15 overrides it with its own argument in `fit`.

    Each layer's own flag is set: setting the model's is ignored where it already reads the same
    (Keras 3.15), which leaves layers frozen that should learn.
    """
    first = len(network.backbone.layers) - last
    for index, layer in enumerate(network.backbone.layers):
        layer.trainable = index >= first and not isinstance(layer, layers.BatchNormalization)


def inference_model(network: Network, temperature: float) -> keras.Model:
    """What is saved and exported: calibrated probabilities, and the heatmap where there is one.

    Args:
        network: the trained network.
        temperature: the logits are divided by it before the softmax (Guo et al. 2017, arXiv:1706.04599).

    Returns:
        `image` `(B, 224, 224, 1)` float 0..255 -> `{"probabilities": (B, 4)}` and, for a map
        head, `"heatmap"` `(B, 7, 7)`, the probability of a tumour at each place.
    """
    image = keras.Input((SIZE, SIZE, 1), name="image")
    # A new head of the same layers: training compiled the old one, and a model takes the names of its
    # losses into the file, nested ones even past `compile=False`; no other program could load that.
    head = keras.Model(network.head.input, network.head.output, name="head")
    outputs = head(network.backbone(image))
    logits = layers.Rescaling(1 / temperature, name="temperature")(outputs["logits"])
    answer = {"probabilities": layers.Softmax(name="probabilities")(logits)}
    if "evidence" in outputs:
        answer["heatmap"] = layers.Activation("sigmoid", name="heatmap")(outputs["evidence"])
    return keras.Model(image, answer, name="falx")
