"""One ONNX file that does all that Falx does: from the pixels of a picture to the decision.

For programs that run ONNX and have no Python: C++, C#, JavaScript. Standard operators only; no branch and
no loop, so a picture that is rejected costs as much as another.

`OUTPUTS` and `DOCUMENTATION` describe what goes in and comes out; `heatmap`, `familiarity` and `no_brain` are
there where the model has them.

The thresholds are the constant `thresholds`, float32 `(4,)` in the order of the labels; the limits of the
rejection checks are constants named as in the card.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]
from onnx import compose, helper

from falx import decision, phantom
from falx.engines import Engine
from falx.model.card import Card, TensorSpec
from falx.model.file import embed, extract
from falx.slices.preprocessing import prepare
from falx.slices.reasons import REASONS
from falx.slices.slice import Slice
from falx.words import DECISIONS, LABELS, REJECTED
from falx_export.convert.onnx_format import DOMAINS, IR_VERSION, OPSET
from falx_export.convert.onnx_format import prove as prove_format
from falx_export.errors import ConversionError, ParityError
from falx_export.self_contained import onnx_preprocessing, onnx_rejection
from falx_export.self_contained.onnx_builder import Graph, Tensor
from falx_export.self_contained.onnx_decision import decide
from falx_export.self_contained.onnx_rejection import NONE
from falx_runs.silence import progress

Outputs = dict[str, npt.NDArray[Any]]
"""The answers of a graph, by the names of its outputs, each of a type of its own."""

SUFFIX: Final = "-self-contained"
"""Stands in the file's name before `.onnx`."""

TOLERANCE: Final = 0.01
"""The most that a probability may be from the one that the model's own graph answers, 0..1."""

INPUT: Final = TensorSpec("image", "uint8", ("height", "width", "channels"))

OUTPUTS: Final = {
    spec.name: spec
    for spec in (
        TensorSpec("decision", "int32", ()),
        TensorSpec("decision_label", "string", ()),
        TensorSpec("rejected", "bool", ()),
        TensorSpec("reason", "int32", ()),
        TensorSpec("probabilities", "float32", (len(LABELS),)),
        TensorSpec("confidence", "float32", ()),
        TensorSpec("heatmap", "float32", ("height", "width")),
        TensorSpec("familiarity", "float32", ()),
        TensorSpec("no_brain", "float32", ()),
    )
}

_MODEL: Final = "model"
"""Names of the model's own graph begin with it."""

_CODES: Final = ", ".join(f"{index} {code}" for index, code in enumerate(REASONS, NONE + 1))
DOCUMENTATION: Final = {
    "image": "a decoded picture: 0 black to 255 white, 1 channel (grey) or 3 (RGB), any size",
    "decision": ", ".join(f"{index} {word}" for index, word in enumerate(DECISIONS)),
    "decision_label": "the decision as a word",
    "rejected": "whether the picture is not a usable MRI slice of a head",
    "reason": f"why it is rejected: {NONE} it is not, {_CODES}",
    "probabilities": f"of {', '.join(LABELS)}; all 0 where rejected",
    "confidence": "the probability of the decided label; 0 where ambiguous or rejected",
    "heatmap": "where a tumour would be, 0..1, on the picture; all 0 where rejected",
    "familiarity": "the probability, 0..1, that the picture is a slice of a brain",
    "no_brain": "the probability, 0..1, that the picture is of a head, but shows no brain",
}
"""The texts that a graph viewer shows beside an input or output."""


def file_name(name: str) -> str:
    """Returns the name of the self-contained file beside a model's own, `NAME.onnx`."""
    return f"{name.removesuffix('.onnx')}{SUFFIX}.onnx"


def sealed(payload: bytes, card: Card) -> bytes:
    """Returns the self-contained file of a model: the graph and its card.

    Raises:
        ConversionError: the model's own graph is not what Falx makes, or the self-contained one answers
            something else than the card's self-test says, or rejects what that answers for.
    """
    graph = build(payload, card)
    _prove_answers(graph, card)
    names = [output.name for output in onnx.load_from_string(graph).graph.output]
    described = replace(
        card,
        self_contained=True,
        input=INPUT,
        outputs={name: OUTPUTS[name] for name in names},
    )
    return embed(graph, described, format="onnx")


def build(payload: bytes, card: Card) -> bytes:
    """Returns the self-contained graph of a model, with its card's thresholds and limits, but no card."""
    model = _model(payload)
    g = Graph()
    image = g.input(INPUT.name, INPUT.dtype)
    picture = onnx_preprocessing.read(g, image)
    frame = onnx_preprocessing.find_head(g, picture)
    tensor = onnx_preprocessing.prepare(g, picture, frame)
    answers = _answers(g, model.graph, tensor)
    known, no_brain = (answers.get(name) for name in ("familiarity", "no_brain"))
    reason = onnx_rejection.reason(g, picture, card.rejection, known, no_brain)
    outputs = decide(g, answers["probabilities"], reason, card.thresholds)
    if "heatmap" in answers:
        side = _side(model.graph)
        shown = onnx_preprocessing.heatmap(g, answers["heatmap"], side, picture, frame)
        outputs["heatmap"] = g.output("heatmap", g.where(outputs["rejected"], g.scalar(0, np.float32), shown))
    for name in ("familiarity", "no_brain"):
        if name in answers:
            outputs[name] = g.output(name, g.node("Reshape", answers[name], g.integers()))
    graph = g.built(
        "falx",
        [_described(INPUT)],
        [_described(OUTPUTS[name]) for name in OUTPUTS if name in outputs],
        f"{card.name} {card.version}. {card.disclaimer}",
    )
    built = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="falx"
    )
    prove_format(built)
    return bytes(built.SerializeToString(deterministic=True))


def started(payload: bytes) -> Callable[[npt.NDArray[np.uint8]], Outputs]:
    """Returns what runs a self-contained graph in ONNX Runtime for a picture, `(H, W, 1)` or `(H, W, 3)`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(payload, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda image: dict(zip(names, session.run(names, {INPUT.name: image}), strict=True))


def contradiction(got: Outputs, picture: Slice, card: Card) -> str:
    """Returns how a graph decides otherwise than Falx on the same pixels and probabilities; empty if not."""
    familiarity, no_brain = (
        float(got[name]) if name in got else None for name in ("familiarity", "no_brain")
    )
    seen = decision.before(lambda: picture, card.rejection)
    if isinstance(seen, decision.Refusal):
        outcome = decision.Outcome(REJECTED, seen.reason, 0.0)
    else:
        answered = got["probabilities"].tolist()
        outcome = decision.after(
            answered, familiarity, None, card.rejection, card.thresholds, no_brain=no_brain
        )
    wanted, reason = outcome.decision, outcome.reason
    said = (DECISIONS[int(got["decision"])], str(got["decision_label"]), bool(got["rejected"]), _code(got))
    right = (wanted, wanted, reason is not None, reason.code if reason else None)
    return "" if said == right else f"decides {_words(said)}, Falx {_words(right)}"


def compare(name: str, got: npt.NDArray[Any], wanted: npt.NDArray[Any], most: float) -> None:
    """Raises ParityError where an output is further than `most` from that of the plain graph."""
    apart = float(np.abs(got - wanted).max())
    # NaN compares false with everything, and must not pass.
    if not apart <= most:
        raise ParityError(f"{name} is {apart:.4g} from that of the graph it is made of, {most} is allowed")


def prove(name: str, data: bytes, slices: npt.NDArray[np.uint8], engine: Engine) -> None:
    """Lets pass a file that answers as the runtime does with the model's own graph, and decides as Falx does.

    It is tried on the drawn phantoms, and on the slices `(N, 224, 224, 1)`, each taken for a picture and
    prepared once more.

    Raises:
        ParityError: it answers or decides something else; or it rejects every picture, so that no
            probability was compared.
    """
    card, payload = extract(data, name=name)
    run = started(payload)
    pictures = [draw() for draw in phantom.PHANTOMS.values()] + [image[..., 0] for image in slices]
    answered = 0
    for pixels in progress(pictures, f"Compare {name}"):
        got = run(pixels[:, :, np.newaxis])
        if wrong := contradiction(got, Slice(pixels), card):
            raise ParityError(f"{name}: {wrong} on the same picture")
        wanted = engine.run(prepare(pixels)[0])
        # A picture that is rejected has no probabilities, but a familiarity all the same.
        compared = [output for output in ("probabilities", "familiarity", "no_brain") if output in got]
        if got["rejected"]:
            compared.remove("probabilities")
        else:
            answered += 1
        for output in compared:
            compare(f"{name}: {output}", got[output], wanted[output], TOLERANCE)
    if not answered:
        raise ParityError(
            f"{name}: rejects all of {len(pictures)} phantoms and slices, so that no probability can be "
            "compared; give slices of heads with --data"
        )


def _code(got: Outputs) -> str | None:
    index = int(got["reason"])
    return None if index == NONE else list(REASONS)[index - NONE - 1]


def _words(answer: tuple[str, str, bool, str | None]) -> str:
    index, label, rejected, code = answer
    named = index if index == label else f"{index} ({label} in words)"
    return f"{named}, {'rejected' if rejected else 'not rejected'}{f' ({code})' if code else ''}"


def _prove_answers(graph: bytes, card: Card) -> None:
    run = started(graph)
    for test in card.self_test:
        got = run(phantom.PHANTOMS[test.phantom]()[:, :, np.newaxis])
        probabilities, code = got["probabilities"], _code(got)
        # A model may find a drawing unfamiliar; then there is nothing to compare.
        if code in ("unfamiliar", "no_brain"):
            continue
        if code is not None:
            raise ConversionError(
                f"the self-contained ONNX graph rejects the phantom {test.phantom} ({code}), which has the "
                "answers of the self-test; give the card limits that let it pass"
            )
        difference = float(np.abs(probabilities - np.array(test.probabilities)).max())
        # NaN compares false with everything, and must not pass.
        if not difference <= TOLERANCE:
            raise ConversionError(
                f"the self-contained ONNX graph answers {probabilities.tolist()} for the phantom "
                f"{test.phantom}, the model's own {list(test.probabilities)}"
            )


def _model(payload: bytes) -> onnx.ModelProto:
    model = onnx.load_from_string(payload)
    inputs = [tensor.name for tensor in model.graph.input]
    versions = [(entry.domain, entry.version) for entry in model.opset_import if entry.domain in DOMAINS]
    if inputs != ["image"] or "probabilities" not in {output.name for output in model.graph.output}:
        raise ConversionError(f"expected a graph from image to probabilities, got one from {inputs}")
    if versions != [("", OPSET)]:
        raise ConversionError(f"expected a graph in opset {OPSET}, got {versions}")
    return compose.add_prefix(model, f"{_MODEL}/")


def _answers(g: Graph, model: onnx.GraphProto, tensor: Tensor) -> dict[str, Tensor]:
    """Returns the model's outputs for the tensor, by their names in the model's own graph."""
    given = model.input[0].name
    for node in model.node:
        for index, name in enumerate(node.input):
            if name == given:
                node.input[index] = tensor.name
    return {name.removeprefix(f"{_MODEL}/"): value for name, value in g.insert(model).items()}


def _side(model: onnx.GraphProto) -> int:
    """Returns the number of cells in a row of the model's heatmap."""
    output = next(output for output in model.output if output.name == f"{_MODEL}/heatmap")
    return int(output.type.tensor_type.shape.dim[-1].dim_value)


def _described(spec: TensorSpec) -> onnx.ValueInfoProto:
    kind = object if spec.dtype == "string" else spec.dtype
    elements = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    return helper.make_tensor_value_info(
        spec.name, elements, list(spec.shape), doc_string=DOCUMENTATION[spec.name]
    )
