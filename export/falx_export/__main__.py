"""`python -m falx_export`: from a run to the files that Falx runs."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from falx_export.proof.tolerance import MEASURES, TOLERANCES, Tolerance

if TYPE_CHECKING:
    from falx_export.export import Exported

# TensorFlow reads these when it is imported. oneDNN adds up in another order on another machine.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# ONNX Runtime reads this when it is imported: nothing of what is exported is told to its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# Only TensorFlow converts, whichever backend trains.
os.environ["KERAS_BACKEND"] = "tensorflow"

EPILOG = f"""
writes, into --out:
  NAME-int8.tflite     static int8, stem and head in float: the file for devices
  NAME-float16.tflite  weights in float16
  NAME-int8.onnx       the same as QDQ, with weights of 7 bits
  NAME-float32.onnx    not quantized
  parity.json          how far each answers from Keras
each with its card. The input is `image`, uint8 (1, 224, 224, 1); the outputs are `probabilities`,
float32 (1, 4), and where the model has them `heatmap`, float32 (1, N, N), and `familiarity` and `no_brain`,
float32 (1, 1).

and, for programs without Falx:
  NAME-QUANTIZATION-self-contained.onnx  --self-contained: from the pixels of a picture to the decision
  NAME-int8-self-contained.tflite        --self-contained: decides; takes what Falx prepares
  NAME-int8-mediapipe.tflite             --mediapipe: the same for ImageClassifier, which takes colour

measures of a tolerance (all 0 to 1):
{MEASURES}

`python -m falx_export verify FILE --against RUN` compares a written file on all the data; see its --help.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    It is 0 where all is written; 1 where files answer too differently from Keras and are not; 2 for wrong
    usage or an unusable run, and then nothing was written.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["verify"]:
        from falx_export.proof import verify_command

        return verify_command.main(arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    options.tolerances = _tolerances(parser, options.tolerances)
    from falx.errors import FalxError
    from falx_export import errors

    try:
        # Before TensorFlow is loaded, which takes ten seconds.
        _check_data(options)
        exported = _export(options)
    except errors.ParityError as error:
        print(f"falx_export: {error}", file=sys.stderr)
        return 1
    except (FalxError, OSError) as error:
        print(f"falx_export: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("falx_export: stopped; nothing was written", file=sys.stderr)
        return 130
    if not options.quiet:
        from falx_export.proof.parity import table

        print(table(exported.results))
        print(f"written to {options.out}")
    for file, reasons in exported.refused.items():
        print(f"falx_export: {file} answers too differently from Keras and was not written:", file=sys.stderr)
        print("\n".join(f"  {reason}" for reason in reasons), file=sys.stderr)
    if exported.refused:
        allowed = {
            f"--tolerance {file.rpartition('-')[2].partition('.')[0]}.{reason.split()[1]}=VALUE": None
            for file, reasons in exported.refused.items()
            for reason in reasons
        }
        print(f"  Train on more slices, or allow more: {' '.join(allowed)}", file=sys.stderr)
    return 1 if exported.refused else 0


def _check_data(options: argparse.Namespace) -> None:
    from falx_export.proof import samples
    from falx_runs.run_folder import read_run

    images = read_run(options.run, options.name).images(options.data)
    samples.check(images, options.calibration, options.parity)


def _export(options: argparse.Namespace) -> Exported:
    from falx_runs import silence

    silence.quiet = options.quiet
    with silence.silenced():
        from falx_export.export import Request, export

    asked = {name: value for name, value in vars(options).items() if name != "quiet"}
    return export(Request(**asked))


def _parser() -> argparse.ArgumentParser:
    from falx.command.options import whole_number
    from falx.words import MODEL_NAME

    def name(text: str) -> str:
        if not MODEL_NAME.fullmatch(text):
            raise argparse.ArgumentTypeError(f"expected letters, digits, '.', '_' and '-', got {text!r}")
        return text

    parser = argparse.ArgumentParser(
        prog="python -m falx_export",
        description="Export a trained run to quantized TFLite and ONNX, each with its card, and prove "
        "that they answer as Keras does.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="run folder of falx_trainer: model.keras, meta.json, data.csv")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the files; made if missing")
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="manifest (CSV with path, label and, where known, split: calibrates on train, compares on val) "
        "or folder of images (default: the run's data.csv)",
    )
    add("--name", type=name, help="name of the model and its files (default: the run's)")
    add(
        "--calibration",
        type=whole_number,
        default=100,
        metavar="N",
        help="slices to calibrate on (default: 100)",
    )
    add(
        "--samples",
        dest="parity",
        type=whole_number,
        metavar="N",
        help="slices to compare on (default: all, and at most 400)",
    )
    add(
        "--tolerance",
        dest="tolerances",
        action="append",
        default=[],
        metavar="QUANTIZATION.MEASURE=VALUE",
        help="the most a quantization may differ by, e.g. int8.mean=0.03; repeatable",
    )
    add("--model-version", dest="version", metavar="VERSION", help="for the card (default: 1.0.0)")
    add("--license", metavar="TEXT", help="of the weights, for the card (default: research use only)")
    add("--intended-use", metavar="TEXT", help="for the card (default: research and education)")
    add("--self-contained", action="store_true", help="also write files that decide without Falx")
    add("--mediapipe", action="store_true", help="also write a TFLite file for MediaPipe's ImageClassifier")
    add("--overwrite", action="store_true", help="replace files of the same names")
    add("--quiet", action="store_true", help="print errors only")
    return parser


def _tolerances(parser: argparse.ArgumentParser, changes: list[str]) -> dict[str, Tolerance]:
    tolerances = dict(TOLERANCES)
    for change in changes:
        key, _, text = change.partition("=")
        quantization, _, measure = key.partition(".")
        if quantization not in tolerances:
            parser.error(f"--tolerance {change}: expected one of {', '.join(tolerances)} before the '.'")
        try:
            tolerances[quantization] = tolerances[quantization].changed(measure, float(text))
        except ValueError as error:
            parser.error(f"--tolerance {change}: {error}")
    return tolerances


if __name__ == "__main__":
    # What their parts say of each other is nothing a user can act on.
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"(tensorflow|keras|tf2onnx|onnx|onnxruntime|ai_edge_litert)\b")
    sys.exit(main())
