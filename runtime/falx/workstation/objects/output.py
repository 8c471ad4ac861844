"""Writes the DICOM files of `falx study`; it imports little, so that help comes at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from falx.errors import OutputError
from falx.words import counted

if TYPE_CHECKING:
    from pydicom import Dataset

    from falx.classifier import Classifier
    from falx.decision import Thresholds
    from falx.reading.series import Gathering
    from falx.study import Study


def output_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--sr` and `--sc`."""
    parser.add_argument("--sr", metavar="FILE", help="write the report as DICOM SR to this new file")
    parser.add_argument(
        "--sc",
        metavar="DIR",
        help="write a DICOM picture of each slice that carries the decision to this new or empty folder",
    )


def check_outputs(options: argparse.Namespace) -> None:
    """Checks `--sr` and `--sc` before anything is classified.

    Raises:
        OutputError: they are given with several studies, or would replace something.
        DicomUnavailable: highdicom is not installed.
    """
    if options.sr is None and options.sc is None:
        return
    from falx.pictures.folder import Folder
    from falx.workstation.objects import study_objects  # noqa: F401 - to say early what it lacks

    if len(options.paths) > 1:
        raise OutputError("--sr and --sc write the report of one study; give one PATH")
    if options.sr is not None and Path(options.sr).exists():
        raise OutputError(f"{options.sr}: expected a new file, but this one exists; give another name")
    if options.sc is not None:
        Folder(options.sc)


def write_outputs(
    options: argparse.Namespace,
    study: Study,
    found: Gathering,
    classifier: Classifier,
    thresholds: Thresholds,
) -> list[str]:
    """Writes the report and the pictures that `falx study` was asked for.

    Args:
        options: with `sr`, a new file or None, and `sc`, a folder or None, as `check_outputs` passed them.
        study: made from `found`.
        found: its slices.
        classifier: answered.
        thresholds: those in force.

    Returns:
        A sentence for each thing that was written.

    Raises:
        ReportError: the study has no DICOM images.
        OutputError: something cannot be written.
    """
    if options.sr is None and options.sc is None:
        return []
    from falx.workstation.objects.structured_report import Rule
    from falx.workstation.objects.study_objects import objects_of

    rule = Rule(classifier.model, thresholds, classifier.card.thresholds)
    report, *pictures = objects_of(study, found, rule, capture=options.sc is not None)
    written = []
    if options.sr is not None:
        _save(report, Path(options.sr))
        written.append(f"Report written to {options.sr}.")
    if options.sc is not None:
        for picture in pictures:
            _save(picture, Path(options.sc) / f"{int(picture.InstanceNumber):03}.dcm")
        written.append(f"{counted(len(pictures), 'picture')} written to {options.sc}.")
    return written


def _save(data: Dataset, path: Path) -> None:
    try:
        with path.open("xb") as stream:
            data.save_as(stream, enforce_file_format=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
