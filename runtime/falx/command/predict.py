"""`falx predict` answers for each slice, one after the other."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from falx.command.console import Progress, paragraph, say
from falx.command.inputs import add_volume, given, warn_of
from falx.command.options import OK, SOME_FAILED, add_model, add_threshold, add_workers, load, thresholds
from falx.words import DISCLAIMER

if TYPE_CHECKING:
    from falx.reading.input_file import InputFile
    from falx.slices.slice import Part


def add_predict(predict: argparse.ArgumentParser) -> None:
    """Adds the options of `falx predict`."""
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a picture, a DICOM file, a NIfTI, MGH or NRRD volume, a TIFF stack, or a zip archive or folder "
        "of these; each slice of a file is answered; - for standard input",
    )
    add_volume(predict)
    add_model(predict)
    predict.add_argument("--json", action="store_true", help="print one JSON object a line, as they come")
    predict.add_argument(
        "--resume",
        metavar="JSONL",
        help="write the JSON lines to this file, and pass over inputs that it has answers for",
    )
    predict.add_argument(
        "--heatmaps", metavar="DIR", help="write each slice with its heatmap to this new or empty folder"
    )
    add_threshold(predict, "instead of the card's")
    predict.add_argument(
        "--timings", action="store_true", help="say how long each step took: read, prepare, infer, decide"
    )
    add_workers(predict)


def predict(options: argparse.Namespace) -> int:
    """Classifies slices and prints an answer for each."""
    if options.resume is not None:
        return _resume(options)
    from falx.command.text import Results
    from falx.prediction import Failure
    from falx.reading.files import expand

    classifier = load(options)
    maps = None
    if options.heatmaps is not None:
        # Here: most who classify want no pictures.
        from falx.command.heatmaps import Heatmaps

        maps = Heatmaps(options.heatmaps, classifier.card)
    decided_by = thresholds(options, classifier)
    passed_over: Counter[str] = Counter()
    items = list(expand(given(options.paths), volume=options.volume, passed_over=passed_over))
    warn_of(items, passed_over)
    names = [_name(item) for item in items]
    table = None if options.json else Results(names, decided_by, classifier.card, timings=options.timings)
    progress = Progress(len(items))
    failed = False
    results = classifier.predict_many(items, workers=options.workers, thresholds=decided_by)
    for done, (item, result) in enumerate(zip(items, results, strict=True), start=1):
        failed = failed or isinstance(result, Failure)
        progress.clear()
        if table is None:
            sys.stdout.write(json.dumps(result.to_dict(timings=options.timings)) + "\n")
            sys.stdout.flush()
        else:
            table.add(result, _name(item))
        if maps is not None:
            frame = None if result.origin is None else result.origin.frame
            name = Path(result.path or "").stem
            name = name if frame is None else f"{name}-{frame:03d}"
            failed = not maps.save(item, result, name) or failed
        progress.update(done)
    progress.clear()
    if table is not None:
        table.close(classifier)
        if maps is not None:
            say(maps.written())
    return SOME_FAILED if failed else OK


def _resume(options: argparse.Namespace) -> int:
    from falx.command.journal import Journal, ResumeError
    from falx.prediction import Failure
    from falx.reading.files import expand
    from falx.reading.source import path_of

    if options.json or options.heatmaps is not None:
        raise ResumeError("--resume writes the answers to its file; leave --json and --heatmaps out")
    classifier = load(options)
    decided_by = thresholds(options, classifier)
    with closing(Journal(options.resume, classifier.model)) as journal:
        failures = journal.failures
        items = list(expand(given(options.paths), volume=options.volume))
        # The frames of a file have its path; they are answered in their order.
        left = [item for item in items if not journal.take(path_of(item) or "")]
        progress = Progress(len(left))
        results = classifier.predict_many(left, workers=options.workers, thresholds=decided_by)
        for done, result in enumerate(results, start=1):
            journal.add(result, timings=options.timings)
            failures += isinstance(result, Failure)
            progress.update(done)
        progress.clear()
    before = len(items) - len(left)
    say(
        paragraph(
            f"{options.resume}: {before} answered before, {len(left)} now; {failures} of all its "
            f"answers {'says' if failures == 1 else 'say'} that an input could not be read."
        )
    )
    say(paragraph(DISCLAIMER))
    return SOME_FAILED if failures else OK


def _name(item: str | InputFile | Part) -> str:
    """Returns what the table calls an input: its path, and which slice of a file that holds several."""
    from falx.reading.source import path_of
    from falx.slices.slice import Part

    path = path_of(item) or ""
    return f"{path} {item.number}" if isinstance(item, Part) and item.holder.frames > 1 else path
