"""TFLite files that need no Falx where they run: with the decision in the graph, or for MediaPipe.

Both are the int8 graph with a few operations before or behind it, so that its probabilities are those
of the plain file, bit for bit. What they take is already prepared (`falx.slices.preprocessing.prepare`):
TFLite has no operations to find a head in a slice of any size.

The decision is that of `falx.decision`, in float32 against thresholds in float32. A threshold is rounded
up to the next float32, and then compares with a float32 probability as the threshold itself does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.types.experimental import GenericFunction

from falx.decision import after
from falx.model.card import Card
from falx.model.file import embed, extract
from falx.model.retarget import least_float32
from falx.model.tensor_spec import IMAGE, TensorSpec
from falx.slices.preprocessing import SIZE
from falx.words import AMBIGUOUS, DECISIONS, LABELS, NO_TUMOR, REJECTED, TUMOR_LABELS
from falx_export.convert import flatbuffer, tflite_metadata
from falx_export.convert.graph import INPUT
from falx_export.errors import ConversionError, ParityError, converting
from falx_export.self_contained.onnx_decision import THRESHOLDS
from falx_export.self_contained.onnx_file import Outputs, compare
from falx_runs.silence import progress, silenced

SUFFIX: Final = "-self-contained"
MEDIAPIPE_SUFFIX: Final = "-mediapipe"
"""These stand in the files' names before `.tflite`."""

FAMILIARITY_LIMIT: Final = "least_familiarity"
"""The constant below which a slice is rejected: float32 `(1, 1)`; only where the model knows familiarity."""

DECIDED: Final = (TensorSpec("decision", "int32", (1,)), TensorSpec("confidence", "float32", (1,)))
"""The outputs that the plain file has not: the index in `falx.words.DECISIONS`; and the probability of the
decided label, 0..1, which is 0 where none is."""

MEDIAPIPE_INPUT: Final = TensorSpec(INPUT, "uint8", (1, SIZE, SIZE, 3))

SAME: Final = 1e-5
"""The most that an output may differ from that of the plain graph. They do not differ where the engine runs
the same operations in the same way; it need not, where it takes others beside them to its accelerator."""

_STAND_INS: Final = (0.9375, 0.8125, 0.6875, 0.5625)
"""Values in place of the thresholds while converting. The converter turns equal values into a scalar, which
could not be set to different ones later."""

_LIMIT_STAND_IN: Final = 0.4375


def sealed(payload: bytes, card: Card) -> bytes:
    """Returns the self-contained file of a model's own graph: with the decision, metadata and card."""
    own = replace(card, self_contained=True, outputs=_outputs(card))
    return embed(tflite_metadata.described(with_decision(payload, card), own), own, format="tflite")


def sealed_for_mediapipe(payload: bytes, card: Card) -> bytes:
    """Returns the file for MediaPipe of a model's own TFLite graph: its graph, metadata and card."""
    probabilities = {"probabilities": card.outputs["probabilities"]}
    own = replace(card, self_contained=True, input=MEDIAPIPE_INPUT, outputs=probabilities)
    return embed(tflite_metadata.described(for_mediapipe(payload), own), own, format="tflite")


def with_decision(payload: bytes, card: Card) -> bytes:
    """Returns a plain graph that also decides by its card: `decision` and `confidence` before its outputs.

    Raises:
        ConversionError: TensorFlow cannot convert the decision, or the graphs do not fit.
    """
    behind = flatbuffer.parsed(_converted(_decision(familiarity=card.has_familiarity)))
    known = [spec for name, spec in card.outputs.items() if name in ("probabilities", "familiarity")]
    _name_ends(behind, (*known, *DECIDED))
    _set_constant(behind, THRESHOLDS, _STAND_INS, least_float32(card.thresholds.to_dict().values()))
    if card.has_familiarity:
        _set_constant(
            behind, FAMILIARITY_LIMIT, (_LIMIT_STAND_IN,), least_float32([card.rejection.least_familiarity])
        )
    wires = {spec.name: spec.name for spec in known}
    document = flatbuffer.joined(flatbuffer.parsed(payload), behind, wires, list(_outputs(card)))
    flatbuffer.sign(document)
    return flatbuffer.packed(document)


def for_mediapipe(payload: bytes) -> bytes:
    """Returns a graph that takes a colour image of a grey slice, and answers with the probabilities alone.

    MediaPipe's ImageClassifier takes three channels, and one output. A slice is grey, so that its channels
    are equal: the second is taken, of which a tinted picture's brightness has most.
    """
    before = flatbuffer.parsed(_converted(_channel()))
    _name_ends(before, (MEDIAPIPE_INPUT, TensorSpec("grey", IMAGE.dtype, IMAGE.shape)))
    document = flatbuffer.joined(before, flatbuffer.parsed(payload), {INPUT: "grey"}, ["probabilities"])
    flatbuffer.sign(document)
    return flatbuffer.packed(document)


def answers(payload: bytes, slices: npt.NDArray[np.uint8], title: str = "") -> Outputs:
    """Runs such a graph in LiteRT for slices `(N, 224, 224, 1)`; returns `(N, ...)` by output."""
    # Where it is used: LiteRT has no wheel for every machine that TensorFlow runs on.
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

    with silenced():
        interpreter = Interpreter(model_content=payload, num_threads=1)
        runner = interpreter.get_signature_runner("serving_default")
    channels = int(interpreter.get_input_details()[0]["shape"][3])
    results = [
        runner(image=np.repeat(image[np.newaxis], channels, axis=3)) for image in progress(slices, title)
    ]
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def prove(name: str, data: bytes, slices: npt.NDArray[np.uint8], plain: Outputs) -> None:
    """Lets pass a file that answers as the plain one did, by output `(N, ...)`, and decides as Falx does.

    Raises:
        ParityError: it answers something else.
    """
    card, payload = extract(data, name=name)
    got = answers(payload, slices, f"Compare {name}")
    for output in set(got) & set(plain):
        compare(f"{name}: {output}", got[output], plain[output], SAME)
    if "decision" not in got:
        return
    if wrong := sum(map(bool, contradictions(got, card))):
        raise ParityError(f"{name}: decides {wrong} of {len(slices)} slices otherwise than Falx")


def contradictions(got: Outputs, card: Card) -> list[str]:
    """Returns for each slice how a graph decides otherwise than Falx on its probabilities; else empty."""
    found = []
    for index, decision in enumerate(got["decision"].tolist()):
        familiarity = got["familiarity"][index].item() if "familiarity" in got else None
        probabilities = got["probabilities"][index].tolist()
        wanted = after(probabilities, familiarity, None, card.rejection, card.thresholds).decision
        said = DECISIONS[decision]
        found.append("" if said == wanted else f"decides {said}, Falx {wanted}")
    return found


def _outputs(card: Card) -> dict[str, TensorSpec]:
    """Returns the outputs of the self-contained graph, in their order, for the card of the plain one."""
    return {spec.name: spec for spec in (*DECIDED, *card.outputs.values())}


def _decision(*, familiarity: bool) -> GenericFunction:
    """Returns the decision as a tf.function, with stand-ins for its limits."""
    floats = [tf.TensorSpec((1, len(LABELS)), tf.float32, name="probabilities")]
    if familiarity:
        floats.append(tf.TensorSpec((1, 1), tf.float32, name="familiarity"))
    ambiguous, rejected = (tf.constant([DECISIONS.index(word)]) for word in (AMBIGUOUS, REJECTED))
    first_tumor = LABELS.index(TUMOR_LABELS[0])

    @tf.function(input_signature=floats)  # type: ignore[untyped-decorator] # TensorFlow has no types
    def decide(probabilities: tf.Tensor, *known: tf.Tensor) -> dict[str, tf.Tensor]:
        enough = tf.greater_equal(probabilities, tf.constant(_STAND_INS))
        # argmax takes the first of equals, as the runtime does.
        tumor = first_tumor + tf.argmax(probabilities[:, first_tumor:], axis=1, output_type=tf.int32)
        found = tf.gather(tf.cast(enough[0], tf.int32), tumor) > 0
        decision = tf.where(found, tumor, ambiguous)
        decision = tf.where(enough[:, LABELS.index(NO_TUMOR)], LABELS.index(NO_TUMOR), decision)
        for value in known:
            decision = tf.where(tf.greater_equal(value, [[_LIMIT_STAND_IN]])[0], decision, rejected)
        padding = tf.zeros(len(DECISIONS) - len(LABELS))
        confidence = tf.gather(tf.concat([probabilities[0], padding], 0), decision)
        return {"decision": decision, "confidence": confidence}

    return decide


def _channel() -> GenericFunction:
    @tf.function(input_signature=[tf.TensorSpec(MEDIAPIPE_INPUT.shape, tf.uint8, name=INPUT)])  # type: ignore[untyped-decorator] # as above
    def grey(image: tf.Tensor) -> tf.Tensor:
        return image[..., 1:2]

    return grey


def _converted(function: GenericFunction) -> bytes:
    concrete = function.get_concrete_function()
    with silenced(), converting("TensorFlow"):
        return bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], function).convert())


def _name_ends(document: flatbuffer.TfliteGraph, specs: Iterable[TensorSpec]) -> None:
    """Names a small graph's inputs and outputs, which the converter orders and calls as it likes."""
    graph = document.subgraphs[0]
    tensors = [graph.tensors[int(index)] for index in (*graph.inputs, *graph.outputs)]
    found = {(tensor.type, tuple(int(axis) for axis in tensor.shape)): tensor for tensor in tensors}
    wanted = {(getattr(schema.TensorType, spec.dtype.upper()), spec.shape): spec.name for spec in specs}
    if len(found) != len(tensors) or set(found) != set(wanted):
        raise ConversionError(f"TensorFlow made a graph of {sorted(found)}, expected {sorted(wanted)}")
    for key, tensor in found.items():
        tensor.name = wanted[key].encode()


def _set_constant(
    document: flatbuffer.TfliteGraph, name: str, stand_in: tuple[float, ...], values: npt.NDArray[np.float32]
) -> None:
    """Gives the constant that holds the stand-ins its name, its values, and a buffer of its own."""
    wanted = np.array(stand_in, np.float32).tobytes()
    found = [
        tensor
        for tensor in document.subgraphs[0].tensors
        if document.buffers[tensor.buffer].data is not None
        and bytes(document.buffers[tensor.buffer].data) == wanted
    ]
    if len(found) != 1:
        raise ConversionError(f"TensorFlow made {len(found)} constants of {name} in the decision, not one")
    found[0].name = name.encode()
    document.buffers[found[0].buffer].data = np.frombuffer(values.tobytes(), np.uint8)
