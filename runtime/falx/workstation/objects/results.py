"""Makes the DICOM objects of a study: the report, and pictures of the slices that carry the decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from falx._version import __version__
from falx.errors import FalxError, UnreadableImage
from falx.prediction import Model, Prediction
from falx.reading.series import Gathering, gather
from falx.reading.source import read
from falx.workstation.objects import headers
from falx.workstation.objects.identifiers import content
from falx.workstation.objects.secondary_capture import secondary_capture
from falx.workstation.objects.structured_report import structured_report

if TYPE_CHECKING:
    from pydicom import Dataset

    from falx.classifier import Classifier
    from falx.study import Study

__all__ = ["captures", "identity_of", "make", "sources"]


def identity_of(known: Iterable[str], model: Model, *further: str) -> str:
    """Joins what a report depends on: its images, the model, and the version of Falx.

    Args:
        known: SOP Instance UIDs of the images.
        model: the model that answered.
        further: whatever else tells this report from another, such as how often the study was reported.
    """
    return content(known, model.sha256, __version__, *further)


def make(
    classifier: Classifier, paths: Sequence[Path], *, identity: str, capture: bool, workers: int = 1
) -> tuple[Study, list[Dataset]]:
    """Classifies a study and makes its DICOM objects.

    Args:
        classifier: answers.
        paths: DICOM files of one study.
        identity: see `identity_of`.
        capture: whether to make pictures of the slices that carry the decision.
        workers: how many slices are worked on at a time.

    Returns:
        The study, and the data sets to send: the report first.

    Raises:
        ReportError: the images are of several studies, or there are none.
    """
    found = gather([str(path) for path in paths])
    study = classifier.predict_study(found, workers=workers)
    known = sources(map(str, paths))
    made: list[Dataset] = [structured_report(study, known, model=classifier.model, identity=identity)]
    if capture:
        made += captures(study, found, known, identity=identity)
    return study, made


def sources(paths: Iterable[str]) -> dict[str, Dataset]:
    """Reads the headers of images, by their SOP Instance UID; it passes over what is not a DICOM image."""
    known = {}
    for path in paths:
        try:
            header = headers.read(path)
        except UnreadableImage:
            continue
        known[str(header.SOPInstanceUID)] = header
    return known


def captures(study: Study, found: Gathering, known: Mapping[str, Dataset], *, identity: str) -> list[Dataset]:
    """Makes pictures of the slices that carry a study's decision, as far as they may be copied.

    Args:
        study: made from `found`.
        found: its slices.
        known: the headers of its images, from `sources`.
        identity: see `identity_of`.
    """
    slices = [source for row in found.rows for source in row.sources]
    made: list[Dataset] = []
    for index in study.carriers:
        one = study.results[index]
        origin = one.origin
        header = None if origin is None else known.get(origin.sop_instance_uid or "")
        if not isinstance(one, Prediction) or origin is None or header is None:
            continue
        number = len(made) + 1
        try:
            pixels = read(slices[index]).pixels
            picture = secondary_capture(
                one, pixels, header, identity=identity, number=number, frame=origin.frame
            )
        except FalxError:
            # Its pixels name the patient, or its file changed: the report refers to it all the same.
            continue
        made.append(picture)
    return made
