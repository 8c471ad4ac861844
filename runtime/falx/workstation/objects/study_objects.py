"""Makes the DICOM objects of a study: the report, and pictures of the slices that carry the decision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from falx._version import __version__
from falx.errors import FalxError, UnreadableImage
from falx.prediction import Failure, Prediction
from falx.reading.input_file import InputFile
from falx.reading.series import Gathering, gather
from falx.reading.source import read
from falx.workstation.objects import headers
from falx.workstation.objects.secondary_capture import secondary_capture
from falx.workstation.objects.structured_report import Rule, structured_report

if TYPE_CHECKING:
    from pydicom import Dataset

    from falx.classifier import Classifier
    from falx.study import Study


def make(
    classifier: Classifier,
    paths: Sequence[Path],
    *,
    capture: bool = False,
    further: Sequence[str] = (),
    workers: int = 1,
) -> tuple[Study, list[Dataset]]:
    """Classifies the DICOM files of one study and makes its objects, see `objects_of`."""
    found = gather([str(path) for path in paths])
    study = classifier.predict_study(found, workers=workers)
    own = classifier.card.thresholds
    rule = Rule(classifier.model, own, own)
    return study, objects_of(study, found, rule, capture=capture, further=further)


def objects_of(
    study: Study, found: Gathering, rule: Rule, *, capture: bool, further: Sequence[str] = ()
) -> list[Dataset]:
    """Makes the report of a study, and pictures of the slices that carry the decision, as far as they may be
    copied.

    The same images, model, thresholds, version of Falx and `further` words give objects with the same UIDs.
    Raises ReportError where the images are of several studies, or there are none.
    """
    failed = (InputFile.at(one.path) for one in study.results if isinstance(one, Failure) and one.path)
    known = _sources((*found.files, *failed))
    changed = [] if rule.thresholds == rule.own else [rule.text]
    identity = "/".join([*sorted(known), rule.model.sha256, __version__, *changed, *further])
    report = structured_report(study, known, rule=rule, identity=identity)
    return [report, *(_pictures(study, found, known, rule, identity) if capture else [])]


def _sources(files: Iterable[InputFile]) -> dict[str, Dataset]:
    """Reads the headers of images, by their SOP Instance UID; it passes over what is not a DICOM image."""
    known = {}
    for file in files:
        try:
            header = headers.read(file)
        except UnreadableImage:
            continue
        known[str(header.SOPInstanceUID)] = header
    return known


def _pictures(
    study: Study, found: Gathering, known: Mapping[str, Dataset], rule: Rule, identity: str
) -> Iterator[Dataset]:
    number = 0
    slices = found.sources
    for index in study.verdict.carriers:
        one = study.results[index]
        origin = one.origin
        header = None if origin is None else known.get(origin.sop_instance_uid or "")
        if not isinstance(one, Prediction) or origin is None or header is None:
            continue
        try:
            pixels = read(slices[index]).pixels
            picture = secondary_capture(
                one, pixels, header, rule=rule, identity=identity, number=number + 1, frame=origin.frame
            )
        except FalxError:
            # Its pixels name the patient, or its file changed: the report refers to it all the same.
            continue
        number += 1
        yield picture
