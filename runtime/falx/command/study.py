"""`falx study` classifies the slices of examinations and sums each up."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from falx.command.inputs import add_volume, given
from falx.command.options import OK, SOME_FAILED, add_model, add_threshold, add_workers, load, thresholds
from falx.errors import OutputError, UnreadableImage
from falx.words import counted, plain
from falx.writing import write_whole

if TYPE_CHECKING:
    from pydicom import Dataset

    from falx.prediction import Failure
    from falx.reading.series import Gathering


def add_study(study: argparse.ArgumentParser) -> None:
    """Adds the options of `falx study`."""
    study.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a folder or zip archive with the slices of one study, a DICOMDIR, a DICOM file of several "
        "frames, or a NIfTI, MGH or NRRD volume; - for standard input",
    )
    study.add_argument("--study", metavar="UID", help="answer only the study of this Study Instance UID")
    study.add_argument(
        "--one-patient",
        action="store_true",
        help="take all pictures, in the order of their names, and volumes to be of one patient",
    )
    add_volume(study)
    add_model(study)
    study.add_argument("--json", action="store_true", help="print one JSON object a study")
    study.add_argument(
        "--sheets",
        metavar="DIR",
        help="write each series as a contact sheet with heatmaps to this new or empty folder",
    )
    study.add_argument(
        "--heatmaps", metavar="DIR", help="write each slice with its heatmap to this new or empty folder"
    )
    study.add_argument("--sr", metavar="FILE", help="write the report as DICOM SR to this new file")
    study.add_argument(
        "--sc",
        metavar="DIR",
        help="write a DICOM picture of each slice that carries the decision to this new or empty folder",
    )
    add_threshold(study, "instead of the card's")
    add_workers(study)


def study(options: argparse.Namespace) -> int:
    """Classifies the slices of each examination and prints what they come to."""
    from falx.command.console import Progress, say, wrapped
    from falx.command.heatmaps import Heatmaps
    from falx.command.text import study_text
    from falx.pictures.folder import Folder
    from falx.prediction import Failure

    with_objects = options.sr is not None or options.sc is not None
    if with_objects:
        _check_objects(options)
    classifier = load(options)
    maps = None if options.heatmaps is None else Heatmaps(options.heatmaps, classifier.card)
    folder = None if options.sheets is None else Folder(options.sheets)
    decided_by = thresholds(options, classifier)
    failed = False
    written: list[str] = []
    for number, found in enumerate(_studies(options), start=1):
        if isinstance(found, Failure):
            failed = True
            if options.json:
                say(json.dumps(found.to_dict()))
            else:
                sys.stderr.write(wrapped(f"falx: error: {plain(str(found.error))}"))
            continue
        progress = Progress()
        answers = classifier.predict_study(
            found, workers=options.workers, thresholds=decided_by, progress=progress.update
        )
        progress.clear()
        failed = failed or "error" in answers.verdict.counts
        say(json.dumps(answers.to_dict()) if options.json else study_text(answers))
        for index, (series, one) in enumerate(zip(found.series, answers.series, strict=True)):
            # Not named as its files are: their order says nothing, and some name the patient.
            name = f"study-{number}-series-{index + 1}"
            if maps is not None:
                pairs = zip(series.sources, one.results, strict=True)
                for place, (item, result) in enumerate(pairs, start=1):
                    failed = not maps.save(item, result, f"{name}-slice-{place:03d}") or failed
            if folder is not None:
                from falx.pictures.sheet import sheet

                folder.save(sheet(answers, index, series.sources), name)
        if with_objects:
            from falx.workstation.objects.structured_report import Rule
            from falx.workstation.objects.study_objects import objects_of

            rule = Rule(classifier.model, decided_by, classifier.card.thresholds)
            written += _save_objects(
                options, objects_of(answers, found, rule, capture=options.sc is not None)
            )
    if folder is not None:
        written.append(folder.told("sheet"))
    if maps is not None:
        written.append(maps.written())
    if not options.json:
        for sentence in written:
            say(plain(sentence))
    return SOME_FAILED if failed else OK


def _studies(options: argparse.Namespace) -> Iterator[Gathering | Failure]:
    """Yields the studies that the paths hold, one after the other; a failure for a path without one."""
    from falx.command.console import Progress
    from falx.prediction import Failure
    from falx.reading.series import ONE_PATIENT, gather_all, only
    from falx.reading.source import describe

    for path in given(options.paths):
        progress = Progress()
        try:
            studies: Iterable[Gathering] = gather_all(
                path,
                study=options.study,
                one_patient=options.one_patient,
                volume=options.volume,
                progress=progress.update,
            )
            if options.sr is not None or options.sc is not None:
                # A DICOM report is of one study.
                studies = [only(studies, path)]
            for found in studies:
                progress.clear()
                yield found
        except UnreadableImage as error:
            progress.clear()
            error.args = (str(error).replace(ONE_PATIENT, "--one-patient"),)
            yield Failure(describe(path), error)


def _check_objects(options: argparse.Namespace) -> None:
    """Checks `--sr` and `--sc` before anything is classified."""
    from falx.pictures.folder import Folder
    from falx.workstation.objects import study_objects  # noqa: F401 - to say early what it lacks

    if len(options.paths) > 1:
        raise OutputError("--sr and --sc write the report of one study; give one PATH")
    if options.sr is not None and Path(options.sr).exists():
        raise OutputError(f"{options.sr}: expected a new file, but this one exists; give another name")
    if options.sc is not None:
        Folder(options.sc)


def _save_objects(options: argparse.Namespace, objects: list[Dataset]) -> Iterator[str]:
    """Writes a report and its pictures, as they were asked for, and yields a sentence for each kind."""
    report, *pictures = objects
    if options.sr is not None:
        _save(report, Path(options.sr))
        yield f"Report written to {options.sr}."
    if options.sc is not None:
        for picture in pictures:
            _save(picture, Path(options.sc) / f"{int(picture.InstanceNumber):03}.dcm")
        yield f"{counted(len(pictures), 'picture')} written to {options.sc}."


def _save(data: Dataset, path: Path) -> None:
    stream = BytesIO()
    data.save_as(stream, enforce_file_format=True)
    try:
        write_whole(path, stream.getvalue(), replace=False)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
