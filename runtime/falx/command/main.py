"""The command line: `falx predict`, `study`, `info`, `check`, `demo`, `app`, `retarget`.

Exit status: 0 all inputs were read, 1 some could not be (the others are answered), changed before their
heatmap was drawn, or a check failed, 2 wrong usage or an unusable model, 130 interrupted.
"""

from __future__ import annotations

import argparse
import functools
import gc
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from falx._version import __version__
from falx.command.console import width
from falx.errors import FalxError, HeatmapUnavailable, UnreadableImage
from falx.words import DISCLAIMER, LABELS
from falx.writing import lacks_room

# NumPy, Pillow and the engine are imported by the commands that need them: help comes at once.
if TYPE_CHECKING:
    from falx.classifier import Classifier
    from falx.pictures.folder import Folder
    from falx.prediction import Failure, Prediction
    from falx.reading.series import Gathering
    from falx.slices.slice import Part

__all__ = ["main"]

OK: Final = 0
SOME_FAILED: Final = 1
UNUSABLE: Final = 2
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

MARKS: Final = {
    True: ("ok         ", "green"),
    False: ("FAIL       ", "red"),
    None: ("not checked", "yellow"),
}
"""How `falx check` shows a step, by whether it is as it should be, and in which colour."""

HELP_WIDTH: Final = 80
"""Columns of help where the output is no terminal, as argparse has it."""

STDERR: Final = 2
"""The number of standard error, where compiled code writes."""


def main(arguments: Sequence[str] | None = None, *, own_process: bool = False) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None takes those of the process.
        own_process: whether it is here for a prediction alone, with Python's garbage collector turned off.

    Returns:
        The exit status.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by whoever started this process, who wants to hear nothing.
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            # A file name may hold bytes that are no text in this terminal's encoding.
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    options.own_process = own_process
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        status = command(options)
        sys.stdout.flush()
    except FalxError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads has gone. What Python still has to flush at exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        if isinstance(error, OSError) and lacks_room(error):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _fail(f"cannot write the output: {error.strerror}; make room")
        if sys.flags.dev_mode:
            raise
        return _fail(
            f"{type(error).__name__}: {error}. This is a defect of Falx; "
            "`python -X dev -m falx` with the same arguments shows where"
        )
    return status


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of a command line, with the options of those commands alone that stand in it: each costs."""
    # With the width told, argparse does not load what else would find it out.
    helped = functools.partial(argparse.HelpFormatter, width=width(HELP_WIDTH) - 2)
    parser = argparse.ArgumentParser(
        prog="falx",
        description="What is in a brain MRI slice: no_tumor, meningioma, glioma, pituitary, or ambiguous.",
        epilog=DISCLAIMER,
        formatter_class=helped,
    )
    parser.add_argument("--version", action="version", version=f"falx {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (run, add_options, summary) in COMMANDS.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        command = commands.add_parser(
            name, help=summary, description=description, epilog=DISCLAIMER, formatter_class=helped
        )
        command.set_defaults(command=run)
        if name in arguments:
            add_options(command)
    return parser


def _predict_options(predict: argparse.ArgumentParser) -> None:
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="an image or DICOM file of any name, a NIfTI volume, or a folder: its images and volumes by "
        "suffix, and its DICOM files; of a file of several frames, each",
    )
    _add_model(predict)
    predict.add_argument("--json", action="store_true", help="print one JSON object a line, as they come")
    predict.add_argument(
        "--resume",
        metavar="JSONL",
        help="write the JSON lines to this file; where it holds answers already, only go on with the others",
    )
    _add_heatmaps(predict)
    _add_threshold(predict, "instead of the card's")
    predict.add_argument(
        "--timings", action="store_true", help="say what each step took: read, prepare, infer, decide"
    )
    predict.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="slices worked on at a time (default 1)"
    )


def _study_options(study: argparse.ArgumentParser) -> None:
    from falx.workstation.objects.output import output_options

    study.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a folder with the slices of studies, a DICOM file of several frames, or a NIfTI volume",
    )
    study.add_argument("--study", metavar="UID", help="answer only the study of this Study Instance UID")
    study.add_argument(
        "--one-patient",
        action="store_true",
        help="what has no tags is of one patient: pictures, in the order of their names, and volumes",
    )
    _add_model(study)
    study.add_argument("--json", action="store_true", help="print one JSON object a study")
    study.add_argument(
        "--sheets",
        metavar="DIR",
        help="write each series as a contact sheet with heatmaps to this new or empty folder",
    )
    _add_heatmaps(study)
    output_options(study)
    _add_threshold(study, "instead of the card's")
    study.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="slices worked on at a time (default 1)"
    )


def _info_options(info: argparse.ArgumentParser) -> None:
    info.add_argument("model", nargs="?", metavar="FILE", help="a model file (default: the one in Falx)")
    info.add_argument("--json", action="store_true", help="print the card as it stands in the file")


def _check_options(check: argparse.ArgumentParser) -> None:
    _add_model(check)
    check.add_argument("--json", action="store_true", help="print the report as one JSON object")
    check.add_argument(
        "--no-latency",
        dest="latency",
        action="store_false",
        help="do not measure it: for an emulated machine, whose times say nothing of a real one",
    )


def _demo_options(demo: argparse.ArgumentParser) -> None:
    _add_model(demo)
    demo.add_argument("--out", metavar="DIR", help="write the pictures to this new or empty folder")


def _app_options(app: argparse.ArgumentParser) -> None:
    from falx.app import command as page

    _add_model(app)
    page.add_options(app)


def _retarget_options(retarget: argparse.ArgumentParser) -> None:
    retarget.add_argument("model", metavar="FILE", help="a model file, of either format")
    _add_threshold(retarget, "in the new file")
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
    retarget.add_argument("--out", required=True, metavar="NEW", help="the new file; there must be none yet")


def _listen_options(listen: argparse.ArgumentParser) -> None:
    from falx.workstation.node.settings import add_options

    _add_model(listen)
    add_options(listen)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="FILE", help=".tflite or .onnx file (default: the one in Falx)")
    parser.add_argument(
        "--engine",
        metavar="ENGINE",
        help="litert, tflite or onnx (default: the first installed for the file)",
    )
    parser.add_argument("--threads", type=_count, metavar="N", help="threads of one inference (default 1)")


def _add_heatmaps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--heatmaps", metavar="DIR", help="write each slice with its heatmap to this new or empty folder"
    )


def _add_threshold(parser: argparse.ArgumentParser, where: str) -> None:
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        type=_threshold,
        metavar="LABEL=VALUE",
        help=f"the least probability for a label ({', '.join(LABELS)}) {where}; repeatable",
    )


def _resume(options: argparse.Namespace) -> int:
    from falx.command.console import Progress, paragraph, say
    from falx.command.journal import Journal, ResumeError
    from falx.reading.files import expand

    if options.json or options.heatmaps is not None:
        raise ResumeError("--resume: writes answers to its file, and goes with neither --json nor --heatmaps")
    classifier = _load(options)
    thresholds = replace(classifier.card.thresholds, **dict(options.threshold))
    with Journal(options.resume, classifier.model) as journal:
        failures = journal.failures
        items = list(expand(options.paths))
        # The frames of a file have its path; they are answered in their order.
        left = [item for item in items if not journal.take(_path(item))]
        progress = Progress(len(left))
        with _quiet_engines():
            results = classifier.predict_many(left, workers=options.workers, thresholds=thresholds)
        for done, result in enumerate(results, start=1):
            journal.add(result, timings=options.timings)
            failures += result.error is not None
            progress.update(done)
        progress.clear()
    before = len(items) - len(left)
    say(
        paragraph(
            f"{options.resume}: {before} answered before, {len(left)} now; of all its answers, {failures} "
            f"{'is' if failures == 1 else 'are'} of inputs that could not be read."
        )
    )
    say(paragraph(DISCLAIMER))
    return SOME_FAILED if failures else OK


def _predict(options: argparse.Namespace) -> int:
    if options.resume is not None:
        return _resume(options)
    from falx.command.console import Progress
    from falx.command.text import Results
    from falx.reading.files import expand

    classifier = _load(options)
    folder = _heatmap_folder(options, classifier)
    thresholds = replace(classifier.card.thresholds, **dict(options.threshold))
    items = list(expand(options.paths))
    table = None if options.json else Results([_name(item) for item in items], timings=options.timings)
    progress = Progress(len(items))
    failed = False
    with _quiet_engines():
        results = classifier.predict_many(items, workers=options.workers, thresholds=thresholds)
    for done, (item, result) in enumerate(zip(items, results, strict=True), start=1):
        failed = failed or result.error is not None
        progress.clear()
        if table is None:
            sys.stdout.write(json.dumps(result.to_dict(timings=options.timings)) + "\n")
            sys.stdout.flush()
        else:
            table.add(result, _name(item))
        if folder is not None:
            frame = None if result.origin is None else result.origin.frame
            name = Path(result.path or "").stem
            name = name if frame is None else f"{name}-{frame:03d}"
            failed = not _save_heatmap(folder, item, result, name) or failed
        progress.update(done)
    progress.clear()
    if table is not None:
        table.close(classifier)
        if folder is not None:
            _say_written([folder.told("heatmap")])
    return SOME_FAILED if failed else OK


def _study(options: argparse.Namespace) -> int:
    from falx.command.console import say
    from falx.command.text import study_text
    from falx.pictures.folder import Folder
    from falx.prediction import Failure
    from falx.workstation.objects.output import check_outputs, write_outputs

    check_outputs(options)
    classifier = _load(options)
    maps = _heatmap_folder(options, classifier)
    folder = None if options.sheets is None else Folder(options.sheets)
    thresholds = replace(classifier.card.thresholds, **dict(options.threshold))
    failed = False
    written: list[str] = []
    for number, found in enumerate(_studies(options), start=1):
        if isinstance(found, Failure):
            failed = True
            say(json.dumps(found.to_dict()) if options.json else str(found.error))
            continue
        with _quiet_engines():
            answers = classifier.predict_study(found, workers=options.workers, thresholds=thresholds)
        failed = failed or "error" in answers.verdict.counts
        say(json.dumps(answers.to_dict()) if options.json else study_text(answers))
        for index, (series, one) in enumerate(zip(found.series, answers.series, strict=True)):
            # Not named as its files are: their order says nothing, and some name the patient.
            name = f"study-{number}-series-{index + 1}"
            if maps is not None:
                for place, (item, result) in enumerate(
                    zip(series.sources, one.results, strict=True), start=1
                ):
                    failed = not _save_heatmap(maps, item, result, f"{name}-slice-{place:03d}") or failed
            if folder is not None:
                from falx.pictures.sheet import sheet

                folder.save(sheet(answers, index, series.sources), name)
        written += write_outputs(options, answers, found, classifier.model)
    if folder is not None:
        written.append(folder.told("sheet"))
    if maps is not None:
        written.append(maps.told("heatmap"))
    if not options.json:
        _say_written(written)
    return SOME_FAILED if failed else OK


def _studies(options: argparse.Namespace) -> Iterator[Gathering | Failure]:
    """The studies that the paths hold, one after the other; a failure for a path without one."""
    from falx.prediction import Failure
    from falx.reading.series import gather, gather_all

    for path in options.paths:
        try:
            if options.sr is None and options.sc is None:
                yield from gather_all(path, study=options.study, one_patient=options.one_patient)
            else:
                yield gather(path, study=options.study, one_patient=options.one_patient)
        except UnreadableImage as error:
            yield Failure(path, error)


def _say_written(sentences: Sequence[str]) -> None:
    """Tell a person where what was asked for lies."""
    from falx.command.console import say
    from falx.words import plain

    for sentence in sentences:
        # Not wrapped: a path is one word.
        say(plain(sentence))


def _heatmap_folder(options: argparse.Namespace, classifier: Classifier) -> Folder | None:
    """Where `--heatmaps` wants them; None where it is not given."""
    if options.heatmaps is None:
        return None
    # Here: most who classify want no pictures.
    from falx.pictures.folder import Folder

    if not classifier.card.has_heatmap:
        raise HeatmapUnavailable(
            f"--heatmaps: the model {classifier.card.name} makes no heatmaps; give one that does with --model"
        )
    return Folder(options.heatmaps)


def _save_heatmap(
    folder: Folder, item: str | Part | Failure, result: Prediction | Failure, name: str
) -> bool:
    """Write a slice with its heatmap, if it has one; whether the slice was still there."""
    from falx.pictures.overlay import overlay
    from falx.reading.source import read
    from falx.words import plain

    heatmap = None if result.error is not None else result.heatmap
    if heatmap is None:
        return True
    try:
        # Read again: keeping every slice until its turn would cost more memory than time.
        pixels = read(item).pixels
    except UnreadableImage as error:
        why = str(error)
    else:
        if pixels.shape == heatmap.shape:
            folder.save(overlay(pixels, heatmap), name)
            return True
        (rows, columns), (now_rows, now_columns) = heatmap.shape, pixels.shape
        why = f"{result.path}: expected {columns} x {rows} pixels, got {now_columns} x {now_rows}"
    # The answer stands, and so do those of the others.
    sys.stderr.write(
        f"falx: warning: {plain(why)}: the file changed since it was classified, so there is no heatmap; "
        "classify it again\n"
    )
    return False


def _info(options: argparse.Namespace) -> int:
    from falx.classifier import DEFAULT_MODEL, read_model
    from falx.command.console import say
    from falx.command.text import card_text
    from falx.model import file as model_file

    path = DEFAULT_MODEL if options.model is None else Path(options.model)
    card, _ = model_file.extract(read_model(path), name=str(path))
    say(json.dumps(card.to_dict()) if options.json else card_text(card, str(path)))
    return OK


def _check(options: argparse.Namespace) -> int:
    from falx import check
    from falx.command.console import colour, paragraph, say

    classifier = _load(options)
    report = check.run(classifier, latency=options.latency)
    model = classifier.model
    if options.json:
        about = {
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


def _demo(options: argparse.Namespace) -> int:
    from falx.command import demo

    classifier = _load(options)
    demo.show(classifier, options.out)
    return OK


def _app(options: argparse.Namespace) -> int:
    from falx.app import command

    command.run(options, _load(options))
    return OK


def _retarget(options: argparse.Namespace) -> int:
    from falx.command.console import say
    from falx.errors import ThresholdError
    from falx.model import retarget
    from falx.model.file import extract, load_bytes
    from falx.words import plain

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


def _listen(options: argparse.Namespace) -> int:
    from falx.workstation.node.command import listen

    return listen(options)


def _load(options: argparse.Namespace) -> Classifier:
    """Load the model that the options name, and say on standard error what it warns of."""
    from falx.classifier import load

    with warnings.catch_warnings(record=True) as caught, _quiet_engines():
        warnings.simplefilter("always")
        classifier = load(options.model, engine=options.engine, threads=options.threads)
    for warning in caught:
        sys.stderr.write(f"falx: warning: {warning.message}\n")
    if options.own_process:
        # What is there now stays to the end, and need not be looked through.
        gc.freeze()
        gc.enable()
    return classifier


@contextmanager
def _quiet_engines() -> Iterator[None]:
    """Nothing goes to standard error: engines greet there while they start, and NumPy prints a traceback
    where an engine was compiled for another version of it. What is wrong is raised all the same.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(STDERR)
    except OSError:
        # Closed by whoever started this process: nothing to keep quiet.
        yield
        return
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            os.dup2(nowhere.fileno(), STDERR)
            yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)


def _path(item: str | Part | Failure) -> str:
    from falx.slices.slice import Part

    if isinstance(item, str):
        return item
    return (item.holder.path if isinstance(item, Part) else item.path) or ""


def _name(item: str | Part | Failure) -> str:
    """What the table calls an input: its path, and which slice of it where it holds several."""
    from falx.slices.slice import Part

    return f"{_path(item)} {item.number}" if isinstance(item, Part) else _path(item)


def _threshold(text: str) -> tuple[str, float]:
    label, _, value = text.partition("=")
    if label not in LABELS:
        raise argparse.ArgumentTypeError(
            f"expected LABEL=VALUE with a label of {', '.join(LABELS)}, got {text!r}"
        )
    try:
        return label, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number in (0, 1] after {label}=, got {value!r}"
        ) from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _fail(message: str) -> int:
    sys.stderr.write(f"falx: error: {message}\n")
    return UNUSABLE


COMMANDS: Final[
    Mapping[str, tuple[Callable[[argparse.Namespace], int], Callable[[argparse.ArgumentParser], None], str]]
] = {
    "predict": (_predict, _predict_options, "classify slices"),
    "study": (_study, _study_options, "classify the slices of examinations, and sum each up"),
    "info": (_info, _info_options, "print a model's card"),
    "check": (_check, _check_options, "prove that this installation works, and how fast"),
    "demo": (_demo, _demo_options, "classify drawn heads, so that no scan is needed"),
    "app": (_app, _app_options, "open a page that classifies slices, for people who write no code"),
    "retarget": (_retarget, _retarget_options, "write a model file with other thresholds"),
    "listen": (_listen, _listen_options, "receive studies over DICOM and send reports on them"),
}
"""What runs each command, what gives its parser the options, and what it does, in the order of the help."""
