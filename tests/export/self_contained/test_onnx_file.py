"""The self-contained ONNX file does what the runtime does, from the pixels to the decision."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator
from PIL import Image
from tests import cards

import falx
from falx import engines, phantom
from falx.decision import Thresholds, decide
from falx.model import file as model_file
from falx.model.card import Card, SelfTest
from falx.model.retarget import least_float32, retarget
from falx.prediction import Location
from falx.reading import source
from falx.slices import rejection
from falx.slices.limits import Limits
from falx.slices.preprocessing import find_head, prepare
from falx.slices.reasons import REASONS
from falx.slices.slice import Slice
from falx.words import DECISIONS, LABELS
from falx_export.convert.onnx_format import IR_VERSION, OPSET
from falx_export.errors import ConversionError, ParityError
from falx_export.self_contained import onnx_decision, onnx_file, onnx_preprocessing, onnx_rejection
from falx_export.self_contained.onnx_builder import Graph, Tensor
from falx_runs.manifest import read_records

Pixels = npt.NDArray[np.uint8]
Run = Callable[..., dict[str, Any]]

PROBABILITIES = (0.1, 0.2, 0.65, 0.05)
THRESHOLDS = Thresholds(no_tumor=0.82, meningioma=0.6, glioma=0.55, pituitary=0.55)

pictures = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3])),
    elements=st.integers(0, 255),
    fill=st.sampled_from([0, 7, 255]).map(np.uint8),
)


def session(graph: onnx.GraphProto) -> Run:
    """Runs a graph by the names of its inputs and outputs."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return loaded(model.SerializeToString())


def loaded(data: bytes) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    run = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in run.get_outputs()]
    return lambda **given: dict(
        zip(names, run.run(names, {key: np.asarray(given[key]) for key in given}), strict=True)
    )


def value(name: str, dtype: Any, shape: list[Any] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


@pytest.fixture(scope="module")
def prepared() -> Run:
    """From `image` to `tensor`."""
    g = Graph()
    picture = onnx_preprocessing.read(g, g.input("image", np.uint8))
    tensor = onnx_preprocessing.prepare(g, picture, onnx_preprocessing.find_head(g, picture))
    g.output("tensor", tensor)
    shape = ["height", "width", "channels"]
    return session(
        g.built("test", [value("image", np.uint8, shape)], [value("tensor", np.uint8, [1, 224, 224, 1])], "")
    )


@pytest.fixture(scope="module")
def checked() -> Run:
    """From `image` and the limits, by their names, to `reason`."""
    g = Graph()
    picture = onnx_preprocessing.read(g, g.input("image", np.uint8))
    g.output("reason", onnx_rejection.reason(g, picture, Limits(), None, None))
    graph = g.built("test", [value("image", np.uint8, [None] * 3)], [value("reason", np.int32, [])], "")
    named = [name for name in Limits().to_dict() if name != "least_familiarity"]
    # A constant that is an input too may be given another value.
    graph.input.extend(value(name, np.float64, []) for name in named)
    run = session(graph)
    return lambda image, limits: run(
        image=image, **{name: np.float64(limits.to_dict()[name]) for name in named}
    )


@pytest.fixture(scope="module")
def decided() -> Run:
    """From `answered`, `reason` and `thresholds` to what belongs to the decision."""
    g = Graph()
    outputs = onnx_decision.decide(g, g.input("answered", np.float32), g.input("why", np.int32), THRESHOLDS)
    inputs = [value("answered", np.float32, [1, 4]), value("why", np.int32, [])]
    specs = [onnx_file.OUTPUTS[name] for name in outputs]
    kinds = [object if spec.dtype == "string" else spec.dtype for spec in specs]
    graph = g.built(
        "test",
        [*inputs, value("thresholds", np.float32, [4])],
        [value(spec.name, kind, list(spec.shape)) for spec, kind in zip(specs, kinds, strict=True)],
        "",
    )
    return session(graph)


def small(
    familiarity: float | None = None,
    *,
    no_brain: float | None = None,
    probabilities: tuple[float, ...] = PROBABILITIES,
    side: int = 7,
    opset: int = OPSET,
) -> bytes:
    """A model of constant probabilities, whose heatmap is the brightness of the tensor's parts."""
    part = 224 // side
    constants = ", ".join(str(p) for p in probabilities)
    text = f"""<ir_version: {IR_VERSION}, opset_import: ["" : {opset}]>
    small (uint8[1,224,224,1] image) => (float[1,4] probabilities, float[1,{side},{side}] heatmap) {{
        brightness = Cast<to=1>(image)
        channels_first = Transpose<perm=[0,3,1,2]>(brightness)
        parts = AveragePool<kernel_shape=[{part},{part}], strides=[{part},{part}]>(channels_first)
        white = Constant<value_float=255.0>()
        shares = Div(parts, white)
        cells = Constant<value_ints=[1,{side},{side}]>()
        heatmap = Reshape(shares, cells)
        answers = Constant<value_floats=[{constants}]>()
        labels = Constant<value_ints=[1,4]>()
        probabilities = Reshape(answers, labels)
    }}"""
    model = parser.parse_model(text)
    for name, share in (("familiarity", familiarity), ("no_brain", no_brain)):
        if share is not None:
            tensor = helper.make_tensor("share", onnx.TensorProto.FLOAT, [1, 1], [share])
            model.graph.node.append(helper.make_node("Constant", [], [name], value=tensor))
            model.graph.output.append(value(name, np.float32, [1, 1]))
    return bytes(model.SerializeToString())


def described(familiarity: bool = False, **limits: float) -> Card:
    shapes = cards.PLAIN | ({"familiarity": (1, 1)} if familiarity else {})
    return cards.card(shapes, thresholds=THRESHOLDS, rejection=Limits(**limits))


def engine_of(graph: bytes, card: Card | None = None) -> engines.Engine:
    return engines.start("onnx", graph, card or described(), threads=1)


@pytest.fixture(scope="module")
def file() -> bytes:
    return onnx_file.sealed(small(), described())


@pytest.fixture(scope="module")
def answers(file: bytes) -> Run:
    return loaded(file)


@pytest.fixture(scope="module")
def model(file: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(file)


def head(height: int, width: int, seed: int = 0, noise: float = 4) -> Pixels:
    """A drawn head of any size with noise, `(height, width, 1)`."""
    drawn = Image.fromarray(phantom.lesion()).resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(drawn, np.float64)
    pixels = pixels + np.random.default_rng(seed).normal(0, noise, pixels.shape) * (pixels > 0)
    return pixels.clip(0, 255).astype(np.uint8)[:, :, np.newaxis]


def number(code: str | None) -> int:
    """The number that a reason has in the file."""
    return 0 if code is None else 1 + list(REASONS).index(code)


def expected_code(image: Pixels, limits: Limits) -> int:
    reason = rejection.check(source.read(image), limits)
    return number(None if reason is None else reason.code)


class TestPreparation:
    @given(image=pictures)
    def test_any_picture_becomes_the_same_tensor(self, prepared: Run, image: Pixels) -> None:
        expected, _ = prepare(source.read(image).pixels)
        np.testing.assert_array_equal(prepared(image=image)["tensor"][0, :, :, 0], expected)

    @pytest.mark.parametrize(
        ("height", "width"),
        [(1, 1), (1, 500), (500, 1), (224, 224), (256, 192), (512, 512), (1500, 300), (1080, 1920)],
    )
    def test_a_head_of_any_size(self, prepared: Run, height: int, width: int) -> None:
        image = head(height, width)
        expected, _ = prepare(image[:, :, 0])
        np.testing.assert_array_equal(prepared(image=image)["tensor"][0, :, :, 0], expected)

    def test_the_drawn_head_is_cut_out(self) -> None:
        frame = find_head(head(300, 300)[:, :, 0])
        assert (frame.width, frame.height) == (199, 247)

    def test_colours_become_grey_as_in_the_runtime(self, prepared: Run) -> None:
        # All the colours whose channels are multiples of 17, each at a place of its own.
        steps = np.arange(0, 256, 17, dtype=np.uint8)
        image = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(64, 64, 3)
        expected, _ = prepare(source.read(image).pixels)
        np.testing.assert_array_equal(prepared(image=image)["tensor"][0, :, :, 0], expected)

    @pytest.mark.parametrize(("channels", "node"), [(2, "grey/blue/"), (4, "grey/channels")])
    def test_other_channels_are_refused(self, prepared: Run, channels: int, node: str) -> None:
        with pytest.raises(Exception, match=f"Name:'{node}"):  # ONNX Runtime's have no common base but this
            prepared(image=np.zeros((64, 64, channels), np.uint8))


class TestRejection:
    @given(image=pictures, side=st.sampled_from([1, 64]))
    def test_any_picture(self, checked: Run, image: Pixels, side: int) -> None:
        limits = Limits(minimum_side=side)
        assert checked(image=image, limits=limits)["reason"] == expected_code(image, limits)

    # Each limit alone at a value where it may decide, the others where they reject nothing.
    @given(
        name=st.sampled_from(
            [
                ("maximum_background", 0.0, 0.6),
                ("maximum_third_corner", 0.0, 0.9),
                ("minimum_head", 0.2, 0.7),
                ("minimum_solidity", 0.6, 1.0),
                ("minimum_lit", 0.5, 1.0),
                ("minimum_detail", 0.0, 0.4),
                ("maximum_detail", 0.0, 0.4),
            ]
        ),
        share=st.floats(0, 1),
        height=st.integers(64, 300),
        width=st.integers(64, 300),
        noise=st.sampled_from([0, 4, 40]),
        background=st.sampled_from([0, 30]),
        holes=st.sampled_from([0.0, 0.3, 0.6]),
    )
    def test_each_limit_of_the_shape_of_a_head(
        self,
        checked: Run,
        name: tuple[str, float, float],
        share: float,
        height: int,
        width: int,
        noise: float,
        background: int,
        holes: float,
    ) -> None:
        limit, low, high = name
        open_limits = {
            "minimum_contrast": 0.0,
            "maximum_background": 9.0,
            "maximum_third_corner": 9.0,
            "minimum_head": 0.0,
            "minimum_solidity": 0.0,
            "minimum_lit": 0.0,
            "minimum_detail": 0.0,
            "maximum_detail": 9.0,
        }
        limits = Limits(**{**open_limits, limit: low + share * (high - low)})
        image = np.maximum(head(height, width, noise=noise), background).astype(np.uint8)
        dark = np.random.default_rng(1).random((height // 16 + 1, width // 16 + 1)) < holes
        image[np.repeat(np.repeat(dark, 16, axis=0), 16, axis=1)[:height, :width]] = background
        # One corner is brighter than the others.
        image[: height // 4, : width // 4] += 20
        assert checked(image=image, limits=limits)["reason"] == expected_code(image, limits)

    @pytest.mark.parametrize(
        ("image", "code"),
        [
            (head(63, 200), "too_small"),
            (np.full((100, 100, 1), 90, np.uint8), "blank"),
            (np.zeros((1, 1, 3), np.uint8), "too_small"),
            (np.concatenate([head(128, 128), head(128, 128) // 2, head(128, 128)], axis=2), "not_grey"),
            (np.random.default_rng(0).integers(0, 256, (128, 128, 1)).astype(np.uint8), "no_head"),
            (np.tile(np.arange(128, dtype=np.uint8)[:, None, None], (1, 128, 1)), "no_head"),
        ],
        ids=["too_small", "blank", "one_pixel", "not_grey", "noise", "gradient"],
    )
    def test_a_rejected_picture_has_its_reason_and_zeros(
        self, answers: Run, image: Pixels, code: str
    ) -> None:
        assert (found := rejection.check(source.read(image), Limits())) is not None
        assert found.code == code
        got = answers(image=image)
        assert got["rejected"]
        assert (DECISIONS[got["decision"]], got["decision_label"]) == ("rejected", "rejected")
        assert list(REASONS)[got["reason"] - 1] == code
        assert got["probabilities"].tolist() == [0, 0, 0, 0]
        assert got["confidence"] == 0
        assert got["heatmap"].shape == image.shape[:2]
        assert not got["heatmap"].any()

    @pytest.mark.parametrize(
        ("familiarity", "no_brain", "code"),
        [
            (0.49, None, "unfamiliar"),
            (0.5, None, None),
            (0.9, None, None),
            (0.49, 0.26, "no_brain"),
            (0.5, 0.5, None),
            (0.25, 0.375, "unfamiliar"),
            (0.0, 0.3, "unfamiliar"),
        ],
    )
    def test_an_unfamiliar_picture_or_a_head_without_brain(
        self, familiarity: float, no_brain: float | None, code: str | None
    ) -> None:
        card = described(familiarity=True, least_familiarity=0.5)
        run = loaded(onnx_file.build(small(familiarity, no_brain=no_brain), card))
        got = run(image=head(128, 128))
        assert (got["rejected"], got["reason"]) == (code is not None, number(code))
        assert got["familiarity"] == np.float32(familiarity)
        assert got.get("no_brain") == (None if no_brain is None else np.float32(no_brain))
        assert onnx_file.contradiction(got, Slice(head(128, 128)[..., 0]), card) == ""
        # A check of the pixels comes first.
        assert run(image=head(32, 32))["reason"] == 1


class TestDecision:
    @given(
        values=st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any),
        levels=st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
    )
    def test_it_is_that_of_the_runtime(self, decided: Run, values: list[int], levels: list[float]) -> None:
        probabilities = (np.array(values) / sum(values)).astype(np.float32)
        thresholds = Thresholds(*levels)
        got = run_decision(decided, probabilities, thresholds)
        expected = decide(probabilities.tolist(), thresholds)
        assert (DECISIONS[got["decision"]], got["decision_label"]) == (expected, expected)
        assert not got["rejected"]
        by_label = dict(zip(LABELS, probabilities, strict=True))
        assert got["confidence"] == by_label.get(expected, 0)
        np.testing.assert_array_equal(got["probabilities"], probabilities)

    # 0.82 lies above the nearest float32, 0.6 below it.
    @pytest.mark.parametrize("threshold", [0.82, 0.6, 0.5, 1.0])
    @pytest.mark.parametrize("label", LABELS)
    def test_at_the_very_threshold(self, decided: Run, label: str, threshold: float) -> None:
        thresholds = Thresholds(**{**dict.fromkeys(LABELS, 1.0), label: threshold})
        nearest = np.float32(threshold)
        for probability in (*np.nextafter(nearest, np.array([0, 2], np.float32)), nearest):
            probabilities = np.zeros(4, np.float32)
            probabilities[LABELS.index(label)] = min(probability, np.float32(1))
            got = run_decision(decided, probabilities, thresholds)
            assert got["decision_label"] == decide(probabilities.tolist(), thresholds)

    def test_rejected_goes_before_all(self, decided: Run) -> None:
        probabilities = np.array([1, 0, 0, 0], np.float32)
        got = run_decision(decided, probabilities, THRESHOLDS, why=3)
        assert (got["decision_label"], got["reason"], got["confidence"]) == ("rejected", 3, 0)


def run_decision(
    run: Run, probabilities: npt.NDArray[np.float32], thresholds: Thresholds, why: int = 0
) -> dict[str, Any]:
    return run(
        answered=probabilities[np.newaxis],
        why=np.int32(why),
        thresholds=least_float32(thresholds.to_dict().values()),
    )


class TestFile:
    @pytest.mark.parametrize(
        ("height", "width", "side"), [(64, 64, 7), (100, 300, 7), (512, 512, 7), (601, 77, 7), (256, 200, 14)]
    )
    def test_the_heatmap_lies_on_the_picture(self, height: int, width: int, side: int) -> None:
        answers = loaded(onnx_file.build(small(side=side), described()))
        image = head(height, width)
        tensor, frame = prepare(image[:, :, 0])
        parts = tensor.reshape(side, 224 // side, side, 224 // side)
        cells = parts.mean(axis=(1, 3)).astype(np.float32) / 255
        expected = Location(cells, frame, (height, width)).heatmap()
        got = answers(image=image)
        assert got["decision_label"] == "glioma"
        assert expected.max() > 0.3
        np.testing.assert_allclose(got["heatmap"], expected, atol=1e-5)

    def test_inputs_and_outputs_are_as_documented(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        ends = {
            end.name: (
                end.type.tensor_type.elem_type,
                [axis.dim_param or axis.dim_value for axis in end.type.tensor_type.shape.dim],
            )
            for end in [*graph.input, *graph.output]
        }
        kinds = onnx.TensorProto
        assert ends == {
            "image": (kinds.UINT8, ["height", "width", "channels"]),
            "decision": (kinds.INT32, []),
            "decision_label": (kinds.STRING, []),
            "rejected": (kinds.BOOL, []),
            "reason": (kinds.INT32, []),
            "probabilities": (kinds.FLOAT, [4]),
            "confidence": (kinds.FLOAT, []),
            "heatmap": (kinds.FLOAT, ["height", "width"]),
        }
        documented = {end.name: end.doc_string for end in [*graph.input, *graph.output]}
        assert documented["decision"] == (
            "0 no_tumor, 1 meningioma, 2 glioma, 3 pituitary, 4 ambiguous, 5 rejected"
        )
        assert documented["reason"].startswith("why it is rejected: 0 it is not, 1 too_small, 2 blank")
        assert all(documented.values())

    def test_it_is_valid_and_standard(self, model: onnx.ModelProto) -> None:
        onnx.checker.check_model(model, full_check=True)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
        assert {node.domain for node in model.graph.node} == {""}
        assert not model.functions

    def test_it_does_the_same_in_the_reference_implementation_of_onnx(
        self, model: onnx.ModelProto, answers: Run
    ) -> None:
        reference = ReferenceEvaluator(model)
        for image in (head(100, 130), np.repeat(head(300, 200), 3, axis=2), head(70, 70, noise=90)):
            got = dict(zip(reference.output_names, reference.run(None, {"image": image}), strict=True))
            for name, wanted in answers(image=image).items():
                np.testing.assert_array_equal(got[name], wanted, err_msg=name)

    def test_its_names_say_what_is_calculated(self, model: onnx.ModelProto) -> None:
        names = [node.name for node in model.graph.node if not node.output[0].startswith("model/")]
        assert len(set(names)) == len(names)
        assert {name.split("/")[0] for name in names} == {
            *("grey", "head", "resize", "stretch", "centre", "rejection", "heatmap", "decision"),
            *("decision_label", "rejected", "reason", "probabilities", "confidence"),
        }
        wanted = {"head/foreground", "resize/horizontal/weights", "rejection/no_head", "decision/tumor"}
        assert wanted <= {*names}

    def test_thresholds_and_limits_are_constants_of_their_names(self, model: onnx.ModelProto) -> None:
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        assert constants["thresholds"].dtype == np.float32
        np.testing.assert_allclose(constants["thresholds"], [0.82, 0.6, 0.55, 0.55], rtol=1e-7)
        for name, limit in Limits().to_dict().items():
            if name != "least_familiarity":
                assert constants[name] == limit

    def test_the_same_model_gives_the_same_bytes(self, file: bytes) -> None:
        assert onnx_file.sealed(small(), described()) == file

    def test_the_card_says_what_it_is(self, file: bytes) -> None:
        card, payload = model_file.extract(file)
        assert card.self_contained
        assert card.input == onnx_file.INPUT
        assert card.outputs == {
            name: spec for name, spec in onnx_file.OUTPUTS.items() if name not in ("familiarity", "no_brain")
        }
        assert card.thresholds == THRESHOLDS
        assert payload == onnx_file.build(small(), described())
        properties = {entry.key for entry in onnx.load_from_string(file).metadata_props}
        assert properties == {"falx"}

    def test_retarget_changes_its_thresholds(self, file: bytes) -> None:
        changed = retarget(file, {"glioma": 0.66, "pituitary": 0.7})
        thresholds = dataclasses.replace(THRESHOLDS, glioma=0.66, pituitary=0.7)
        expected = onnx_file.build(small(), dataclasses.replace(described(), thresholds=thresholds))
        assert model_file.extract(changed)[1] == expected
        # 0.65, which was enough for 0.55.
        assert loaded(file)(image=head(128, 128))["decision_label"] == "glioma"
        assert loaded(changed)(image=head(128, 128))["decision_label"] == "ambiguous"

    def test_another_graph_is_refused(self) -> None:
        with pytest.raises(ConversionError, match=r"expected a graph in opset 17, got \[\('', 16\)\]"):
            onnx_file.build(small(opset=16), described())
        model = onnx.load_from_string(small())
        model.graph.output[0].name = "logits"
        with pytest.raises(ConversionError, match="expected a graph from image to probabilities"):
            onnx_file.build(model.SerializeToString(), described())

    def test_other_answers_than_the_self_test_says_are_refused(self) -> None:
        other = dataclasses.replace(described(), self_test=(SelfTest("lesion", (0.7, 0.1, 0.1, 0.1)),))
        with pytest.raises(ConversionError, match=r"answers \[.*\] for the phantom lesion, the model's own"):
            onnx_file.sealed(small(), other)
        right = dataclasses.replace(described(), self_test=(SelfTest("lesion", PROBABILITIES),))
        assert model_file.extract(onnx_file.sealed(small(), right))[0].self_test == right.self_test

    def test_a_phantom_rejected_for_its_pixels_is_refused_and_an_unfamiliar_one_is_not(self) -> None:
        known = (SelfTest("lesion", (0.7, 0.1, 0.1, 0.1)),)
        large = dataclasses.replace(described(minimum_side=5000), self_test=known)
        message = r"rejects the phantom lesion \(too_small\), .* give the card"
        with pytest.raises(ConversionError, match=message):
            onnx_file.sealed(small(), large)
        unfamiliar = described(familiarity=True, least_familiarity=0.5)
        unfamiliar = dataclasses.replace(unfamiliar, self_test=known)
        for no_brain in (None, 0.7):
            assert onnx_file.sealed(small(0.2, no_brain=no_brain), unfamiliar)

    def test_it_is_proven_on_slices_against_the_graph_it_is_made_of(self, file: bytes) -> None:
        slices = np.stack([prepare(head(200, 160, seed)[..., 0])[0] for seed in range(3)])[..., np.newaxis]
        onnx_file.prove("small.onnx", file, slices, engine_of(small()))
        other = engine_of(small(probabilities=(0.1, 0.25, 0.6, 0.05)))
        message = r"small\.onnx: probabilities is 0\.05 from that of the graph it is made of, 0\.01"
        with pytest.raises(ParityError, match=message):
            onnx_file.prove("small.onnx", file, slices, other)

    def test_one_that_rejects_all_it_is_tried_on_is_not_proven(self) -> None:
        card = described(familiarity=True, least_familiarity=0.5)
        data = onnx_file.sealed(small(0.2), card)
        slices = np.zeros((2, 224, 224, 1), np.uint8)
        tried = len(phantom.PHANTOMS) + 2
        message = rf"small\.onnx: rejects all of {tried} phantoms and slices, .* with --data"
        with pytest.raises(ParityError, match=message):
            onnx_file.prove("small.onnx", data, slices, engine_of(small(0.2), card))
        # Rejected or not, the familiarity is that of the model.
        with pytest.raises(ParityError, match=r"small\.onnx: familiarity is 0\.2 from that of"):
            onnx_file.prove("small.onnx", data, slices, engine_of(small(0.4), card))

    def test_a_decision_that_is_not_that_of_falx_is_refused(self, file: bytes) -> None:
        # The card changed, the graph did not.
        card, payload = model_file.extract(file)
        thresholds = dataclasses.replace(THRESHOLDS, glioma=0.9)
        data = model_file.embed(payload, dataclasses.replace(card, thresholds=thresholds), format="onnx")
        slices = np.zeros((1, 224, 224, 1), np.uint8)
        message = "decides glioma, not rejected, Falx ambiguous, not rejected on the same picture"
        with pytest.raises(ParityError, match=rf"small\.onnx: {message}"):
            onnx_file.prove("small.onnx", data, slices, engine_of(small()))

    def test_a_rejection_that_is_not_that_of_falx_is_found(self, answers: Run) -> None:
        got = answers(image=head(63, 200))
        card = described()
        assert onnx_file.contradiction(got, Slice(head(63, 200)[..., 0]), card) == ""
        assert onnx_file.contradiction(got, Slice(head(128, 128)[..., 0]), card) == (
            "decides rejected, rejected (too_small), Falx ambiguous, not rejected"
        )

    def test_answers_that_are_no_numbers_are_refused(self) -> None:
        model = onnx.load_from_string(small())
        (answers,) = (node for node in model.graph.node if node.output[0] == "answers")
        answers.attribute[0].floats[0] = float("nan")
        card = dataclasses.replace(described(), self_test=(SelfTest("lesion", PROBABILITIES),))
        with pytest.raises(ConversionError, match=r"answers \[nan, .*\] for the phantom lesion"):
            onnx_file.sealed(model.SerializeToString(), card)


def test_real_slices_are_answered_as_by_the_runtime(data_folder: Path) -> None:
    (released,) = (Path(__file__).parents[3] / "models").glob("*/*-int8.onnx")
    classifier = falx.load(released, engine="onnx")
    card, payload = model_file.read(released)
    run = loaded(onnx_file.sealed(payload, card))
    records = read_records(data_folder)[::150]
    assert len(records) >= 40
    for record in records:
        expected = classifier.predict(record.path)
        with Image.open(record.path) as image:
            # Grey as it is; colours as RGB on black (docs/self-contained.md).
            grey = image.mode == "L"
            black = Image.new("RGBA", image.size, (0, 0, 0, 255))
            shown = image if grey else Image.alpha_composite(black, image.convert("RGBA")).convert("RGB")
            got = run(image=np.asarray(shown)[:, :, np.newaxis] if grey else np.asarray(shown))
        assert DECISIONS[int(got["decision"])] == got["decision_label"] == expected.decision, record.path
        code = None if expected.reason is None else expected.reason.code
        assert [None, *REASONS][int(got["reason"])] == code, record.path
        if expected.probabilities is not None:
            wanted = list(expected.probabilities.values())
            np.testing.assert_allclose(got["probabilities"], wanted, rtol=0, atol=1e-5)
        if expected.heatmap is not None:
            np.testing.assert_allclose(got["heatmap"], expected.heatmap, rtol=0, atol=1e-5)


class TestBuilder:
    def test_a_name_is_given_once(self) -> None:
        g = Graph()
        image = g.input("image", np.float32)
        first = g.named("first", image + 1)
        with pytest.raises(ValueError, match="second: has the name first already"):
            g.named("second", first)
        with pytest.raises(ValueError, match="first: is the name of another value"):
            g.named("first", image + 2)

    def test_steps_are_named_after_what_they_lead_to(self) -> None:
        g = Graph()
        image = g.input("image", np.float32)
        with g.scope("part"):
            g.named("result", (image + 1) * 2 + 3)
        graph = g.built("test", [], [], "")
        assert [node.name for node in graph.node] == ["part/result/Add", "part/result/Mul", "part/result"]

    def test_what_has_no_name_is_refused(self) -> None:
        g = Graph()
        _: Tensor = abs(g.input("image", np.float32))
        with pytest.raises(ValueError, match="Abs: its calculation has no name"):
            g.built("test", [], [], "")

    def test_a_constant_has_one_value(self) -> None:
        g = Graph()
        g.constant("limit", 1, np.float32)
        g.constant("limit", 1, np.float32)
        with pytest.raises(ValueError, match="limit: is the name of another constant"):
            g.constant("limit", 2, np.float32)
