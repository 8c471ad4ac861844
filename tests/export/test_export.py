"""The whole chain on a small model: what is written, what is refused, and that it is all or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from tensorflow.lite.python import schema_py_generated as schema
from tests.said import Command, python

import falx
from falx import engines, phantom
from falx.decision import decide
from falx.model import file as model_file
from falx.slices import preprocessing
from falx.words import DECISIONS
from falx_export import export, package
from falx_export.convert import rounding, to_onnx, to_tflite
from falx_export.proof.tolerance import Tolerance
from falx_export.self_contained import tflite_file

FILES = ["small-float16.tflite", "small-float32.onnx", "small-int8.onnx", "small-int8.tflite"]
SELF_CONTAINED = ["small-float32-self-contained.onnx", "small-int8-self-contained.onnx"]
OWN_TFLITE = ["small-int8-mediapipe.tflite", "small-int8-self-contained.tflite"]
OUTPUTS = ["probabilities", "heatmap", "familiarity", "no_brain"]


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_writes_every_file_and_says_how_far_each_is_from_keras(exported: Any) -> None:
    out = exported.folder
    assert {path.name for path in out.iterdir()} == {"parity.json", *FILES, *SELF_CONTAINED, *OWN_TFLITE}
    lines = exported.printed.splitlines()
    assert lines[0].split()[:2] == ["file", "engine"]
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["small-int8.tflite", "litert"],
        ["small-float16.tflite", "litert"],
        ["small-int8.onnx", "onnx"],
        ["small-float32.onnx", "onnx"],
    ]
    assert lines[5] == f"written to {out}"


def test_the_report_holds_the_measures_and_their_tolerance(exported: Any, wide: dict[str, float]) -> None:

    report = json.loads((exported.folder / "parity.json").read_text())
    assert report["slices"] == "12 slices, split val, balanced over sources and labels"
    by_file = {entry["file"]: entry for entry in report["files"]}
    assert sorted(by_file) == FILES
    assert by_file["small-float32.onnx"]["largest"] < 1e-4
    assert by_file["small-float32.onnx"]["heatmap"] < 1e-4
    assert by_file["small-float16.tflite"]["largest"] < 0.03
    for name in ("small-int8.tflite", "small-int8.onnx"):
        assert 0 < by_file[name]["mean"] < 0.08
        assert by_file[name]["tolerance"] == asdict(Tolerance(**wide).among(12))


@pytest.mark.parametrize("name", FILES)
def test_a_file_runs_in_its_engine_and_its_card_says_what_it_is(exported: Any, name: str) -> None:
    card, payload = model_file.read(exported.folder / name)
    assert (card.name, card.version, card.license) == (
        "small",
        "1.0.0",
        "weights: research use only, unless the data they were trained on allow more",
    )
    assert card.thresholds.pituitary == 0.5
    assert card.temperature == 1.5
    assert card.metrics == {"val": {"accuracy": 0.5}}
    assert card.provenance["seed"] == 7
    assert card.quantization["format"] == name.split("-")[1].split(".")[0]
    assert list(card.outputs) == OUTPUTS
    engine = engines.start(
        engines.choose(None, "tflite" if name.endswith("tflite") else "onnx"), payload, card, threads=1
    )
    answer = engine.run(np.full((224, 224), 90, np.uint8))
    assert answer["probabilities"].shape == (4,)
    assert answer["probabilities"].sum() == pytest.approx(1, abs=1e-5)
    assert answer["heatmap"].shape == (14, 14)
    assert [test.phantom for test in card.self_test] == list(phantom.PHANTOMS)


def test_tflite_files_for_others_answer_as_the_plain_one(exported: Any) -> None:
    classifier = falx.load(exported.folder / "small-int8.tflite", engine="litert")
    tensors = np.stack([preprocessing.prepare(draw())[0] for draw in phantom.PHANTOMS.values()])
    wanted = [classifier.infer(tensor) for tensor in tensors]
    for name in OWN_TFLITE:
        card, payload = model_file.read(exported.folder / name)
        assert card.self_contained
        assert b"TFLITE_METADATA" in payload
        got = tflite_file.answers(payload, tensors[..., np.newaxis])
        np.testing.assert_allclose(got["probabilities"], [x.probabilities for x in wanted], atol=1e-5)
        if "decision" in got:
            decisions = [decide(row, card.thresholds) for row in got["probabilities"].tolist()]
            assert [DECISIONS[index] for index in got["decision"]] == decisions


@pytest.mark.parametrize("name", SELF_CONTAINED)
def test_a_self_contained_file_answers_as_the_one_beside_it(exported: Any, name: str) -> None:

    classifier = falx.load(exported.folder / name.replace("-self-contained", ""))
    session = onnxruntime.InferenceSession(exported.folder / name, providers=["CPUExecutionProvider"])
    slices = [phantom.lesion(), phantom.clear(), phantom.lesion()[:100, :120]]
    for pixels in slices:
        expected = classifier.predict(pixels)
        decision, probabilities = session.run(
            ["decision_label", "probabilities"], {"image": pixels[:, :, np.newaxis]}
        )
        assert decision == expected.decision
        assert expected.probabilities is not None
        np.testing.assert_allclose(probabilities, list(expected.probabilities.values()), atol=1e-5)
    assert model_file.read(exported.folder / name)[0].self_contained


@pytest.mark.parametrize("name", ["small-int8.tflite", "small-float16.tflite"])
def test_tflite_holds_builtin_operations_only_and_names_that_last(exported: Any, name: str) -> None:

    document = schema.ModelT.InitFromPackedBuf(model_file.read(exported.folder / name)[1], 0)
    kinds = {value: kind for kind, value in vars(schema.BuiltinOperator).items() if kind.isupper()}
    graph = document.subgraphs[0]
    operators = [kinds[document.operatorCodes[x.opcodeIndex].builtinCode] for x in graph.operators]
    assert "CUSTOM" not in operators
    # One rescales the image, and four calibrate.
    assert operators.count("MUL") == 5
    assert operators.count("CONV_2D") == 39
    assert operators.count("DEPTHWISE_CONV_2D") == 17
    names = [graph.tensors[x].name for x in [*graph.inputs, *graph.outputs]]
    assert names == [name.encode() for name in ("image", *OUTPUTS)]
    if name == "small-int8.tflite":
        # To int8 behind the stem, and back behind the hidden layer and `around`. In between, `coarse` is
        # upsampled in float. P(no_tumor), where the quantizer puts both, is not rounded.
        assert (operators.count("QUANTIZE"), operators.count("DEQUANTIZE")) == (2, 3)


def test_each_format_is_rounded_to_its_own_steps_from_the_same_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, seen = [np.zeros(2)], []

    def spoil(model: Any, _: Any, steps: int = 127) -> None:
        seen.append((steps, model.get_weights()[0].tolist()))
        model.set_weights([np.ones(2)])

    model: Any = SimpleNamespace(
        get_weights=lambda: list(held), set_weights=lambda new: held.__setitem__(slice(None), new)
    )
    monkeypatch.setattr(rounding, "round_weights", spoil)
    for module, other in ((to_tflite, "float16"), (to_onnx, "float32")):
        for name in ("int8", other):
            monkeypatch.setattr(module, name, lambda *_, **__: b"")
    slices: Any = SimpleNamespace(calibration=None, described={"calibration": ""})
    export._converted(model, slices)
    assert seen == [(127, [0, 0]), (to_onnx.STEPS, [0, 0])]


def test_onnx_holds_standard_operators(exported: Any) -> None:

    whole, coarse = (onnx.load(exported.folder / f"small-{kind}.onnx") for kind in ("float32", "int8"))
    for model in (whole, coarse):
        assert [(x.domain, x.version) for x in model.opset_import] == [("", 17)]
        assert (model.ir_version, model.producer_name) == (8, "falx")
        names = [x.name for x in [*model.graph.input, *model.graph.output]]
        assert names == ["image", *OUTPUTS]
        kinds = [node.op_type for node in model.graph.node]
        assert kinds.count("Conv") == 56
        assert "Transpose" not in kinds[: kinds.index("Conv")]


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes_in_another_process(
    exported: Any, arguments: Callable[..., list[str]], run_folder: Path, tmp_path: Path
) -> None:
    command = arguments(run_folder, tmp_path / "again", "--quiet", "--self-contained", "--mediapipe")
    assert python("-m", "falx_export", *command) == (0, "", "")
    assert sums(tmp_path / "again") == sums(exported.folder)


@pytest.fixture
def again(
    exported: Any,
    arguments: Callable[..., list[str]],
    run_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    exporter: Command,
) -> Command:
    """Exports the run again. Converting takes most of an export, and was done."""
    done = [
        package.Converted(
            model_file.read(exported.folder / f"small-{quantization}.{suffix}")[1], suffix, quantization, ""
        )
        for quantization, suffix in export.FILES
    ]
    monkeypatch.setattr(export, "_converted", lambda *_, **__: done)
    monkeypatch.setattr(package, "with_metadata", lambda graph, _: graph)
    return lambda out, *more: exporter(*arguments(run_folder, out, *more))


def test_past_the_tolerance_nothing_is_touched(exported: Any, again: Command) -> None:
    out, before = exported.folder, sums(exported.folder)
    none = [f"--tolerance={name}.mean=0.0" for name in ("int8", "float16", "float32")]
    said = again(out, "--overwrite", *none)
    assert said.status == 1
    assert said.err.startswith(
        "falx_export: the exported files answer too differently from Keras; nothing was written\n"
    )
    assert sums(out) == before
    assert list(out.parent.iterdir()) == [out]


def test_files_that_pass_are_written_and_the_others_named(
    exported: Any, again: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(exported.folder, out)
    said = again(out, "--overwrite", "--tolerance", "int8.mean=0.0")
    assert said.status == 1
    lines = said.err.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == [
        f"falx_export: small-int8.{suffix} answers too differently from Keras and was not written:"
        for suffix in ("tflite", "onnx")
    ]
    assert lines[1].startswith("  small-int8.tflite: mean is ")
    assert lines[-1] == "  Train on more slices, or allow more: --tolerance int8.mean=VALUE"
    # Not even the files of the earlier export are left under their names.
    assert {path.name for path in out.glob("small-*") if "int8" in path.name and "self" not in path.name} <= {
        "small-int8-mediapipe.tflite"
    }
    written = {
        file["file"]: file["written"] for file in json.loads((out / "parity.json").read_text())["files"]
    }
    assert written == {name: "int8" not in name for name in FILES}
    assert (out / "small-float32.onnx").exists()


def test_without_overwrite_files_in_the_way_are_named(exported: Any, again: Command) -> None:
    assert again(exported.folder) == (
        2,
        "",
        f"falx_export: {exported.folder}: already holds small-int8.tflite, small-float16.tflite, "
        "small-int8.onnx, small-float32.onnx, parity.json; give another --out, or --overwrite\n",
    )
