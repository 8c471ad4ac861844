"""`python -m falx_export verify`: whether an exported file answers as Keras does, on any data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from falx_export.proof.tolerance import MEASURES, TOLERANCES, Tolerance

DESCRIPTION = "Compare an exported file with the Keras model it was made from, slice by slice."

EPILOG = f"""
prints the largest difference of probabilities, the mean and quantiles, by label of the slices and by
probability. It names every slice whose decision changed, with its margin: how far the probability that
decided in Keras lay from its threshold. The plot shows the same.

ends with status 0 where all of these, 0 to 1, are kept to, with 1 where one is not, and with 2 for wrong
usage or a file that cannot be read:
{MEASURES}

A file for programs without Falx is run in ONNX Runtime or LiteRT alone: self-contained ONNX on the pictures,
TFLite on the prepared slices. Where it decides by itself, a decision other than Falx makes of the same
probabilities is past any tolerance. A dash stands for what such a file does not say, or not comparably.

Nothing is learned here, so `test` is read too. To choose between files, give --split val.
"""


def main(arguments: list[str]) -> int:
    """Runs the command with what stands behind `verify`; returns the exit status.

    It is 0 within the tolerance, 1 past it, and 2 for wrong usage or a file, run or data that cannot be used.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    changes = _changes(parser, options.tolerance)
    from falx.errors import FalxError
    from falx_runs import silence

    silence.quiet = options.quiet
    with silence.silenced():
        from falx_export.proof import samples, verify, verify_plot
    # With the format: a release has both under one stem.
    plot = options.plot or Path(f"{options.file.stem}-{options.file.suffix[1:]}-parity.png")
    # Before the work, which may take an hour.
    if plot.suffix.lower() not in verify_plot.SUFFIXES:
        parser.error(f"--plot {plot}: expected a name that ends in {', '.join(verify_plot.SUFFIXES)}")
    try:
        comparison = verify.compare(
            options.file,
            options.against,
            options.data,
            splits=options.split or samples.SPLITS,
            engine=options.engine,
        )
        # Raises where the file rejects everything, before there is a picture of nothing.
        comparison.parity()
        verify_plot.draw(plot, comparison)
        if options.csv:
            verify.write_slices(options.csv, comparison)
    except (FalxError, OSError) as error:
        sys.stderr.write(f"falx_export: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("falx_export: stopped\n")
        return 130
    tolerance = TOLERANCES[comparison.quantization]
    for measure, value in changes.items():
        tolerance = tolerance.changed(measure, value)
    beyond = comparison.beyond(tolerance)
    if not options.quiet:
        sys.stdout.write(f"{verify.table(comparison)}\n\nplot: {plot}\n")
        if options.csv:
            sys.stdout.write(f"slices: {options.csv}\n")
        sys.stdout.write("failed\n" if beyond else "passed\n")
    for line in beyond:
        sys.stderr.write(f"falx_export: {line}\n")
    return 1 if beyond else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m falx_export verify",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "file",
        type=Path,
        metavar="FILE",
        help="exported .tflite or .onnx, also self-contained or for MediaPipe",
    )
    add("--against", type=Path, required=True, metavar="RUN", help="the run it was exported from")
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="manifest (CSV with path, label and, where known, split), folder that holds a manifest.csv, or "
        "folder of images, one folder a label (default: the run's data.csv)",
    )
    add(
        "--split",
        action="append",
        choices=["train", "val", "test"],
        help="of the manifest, to compare on; repeatable (default: all)",
    )
    add(
        "--engine", metavar="NAME", help="that runs the file: litert, tflite or onnx (default: by its format)"
    )
    add(
        "--plot",
        type=Path,
        metavar="FILE",
        help="for the picture: .png, .svg or .pdf (default: NAME-FORMAT-parity.png, in this folder)",
    )
    add("--csv", type=Path, metavar="FILE", help="for both answers to every slice (default: not written)")
    add(
        "--tolerance",
        action="append",
        default=[],
        metavar="MEASURE=VALUE",
        help="in place of the one for the file's quantization, e.g. decisions=0.01; repeatable",
    )
    add("--quiet", action="store_true", help="print only what lies past a tolerance")
    return parser


def _changes(parser: argparse.ArgumentParser, texts: list[str]) -> dict[str, float]:
    changes = {}
    for text in texts:
        measure, _, value = text.partition("=")
        try:
            changes[measure] = float(value)
            _ANY.changed(measure, changes[measure])
        except ValueError as error:
            parser.error(f"--tolerance {text}: {error}")
    return changes


_ANY = Tolerance(1, 1, 1, 1, 1)
