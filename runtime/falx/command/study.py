"""`falx study` classifies the slices of examinations and sums each up."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from falx.command.inputs import add_volume, given
from falx.command.options import (
    OK,
    SOME_FAILED,
    add_model,
    add_threshold,
    add_workers,
    load,
    thresholds,
)
from falx.errors import UnreadableImage
from falx.words import plain

if TYPE_CHECKING:
    from falx.prediction import Failure
    from falx.reading.series import Gathering


def add_study(study: argparse.ArgumentParser) -> None:
    """Adds the options of `falx study`."""
    from falx.workstation.objects.output import output_options

    study.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a folder or zip archive with the slices of one study, a DICOMDIR, a DICOM file of several "
        "frames, or a NIfTI or MGH volume; - for standard input",
    )
    study.add_argument("--study", metavar="UID", help="answer only the study of this Study Instance UID")
    study.add_argument(
        "--one-patient",
        action="store_true",
        help="what has no tags is of one patient: pictures, in the order of their names, and volumes",
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
    output_options(study)
    add_threshold(study, "instead of the card's")
    add_workers(study)


def study(options: argparse.Namespace) -> int:
    """Classifies the slices of each examination and prints what they come to."""
    from falx.command.console import Progress, say
    from falx.command.heatmaps import Heatmaps
    from falx.command.text import study_text
    from falx.pictures.folder import Folder
    from falx.prediction import Failure
    from falx.workstation.objects.output import check_outputs, write_outputs

    check_outputs(options)
    classifier = load(options)
    maps = None if options.heatmaps is None else Heatmaps(options.heatmaps, classifier.card)
    folder = None if options.sheets is None else Folder(options.sheets)
    decided_by = thresholds(options, classifier)
    failed = False
    written: list[str] = []
    for number, found in enumerate(_studies(options), start=1):
        if isinstance(found, Failure):
            failed = True
            say(json.dumps(found.to_dict()) if options.json else str(found.error))
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
        written += write_outputs(options, answers, found, classifier, decided_by)
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
    from falx.reading.series import gather_all, only
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
            yield Failure(describe(path), error)
