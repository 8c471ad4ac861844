"""The export from end to end: convert, measure, and write only what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import keras

from falx.model import file as model_file
from falx.model.card import Card, Format
from falx_export import package, write
from falx_export.convert import rounding, to_onnx, to_tflite
from falx_export.convert.graph import loaded
from falx_export.package import Converted
from falx_export.proof import parity, samples
from falx_export.proof.parity import Parity
from falx_export.proof.tolerance import TOLERANCES, Tolerance
from falx_export.self_contained import onnx_file, tflite_file
from falx_runs.run_folder import read_run
from falx_runs.silence import progress, silenced


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An order to export a run.

    Attributes:
        data: manifest or folder of images, for calibration and parity; None takes the run's `data.csv`.
        name: the model's; None takes the run's.
        calibration: how many slices to calibrate on.
        parity: how many slices to compare on; None means 400, and at least 20.
        tolerances: the tolerance of each quantization.
        version, license, intended_use: for the card; None takes the default (the run's license first).
        self_contained: also write the ONNX files that prepare and decide by themselves, and a TFLite file
            that decides.
        mediapipe: also write a TFLite file for MediaPipe's ImageClassifier.
        overwrite: replace files of the same name.
    """

    run: Path
    out: Path
    data: Path | None = None
    name: str | None = None
    calibration: int = 100
    parity: int | None = None
    tolerances: Mapping[str, Tolerance] = field(default_factory=lambda: dict(TOLERANCES))
    version: str | None = None
    license: str | None = None
    intended_use: str | None = None
    self_contained: bool = False
    mediapipe: bool = False
    overwrite: bool = False


FILES: Final[tuple[tuple[str, Format], ...]] = (
    ("int8", "tflite"),
    ("float16", "tflite"),
    ("int8", "onnx"),
    ("float32", "onnx"),
)


@dataclass(frozen=True)
class Exported:
    """The distance of each file from Keras, and the files not written, each with the reasons."""

    results: list[Parity]
    refused: dict[str, list[str]]


def export(request: Request) -> Exported:
    """Exports a run; a file that answers too differently from Keras is not written.

    Raises:
        RunError, DataError: the run or the data cannot be used.
        OutputExists: files are in the way.
        ConversionError: a graph cannot be converted.
        ParityError: every file answers too differently; nothing was written.
        falx.FalxError: an engine refuses a graph.
    """
    trained = read_run(request.run, request.name)
    name = trained.name
    names = [f"{name}-{quantization}.{suffix}" for quantization, suffix in FILES] + [write.REPORT]
    own: dict[str, Callable[[bytes, Card], bytes]] = {}
    if request.self_contained:
        names += [onnx_file.file_name(file) for file in names if file.endswith(".onnx")]
        own[f"{name}-int8{tflite_file.SUFFIX}.tflite"] = tflite_file.sealed
    if request.mediapipe:
        own[f"{name}-int8{tflite_file.MEDIAPIPE_SUFFIX}.tflite"] = tflite_file.sealed_for_mediapipe
    names += own
    write.refuse_to_overwrite(request.out, [] if request.overwrite else names)
    slices = samples.read(trained.images(request.data), request.calibration, request.parity)
    model = loaded(trained)
    expected = parity.keras_answers(model, slices.parity)

    files: dict[str, bytes] = {}
    results: list[Parity] = []
    made_of: dict[str, str] = {}
    for graph in _converted(model, slices):
        file = graph.file_name(name)
        described = package.card(
            trained, model, graph, request.version, request.license, request.intended_use
        )
        graph = package.with_metadata(graph, described)
        with silenced():
            engine = package.started(graph, described)
        got = parity.engine_answers(engine, slices.parity, title=f"Compare {file}")
        results.append(
            parity.compare(file, engine.name, got, expected, trained.thresholds, trained.least_familiarity)
        )
        files[file] = package.sealed(graph, described, engine)
        if (graph.format, graph.quantization) == ("tflite", "int8"):
            card, payload = model_file.extract(files[file], name=file)
            for own_file, sealed in own.items():
                files[own_file] = sealed(payload, card)
                made_of[own_file] = file
                tflite_file.prove(own_file, files[own_file], slices.parity, got)
        if request.self_contained and graph.format == "onnx":
            own_file = onnx_file.file_name(file)
            made_of[own_file] = file
            files[own_file] = onnx_file.sealed(graph.payload, model_file.extract(files[file])[0])
            onnx_file.prove(own_file, files[own_file], slices.parity, engine)
    limits = [request.tolerances[quantization] for quantization, _ in FILES]
    refused = parity.refused(zip(results, limits, strict=True))
    left_out = {file for file in files if made_of.get(file, file) in refused}
    files = {file: data for file, data in files.items() if file not in left_out}
    files[write.REPORT] = _report(request, slices, results, refused)
    write.write(request.out, files)
    for file in left_out:  # of an earlier export
        (request.out / file).unlink(missing_ok=True)
    return Exported(results, refused)


def _converted(model: keras.Model, slices: samples.Samples) -> list[Converted]:
    """Converts to the graphs of `FILES`, in order; the model is left with the weights rounded for ONNX."""
    calibration = slices.calibration
    bar = progress(None, "Convert", len(FILES), unit="file")
    halved = to_tflite.float16(model)
    bar.update()
    whole = to_onnx.float32(model)
    bar.update()
    # Each format has steps of its own, to which the run's weights are rounded.
    weights = model.get_weights()
    rounding.round_weights(model, calibration)
    tflite = to_tflite.int8(model, calibration)
    bar.update()
    model.set_weights(weights)
    rounding.round_weights(model, calibration, to_onnx.STEPS)
    onnx = to_onnx.int8(model, calibration)
    bar.close()
    scheme = (
        f"static, per channel, biases corrected, stem and head float32; {slices.described['calibration']}"
    )
    return [
        Converted(tflite, "tflite", "int8", scheme),
        Converted(halved, "tflite", "float16", "weights float16, computed in float32"),
        Converted(onnx, "onnx", "int8", f"QDQ, uint8 activations, weights of 7 bits, {scheme}"),
        Converted(whole, "onnx", "float32", "not quantized"),
    ]


def _report(
    request: Request, slices: samples.Samples, results: list[Parity], refused: Mapping[str, list[str]]
) -> bytes:
    document = {
        "schema": 1,
        "reference": "Keras",
        "slices": slices.described["parity"],
        "calibration": slices.described["calibration"],
        "files": [
            {
                **result.to_dict(),
                "tolerance": asdict(request.tolerances[quantization].among(result.slices)),
                "written": result.file not in refused,
            }
            for result, (quantization, _) in zip(results, FILES, strict=True)
        ],
    }
    return (json.dumps(document, indent=2) + "\n").encode()
