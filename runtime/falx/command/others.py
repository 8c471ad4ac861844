"""The small commands; each is a few lines that lead to where the work is done."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from falx._version import __version__
from falx.command.console import colour, paragraph, say
from falx.command.options import OK, SOME_FAILED, add_model, add_threshold, load
from falx.words import DISCLAIMER, plain

SCRIPTS: Final = {"bash": "completion.bash", "zsh": "completion.zsh"}
"""The completion of each shell, which `python -m tools.completion` writes."""

MARKS: Final = {
    True: ("ok         ", "green"),
    False: ("FAIL       ", "red"),
    None: ("not checked", "yellow"),
}
"""The word and the colour of a step of `falx check`, by whether the step is as it should be."""


def add_info(info: argparse.ArgumentParser) -> None:
    """Adds the options of `falx info`."""
    info.add_argument("model", nargs="?", metavar="FILE", help="a model file (default: the one in Falx)")
    info.add_argument("--json", action="store_true", help="print the card as it stands in the file")


def info(options: argparse.Namespace) -> int:
    """Prints the card of a model file."""
    from falx.command.text import card_text
    from falx.model import file as model_file

    path = model_file.DEFAULT_MODEL if options.model is None else Path(options.model)
    card, _ = model_file.read(path)
    say(json.dumps(card.to_dict()) if options.json else card_text(card, str(path)))
    return OK


def add_check(check: argparse.ArgumentParser) -> None:
    """Adds the options of `falx check`."""
    add_model(check)
    check.add_argument("--json", action="store_true", help="print the report as one JSON object")
    check.add_argument(
        "--no-latency",
        dest="latency",
        action="store_false",
        help="do not measure the time, which means nothing on an emulated machine",
    )


def check(options: argparse.Namespace) -> int:
    """Proves that this installation works, and prints what was found."""
    from falx import check
    from falx.prediction import SCHEMA

    classifier = load(options)
    report = check.run(classifier, latency=options.latency)
    model = classifier.model
    if options.json:
        about = {
            "schema": SCHEMA,
            "falx": __version__,
            "model": model.to_dict(),
            "engine": classifier.engine,
            "threads": classifier.threads,
        }
        say(json.dumps({**about, **report.to_dict()}))
        return OK if report.ok else SOME_FAILED
    say(
        f"Falx {__version__}, {model.name} {model.version} on {classifier.engine}, "
        f"threads: {classifier.threads}"
    )
    for step in report.steps:
        mark, tint = MARKS[step.ok]
        say(f"{colour(mark, tint, sys.stdout)}  {step.name}: {step.detail}")
    say(paragraph(DISCLAIMER))
    return OK if report.ok else SOME_FAILED


def add_demo(demo: argparse.ArgumentParser) -> None:
    """Adds the options of `falx demo`."""
    add_model(demo)
    demo.add_argument("--out", metavar="DIR", help="write the pictures to this new or empty folder")


def demo(options: argparse.Namespace) -> int:
    """Classifies drawn heads."""
    from falx.command import demo

    classifier = load(options)
    demo.show(classifier, options.out)
    return OK


def add_retarget(retarget: argparse.ArgumentParser) -> None:
    """Adds the options of `falx retarget`."""
    retarget.add_argument("model", metavar="FILE", help="a model file, of either format")
    add_threshold(retarget, "in the new file")
    retarget.add_argument(
        "--thresholds",
        metavar="JSON",
        help="a file with a JSON object of labels and their thresholds, or one that has it as `thresholds`, "
        "such as a run's meta.json or an evaluation's thresholds.json; --threshold comes before it",
    )
    retarget.add_argument(
        "--choice",
        metavar="NAME",
        help="which thresholds of an evaluation: sensitivity (its own choice), youden or current",
    )
    retarget.add_argument(
        "--out", required=True, metavar="NEW", help="the new file, which must not exist yet"
    )


def retarget(options: argparse.Namespace) -> int:
    """Writes a model file with other thresholds."""
    from falx.errors import ThresholdError
    from falx.model import retarget
    from falx.model.file import extract, load_bytes

    if not options.threshold and options.thresholds is None:
        raise ThresholdError("give new thresholds with --threshold LABEL=VALUE or --thresholds JSON")
    if options.choice is not None and options.thresholds is None:
        raise ThresholdError("--choice is one of the thresholds of an evaluation; give its --thresholds JSON")
    read = retarget.Chosen({})
    if options.thresholds is not None:
        read = retarget.read_thresholds(Path(options.thresholds), options.choice)
    data = load_bytes(Path(options.model))
    changed = retarget.retarget(data, read.thresholds | dict(options.threshold), name=options.model)
    retarget.write(changed, Path(options.out))
    card, _ = extract(changed)
    for warning in read.warnings:
        sys.stderr.write(f"falx: warning: {options.thresholds}: {plain(warning)}\n")
    if read.model not in (None, card.name):
        sys.stderr.write(
            f"falx: warning: {options.thresholds}: chosen for the model {plain(str(read.model))}, this is "
            f"{card.name}; its probabilities are others\n"
        )
    before = card.history[-1].thresholds
    for label, value in card.thresholds.to_dict().items():
        was = "" if value == before[label] else f" (was {before[label]:g})"
        say(f"{label} {value:g}{was}")
    say(f"written to {options.out}")
    return OK


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `falx completion`."""
    parser.add_argument("shell", choices=sorted(SCRIPTS), help="the shell that the script is for")
    parser.epilog = 'Put `eval "$(falx completion bash)"` into ~/.bashrc, or the same with zsh into ~/.zshrc.'


def completion(options: argparse.Namespace) -> int:
    """Prints the script that completes commands, options and files for a shell."""
    # Through Python's loader, here and below: the package may lie in a zip file.
    from importlib.resources import files

    sys.stdout.write(files("falx.command").joinpath(SCRIPTS[options.shell]).read_text(encoding="utf-8"))
    return OK


def add_schema(_: argparse.ArgumentParser) -> None:
    """Adds nothing: `falx schema` has no options."""


def schema(_: argparse.Namespace) -> int:
    """Prints the JSON Schema of everything that Falx prints as JSON."""
    from importlib.resources import files

    sys.stdout.write(files("falx").joinpath("schema.json").read_text(encoding="utf-8"))
    return OK
