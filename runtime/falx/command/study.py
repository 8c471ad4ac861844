"""`falx study` classifies the slices of examinations and sums each up."""

from __future__ import annotations

import argparse
import json

from falx.command.options import (
    OK,
    SOME_FAILED,
    add_model,
    add_threshold,
    add_workers,
    load,
    quiet_engines,
    thresholds,
)
from falx.errors import UnreadableImage
from falx.words import plain

__all__ = ["add_study", "study"]


def add_study(study: argparse.ArgumentParser) -> None:
    """Adds the options of `falx study`."""
    from falx.workstation.objects.output import output_options

    study.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a folder with the slices of one study, a DICOM file of several frames, or a NIfTI volume",
    )
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
    from falx.command.console import say
    from falx.command.heatmaps import Heatmaps
    from falx.command.text import study_text
    from falx.pictures.folder import Folder
    from falx.prediction import Failure
    from falx.reading.series import gather
    from falx.workstation.objects.output import check_outputs, write_outputs

    check_outputs(options)
    classifier = load(options)
    maps = None if options.heatmaps is None else Heatmaps(options.heatmaps, classifier.card)
    folder = None if options.sheets is None else Folder(options.sheets)
    decided_by = thresholds(options, classifier)
    failed = False
    written: list[str] = []
    for number, path in enumerate(options.paths, start=1):
        try:
            found = gather(path)
        except UnreadableImage as error:
            failed = True
            failure = Failure(path, error)
            say(json.dumps(failure.to_dict()) if options.json else str(error))
            continue
        with quiet_engines():
            answers = classifier.predict_study(found, workers=options.workers, thresholds=decided_by)
        failed = failed or "error" in answers.counts
        say(json.dumps(answers.to_dict()) if options.json else study_text(answers))
        for index, row in enumerate(found.rows):
            # Not named as its files are: their order says nothing, and some name the patient.
            name = f"study-{number}-series-{index + 1}"
            if maps is not None:
                for place, (item, result) in enumerate(
                    zip(row.sources, answers.series[index].results, strict=True), start=1
                ):
                    failed = not maps.save(item, result, f"{name}-slice-{place:03d}") or failed
            if folder is not None:
                from falx.pictures.sheet import sheet

                folder.save(sheet(answers, index, row.sources), name)
        written += write_outputs(options, answers, found, classifier, decided_by)
    if folder is not None:
        written.append(folder.told("sheet"))
    if maps is not None:
        written.append(maps.written())
    if not options.json:
        for sentence in written:
            say(plain(sentence))
    return SOME_FAILED if failed else OK
