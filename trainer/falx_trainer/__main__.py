"""The command line of the trainer."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from falx.command.options import whole_number
from falx.errors import FalxError
from falx_runs.manifest import SPLITS
from falx_runs.silence import silenced
from falx_trainer.training.recipe import PRESETS, Recipe, read_toml, settings

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt."""

TRAIN = """Train a model. A run that was cut off goes on from its last epoch when the same command is given
again. Precedence of settings: options, then --recipe, then --preset."""

PREVIEW = "Write a sheet of slices: each as the model sees it, and as training varies it."

CUT = """Cut slices out of whole heads without a tumour, for --data: in three planes, tilted a little, from
vertex to base. Volumes with a tumour, and those of val and test, are passed over."""

BOXES = """Write a manifest again with boxes for the tumours that have none: where the map of a trained model
is sure of the place, and the label says that there is one. Then these lesions can be moved into other heads,
and the map learns their places."""

EVALUATE = """Measure an exported file (through the runtime, so that what ships is what is measured) or a run
folder on labelled slices, and write a report: report.html holds all of it, and beside it are the same numbers
as JSON and CSV, the plots as PNG, and thresholds.json for `falx retarget`."""

START_HELP = """a trained model to go on from, in place of --weights: model.keras, a run folder or that of a
release; with --preset own for slices of your own, best a thousand or more"""

WEIGHTS_HELP = "weights of the ImageNet backbone: a file, or 'imagenet' to download them (default)"

OUTLIERS_HELP = """pictures that are not slices of a brain, to learn to reject: a folder a kind, or a manifest
CSV with path,kind"""

BACKEND_HELP = """what Keras computes with, where it is installed (default: what KERAS_BACKEND says, else
tensorflow)"""

VOLUMES_HELP = "a manifest CSV of volumes with path,label, or the folder that has one"

TRAIN_DATA_HELP = """a folder a class, or a manifest CSV with path,label; several are learned together"""

DATA_HELP = "a folder a class, or a manifest CSV, such as the data.csv in a run folder"

PICTURES_HELP = """pictures that are not brain MRI, to see which are rejected: a folder a kind, or a manifest
CSV with path,kind"""

SENSITIVITY_HELP = """choose a threshold of no_tumor that misses no more than the rest of the tumours (default
0.99)"""

COMPARE_HELP = "another model, measured on the same slices beside it"

TRAINED_ON_HELP = """what the model learned from, to find slices that it knows: a run folder, a manifest or a
folder (default: what the run says, or the train split of --data)"""

SHAREABLE_HELP = "leave out pictures, file names and groups of slices, so that the report can be given away"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit status: 0 done, 2 wrong usage or unusable data."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # TensorFlow reads these when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # By itself TensorFlow uses oneDNN's kernels on some processors only.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Advice on retracing, or on the format that --h5 asks for, is nothing a user can act on.
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    _keep_memory()
    try:
        return int(options.command(options))
    except (FalxError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from the last epoch" if options.command is _train else ""
        print(f"{parser.prog}: interrupted{goes_on}", file=sys.stderr)
        return 130


def _keep_memory() -> None:
    """Tells glibc to keep the memory that a step frees, for the next; else a step takes a tenth longer."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _train(options: argparse.Namespace) -> int:
    recipe = _recipe(options)
    if options.show:
        print(recipe.to_toml(), end="")
        return 0
    if options.data is None or options.out is None:
        options.parser.error("--data and --out are needed")
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    with silenced():
        from falx_trainer.training.run import run

    model = run(
        options.data,
        options.out,
        recipe,
        preset=options.preset,
        name=options.name or options.out.resolve().name,
        weights=options.weights,
        outliers=options.outliers,
        cache=options.cache,
        start_from=options.start_from,
        tensorboard=options.tensorboard,
        h5=options.h5,
    )
    print(f"wrote {model}")
    return 0


def _preview(options: argparse.Namespace) -> int:
    with silenced():
        from falx_trainer.training.preview import preview

    preview(options.data, options.out, _recipe(options), rows=options.rows, columns=options.columns)
    print(f"wrote {options.out}")
    return 0


def _cut(options: argparse.Namespace) -> int:
    from falx_trainer.data.cuts import cut_volumes

    print(cut_volumes(options.volumes, options.out, each=options.each, seed=options.seed))
    return 0


def _boxes(options: argparse.Namespace) -> int:
    with silenced():
        from falx_trainer.training.found_boxes import find_boxes

    print(find_boxes(options.model, options.data, options.out))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    with silenced():
        from falx_trainer.evaluation.evaluate import evaluate

    print(
        evaluate(
            options.model,
            options.data,
            options.split,
            options.out,
            options.pictures,
            sensitivity=options.sensitivity,
            compare=options.compare,
            trained_on=options.trained_on,
            shareable=options.shareable,
        )
    )
    print(f"\nwrote {options.out / 'report.html'}")
    return 0


def _recipe(options: argparse.Namespace) -> Recipe:
    changes: dict[str, object] = read_toml(options.recipe) if options.recipe else {}
    changes |= {
        name: value
        for name, _, _ in settings(PRESETS["default"])
        if (value := getattr(options, name)) is not None
    }
    return PRESETS[options.preset].override(changes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("falx_trainer", description="Train and evaluate Falx models.")
    commands = parser.add_subparsers(required=True, metavar="{train,preview,cut,boxes,evaluate}")
    _add_train(commands.add_parser("train", help="train a model on MRI slices", description=TRAIN))
    _add_preview(
        commands.add_parser("preview", help="draw how training varies your slices", description=PREVIEW)
    )
    _add_cut(commands.add_parser("cut", help="cut training slices out of healthy volumes", description=CUT))
    _add_boxes(commands.add_parser("boxes", help="find boxes for tumours that have none", description=BOXES))
    _add_evaluate(
        commands.add_parser("evaluate", help="measure a model on labelled slices", description=EVALUATE)
    )
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_train, parser=parser)
    add, backends = parser.add_argument, ("tensorflow", "jax", "torch")
    add("--data", type=Path, nargs="+", help=TRAIN_DATA_HELP)
    add("--out", type=Path, help="the run folder to write")
    add("--preset", choices=PRESETS, default="default", help="where the settings start (default)")
    add("--recipe", type=Path, metavar="TOML", help="a file of settings, as --show prints them")
    add("--start-from", type=Path, metavar="MODEL", help=START_HELP)
    add("--weights", default="imagenet", help=WEIGHTS_HELP)
    add("--outliers", type=Path, metavar="DATA", help=OUTLIERS_HELP)
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="keep prepared images there, for other runs on the same data",
    )
    add("--backend", choices=backends, help=BACKEND_HELP)
    add("--tensorboard", type=Path, metavar="DIR", help="tell TensorBoard the measures of each epoch")
    add("--name", help="the model's: letters, digits, '.', '_', '-' (the run folder's name)")
    add("--h5", action="store_true", help="also write model.h5")
    add("--show", action="store_true", help="print the resolved recipe as TOML, and stop")
    _add_settings(parser)


def _add_preview(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_preview)
    add = parser.add_argument
    add("--data", type=Path, nargs="+", required=True, help=TRAIN_DATA_HELP)
    add("--out", type=Path, required=True, metavar="PNG", help="the picture to write")
    add("--rows", type=whole_number, default=8, metavar="N", help="slices (8)")
    add("--columns", type=whole_number, default=7, metavar="N", help="tiles of each slice (7)")
    add("--preset", choices=PRESETS, default="default", help="where the settings start")
    add("--recipe", type=Path, metavar="TOML", help="a file of settings")
    _add_settings(parser)


def _add_cut(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_cut)
    add = parser.add_argument
    add("volumes", type=Path, help=VOLUMES_HELP)
    add("--out", type=Path, required=True, metavar="DIR", help="the folder of slices to write")
    add("--each", type=whole_number, default=40, metavar="N", help="slices of each volume (40)")
    add("--seed", type=int, default=7, help="of places, tilts and thicknesses (7)")


def _add_boxes(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_boxes)
    add = parser.add_argument
    add("model", type=Path, help="model.keras, a run folder or that of a release")
    add("--data", type=Path, required=True, help=DATA_HELP)
    add("--out", type=Path, required=True, metavar="CSV", help="the manifest to write")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_evaluate)
    add = parser.add_argument
    add("model", type=Path, help="a .tflite or .onnx file, or a run folder")
    add("--data", type=Path, required=True, help=DATA_HELP)
    add("--split", choices=SPLITS, help="only this split of the data")
    add("--pictures", type=Path, help=PICTURES_HELP)
    add("--sensitivity", type=_share, default=0.99, metavar="SHARE", help=SENSITIVITY_HELP)
    add("--compare", type=Path, metavar="OTHER", help=COMPARE_HELP)
    add("--trained-on", type=Path, metavar="RUN_OR_DATA", help=TRAINED_ON_HELP)
    add("--shareable", action="store_true", help=SHAREABLE_HELP)
    add("--out", type=Path, required=True, help="folder for the report")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share above 0 and up to 1, such as 0.99; got {text!r}")
    return value


def _add_settings(parser: argparse.ArgumentParser) -> None:
    groups = {"": parser.add_argument_group("settings of the recipe (the value of 'classic' in brackets)")}
    for name, field, value in settings(Recipe()):
        part = name.rpartition(".")[0]
        if part not in groups:
            groups[part] = parser.add_argument_group(f"{part} (of 'classic' in brackets)")
        shown = str(field.metadata["help"]).replace("%", "%%")
        groups[part].add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            type=type(value),
            choices=field.metadata.get("choices"),
            metavar=None if "choices" in field.metadata else type(value).__name__.upper(),
            help=f"{shown} [{value}]",
        )


if __name__ == "__main__":
    sys.exit(main())
