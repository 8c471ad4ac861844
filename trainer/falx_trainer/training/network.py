"""The network: MobileNetV2 for one grey channel, with one of two small heads.

Batch normalisation is folded into the convolutions before any training. Frozen, as fine-tuning
wants it, it is a product and a sum that the convolution can do itself; without it a step takes a
quarter less time, and there are no statistics that training could spoil.

Only Keras operations, no TensorFlow ones, and no custom classes: a saved model loads anywhere.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
from keras import layers

from falx.slices.preprocessing import SIZE
from falx.words import LABELS
from falx_runs.arrays import Float32s
from falx_runs.run_folder import Calibration
from falx_trainer.training.recipe import Recipe

CONVOLUTIONS: Final = (layers.Conv2D, layers.DepthwiseConv2D)

FEATURES_SHAPE: Final = (7, 7, 1280)
"""Shape of MobileNetV2's last feature map at 224 x 224."""

PROCESSOR: Final = Path("/proc/cpuinfo")
"""The file where Linux describes the processor."""

FIRST: Final = "Conv1"

DETAIL: Final = "block_12_add"
"""The last layer at twice that resolution: it still sees a small lesion as a place of its own."""

DETAIL_SHAPE: Final = (14, 14, 96)

CELL: Final = 16
"""Tensor pixels that a place of the evidence covers, each way."""

GRID: Final = SIZE // CELL
"""Places of the evidence at 224 x 224, each way."""

WINDOW: Final = 2
"""Places each way over which the map's evidence is averaged before the strongest is taken: one place alone
says more of noise than of a lesion, which covers several of 16 pixels. Without br35h, over 15 networks of 3
to 6 epochs, the AUC there was 98.3 of windows of two, 98.0 of single places (28 November 2026)."""

BRAIN, NO_BRAIN, OTHER = range(3)
"""The kinds of picture, in the order of the familiarity output: a slice of a brain, a head where there is no
brain (scalp, neck, face), or anything else."""

EVIDENCE_WIDTH: Final = 48
"""Channels behind the evidence: with 64, the int8 file would be over 3.2 MB."""


@dataclass(frozen=True)
class Network:
    """A backbone and a head, and the whole that shares their weights.

    Images may be smaller than the model's 224 x 224, their side a multiple of 32: the maps shrink with them.

    Attributes:
        backbone: `(B, 224, 224, 1)` float 0..255 -> `(B, 7, 7, 1280)`, and for a map head also
            `(B, 14, 14, 96)`.
        head: the backbone's outputs -> `{"logits": (B, 4)}`; with a map also `"evidence": (B, 196)`,
            logits of a tumour at each of 14 x 14 places, row by row, the same again as `"place"`, and
            `"seen": (B, 1)`, the logit of a tumour in the strongest window of `WINDOW` places each way; with
            familiarity also `"familiarity": (B, 3)`, logits of what is shown (`BRAIN`, `NO_BRAIN`, `OTHER`).
        whole: the head on the backbone.
        layers: names of the layers that Keras's MobileNetV2 has, in its order, normalisation included.
    """

    backbone: keras.Model
    head: keras.Model
    whole: keras.Model
    layers: tuple[str, ...]


def build(
    head: str,
    dense: int,
    dropout: float,
    seed: int,
    weights: str | Path | None,
    *,
    familiarity: bool = False,
) -> Network:
    """Builds the network.

    Args:
        head: `gap` or `map`.
        dense: width of the hidden layer.
        dropout: share of it dropped in training.
        seed: of the head's initial weights and its dropout.
        weights: file with the ImageNet backbone's weights; `imagenet` downloads them; None leaves
            them random (for tests).
        familiarity: whether the head also says if the picture is a slice of a brain.
    """
    colour = keras.applications.MobileNetV2(
        (SIZE, SIZE, 3), include_top=False, weights=None if weights is None else str(weights)
    )
    backbone = _backbone(colour, with_detail=head == "map")
    head_model = _head(head, dense, dropout, seed, familiarity=familiarity)
    image = keras.Input((None, None, 1), name="image")
    whole = keras.Model(image, head_model(backbone(image)), name="falx")
    return Network(backbone, head_model, whole, tuple(layer.name for layer in colour.layers))


def build_for(recipe: Recipe, weights: str | Path | None) -> Network:
    """Builds the network that a recipe trains; weights are as of `build`."""
    return build(
        recipe.head, recipe.dense, recipe.dropout, recipe.seed, weights, familiarity=recipe.tells_outliers
    )


def take_weights(network: Network, model: keras.Model) -> None:
    """Gives a network the weights of a trained model, as of `inference_model`.

    Raises:
        ValueError: the model's layers are others.
    """
    for name, part in (("backbone", network.backbone), ("head", network.head)):
        part.set_weights(model.get_layer(name).get_weights())


def _backbone(colour: keras.Model, *, with_detail: bool) -> keras.Model:
    """Returns the same function for grey input, of layers that fold in what does not learn."""

    def clone(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if isinstance(layer, CONVOLUTIONS):
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(
        layer: keras.Layer, tensor: keras.KerasTensor, *rest: keras.KerasTensor, **options: object
    ) -> keras.KerasTensor:
        if isinstance(layer, layers.BatchNormalization):
            return tensor  # in the convolution before it
        return layer(scale(tensor) if layer.name == FIRST else tensor, *rest, **options)

    scale = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")
    image = keras.Input((None, None, 1), name="image")
    grey = keras.models.clone_model(colour, input_tensors=image, clone_function=clone, call_function=call)
    outputs = [grey.output, grey.get_layer(DETAIL).output] if with_detail else grey.output
    backbone = keras.Model(grey.input, outputs, name="backbone")
    for layer, follower in _convolutions(colour):
        kernel, bias = _folded(layer, follower)
        if layer.name == FIRST:
            # Three equal channels times three kernels is one channel times their sum: exact.
            kernel = kernel.sum(axis=2, keepdims=True)
        backbone.get_layer(layer.name).set_weights([kernel, bias])
    return backbone


def _convolutions(model: keras.Model) -> Iterator[tuple[keras.Layer, keras.Layer]]:
    """Gives each convolution with the normalisation that follows it."""
    for layer in model.layers:
        if isinstance(layer, CONVOLUTIONS):
            (node,) = layer._outbound_nodes
            yield layer, node.operation


def _folded(layer: keras.Layer, normalisation: keras.Layer) -> tuple[Float32s, Float32s]:
    """Returns kernel and bias of a convolution with its batch normalisation (Ioffe & Szegedy 2015)."""
    (kernel,) = layer.get_weights()
    gamma, beta, mean, variance = normalisation.get_weights()
    scale = gamma / np.sqrt(variance + normalisation.epsilon)
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    return kernel * (scale[:, None] if depthwise else scale), beta - mean * scale


def _head(kind: str, dense: int, dropout: float, seed: int, *, familiarity: bool) -> keras.Model:
    features = keras.Input((None, None, FEATURES_SHAPE[-1]), name="features")
    inputs = [features]
    hidden = layers.GlobalAveragePooling2D(name="pool")(features)
    hidden = layers.Dense(dense, "relu", kernel_initializer=_initial(seed), name="hidden")(hidden)
    hidden = layers.Dropout(dropout, seed=seed, name="dropout")(hidden)
    logits = layers.Dense(len(LABELS), kernel_initializer=_initial(seed + 1), name="logits")(hidden)
    outputs = {"logits": logits}
    if kind == "map":
        detail = keras.Input((None, None, DETAIL_SHAPE[-1]), name="detail")
        inputs.append(detail)
        evidence = _evidence(features, detail, seed + 2)
        outputs["evidence"] = layers.Flatten(name="cells")(evidence)
        # The same numbers once more, for the loss that asks where the strongest is.
        outputs["place"] = layers.Flatten(name="places")(evidence)
        windows = layers.AveragePooling2D(WINDOW, strides=1, name="windows")(evidence)
        outputs["seen"] = layers.GlobalMaxPooling2D(name="strongest_window")(windows)
        # Pooling thins a small lesion out; where the evidence is strongest, it still counts.
        strongest = layers.GlobalMaxPooling2D(name="strongest")(evidence)
        local = layers.Dense(len(LABELS), use_bias=False, kernel_initializer="zeros", name="local")(strongest)
        outputs["logits"] = layers.Add(name="sum")([logits, local])
    if familiarity:
        outputs["familiarity"] = layers.Dense(3, kernel_initializer=_initial(seed + 6), name="familiarity")(
            hidden
        )
    return keras.Model(inputs, outputs, name="head")


def _evidence(features: keras.KerasTensor, detail: keras.KerasTensor, seed: int) -> keras.KerasTensor:
    """Returns logits of a tumour at each place, from the last map at the resolution of the one before.

    As in a feature pyramid (Lin et al. 2017, arXiv:1612.03144).
    """
    coarse = layers.Conv2D(EVIDENCE_WIDTH, 1, kernel_initializer=_initial(seed), name="coarse")(features)
    coarse = layers.UpSampling2D(2, name="finer")(coarse)
    fine = layers.Conv2D(EVIDENCE_WIDTH, 1, kernel_initializer=_initial(seed + 1), name="fine")(detail)
    both = layers.ReLU(name="both_relu")(layers.Add(name="both")([coarse, fine]))
    around = layers.Conv2D(
        EVIDENCE_WIDTH,
        3,
        padding="same",
        activation="relu",
        kernel_initializer=_initial(seed + 2),
        name="around",
    )(both)
    return layers.Conv2D(1, 1, kernel_initializer=_initial(seed + 3), name="evidence")(around)


def _initial(seed: int) -> keras.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)


def set_trainable(network: Network, last: int) -> None:
    """Lets the last layers of the backbone learn, of the 154 that Keras's MobileNetV2 counts, and no others
    of it.

    Each layer's own flag is set: setting the model's is ignored where it already reads the same (Keras 3.15),
    which leaves layers frozen that should learn.
    """
    learning = set(network.layers[len(network.layers) - last :])
    for layer in network.backbone.layers:
        layer.trainable = layer.name in learning


def set_precision(network: Network, precision: str) -> None:
    """Lets the backbone's convolutions compute in another precision; weights stay float32.

    Where the processor multiplies bfloat16, a step takes three quarters of the time; with `auto` that is so
    where the processor says that it has it. Depthwise convolutions are slower so, and stay as they are.
    """
    if precision == "auto":
        flags = PROCESSOR.read_text(encoding="utf-8") if PROCESSOR.exists() else ""
        precision = "bfloat16" if re.search(r"\b(avx512_bf16|amx_bf16)\b", flags) else "float32"
    for layer in network.backbone.layers:
        if type(layer) is layers.Conv2D:
            layer.dtype_policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"


def split(network: Network, last: int) -> tuple[keras.Model | None, keras.Model]:
    """Splits the network where learning begins: what is frozen gives the same features every time.

    Returns:
        The frozen part, from image to features, or None where the first block learns already; and the
        part that learns, from these features (or the image) to the head's outputs.
    """
    if not last:
        return network.backbone, network.head
    names = [layer.name for layer in network.backbone.layers]
    frozen = network.layers[: len(network.layers) - last]
    # Between blocks one tensor is all that goes on, up to the detail, which the map needs too.
    ends = [
        name
        for name, after in itertools.pairwise(names[: names.index(DETAIL) + 1])
        if name in frozen and re.fullmatch(r"block_\d+_(add|project)", name) and not after.endswith("_add")
    ]
    if not ends:
        return None, network.whole
    end = network.backbone.get_layer(ends[-1]).output
    features = keras.Input(end.shape[1:], name="begun")
    rest = keras.Model(end, network.backbone.outputs, name="rest")
    return (
        keras.Model(network.backbone.input, end, name="frozen"),
        keras.Model(features, network.head(rest(features)), name="learning"),
    )


def inference_model(network: Network, calibration: Calibration) -> keras.Model:
    """Returns the model that is saved and exported, with calibrated probabilities.

    Returns:
        `image` `(B, 224, 224, 1)` float 0..255 -> `{"probabilities": (B, 4)}`; for a map head also
        `"heatmap"` `(B, 14, 14)`, the probability of a tumour at each place; and where the head has it,
        `"familiarity"` and `"no_brain"`, each `(B, 1)`, the probabilities that the picture is a slice of a
        brain, and that it is a head without brain.
    """
    image = keras.Input((SIZE, SIZE, 1), name="image")
    # A new head of the same layers: training compiled the old one, and a model takes the names of its
    # losses into the file, nested ones even past `compile=False`; no other program could load that.
    head = keras.Model(network.head.inputs, network.head.output, name="head")
    outputs = head(network.backbone(image))
    answer = {"probabilities": _probabilities(outputs["logits"], calibration)}
    if "evidence" in outputs:
        places = layers.Reshape((GRID, GRID), name="grid")(outputs["evidence"])
        answer["heatmap"] = layers.Activation("sigmoid", name="heatmap")(places)
    if "familiarity" in outputs:
        shown = layers.Softmax(name="familiar")(outputs["familiarity"])
        for name, kind in (("familiarity", BRAIN), ("no_brain", NO_BRAIN)):
            answer[name] = _columns(shown, kind, kind + 1, f"{name}_share")
    return keras.Model(image, answer, name="falx")


def _probabilities(logits: keras.KerasTensor, calibration: Calibration) -> keras.KerasTensor:
    """Returns the probabilities of the labels, as `Calibration` tells.

    Layers alone, no operations: HDF5 files know no others. The odds of no tumour stand in three equal
    columns, one for each kind, since a kind's logit less its log-softmax is what all kinds add up to.
    """
    kinds = _columns(logits, 1, len(LABELS), "kinds")
    any_kind = layers.Subtract(name="any_kind")([kinds, layers.Activation("log_softmax", name="sure")(kinds)])
    odds = layers.Subtract(name="odds")([_columns(logits, 0, 1, "none"), any_kind])
    scale, offset = 1 / calibration.temperature, calibration.offset
    healthy = layers.Activation("sigmoid", name="healthy")(layers.Rescaling(scale, offset, name="for")(odds))
    tumor = layers.Activation("sigmoid", name="tumor")(
        layers.Rescaling(-scale, -offset, name="against")(odds)
    )
    calm = layers.Rescaling(1 / calibration.kind_temperature, name="kind_temperature")(kinds)
    shares = layers.Multiply(name="tumors")([tumor, layers.Softmax(name="kind_shares")(calm)])
    return layers.Concatenate(name="probabilities")([_columns(healthy, 0, 1, "healthy_share"), shares])


def _columns(values: keras.KerasTensor, start: int, stop: int, name: str) -> keras.KerasTensor:
    """Returns some columns of `(B, N)`."""
    count = values.shape[1]
    upright = layers.Reshape((count, 1), name=f"{name}_upright")(values)
    return layers.Flatten(name=name)(layers.Cropping1D((start, count - stop), name=f"{name}_alone")(upright))
