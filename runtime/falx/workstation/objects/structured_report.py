"""The report of a study as a DICOM Structured Report: TID 1500, Measurement Report, in an Enhanced SR.

The class is Enhanced SR because nothing here has coordinates; every viewer that shows reports reads it.
The report is complete, preliminary and unverified: a machine wrote it and nobody signed it. Its Content
Qualification, its description and its words mark it as research.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from falx._version import __version__
from falx.decision import Thresholds
from falx.errors import DicomUnavailable
from falx.optional import needs
from falx.prediction import ModelIdentity, Prediction
from falx.reading.quiet import quiet_readers
from falx.study import Study, Verdict
from falx.words import DISCLAIMER, counted
from falx.workstation.objects import codes, headers
from falx.workstation.objects.identifiers import unique

with needs("a DICOM report", "dicom", DicomUnavailable):
    from highdicom import ContentQualificationValues, sr
    from pydicom import Dataset

MANUFACTURER: Final = "The Falx developers"
SERIES_NUMBER: Final = 9800
"""A high number: the report stands behind the series of the scanner in a sorted list."""

CONTAINS: Final = sr.RelationshipTypeValues.CONTAINS

DECIMALS: Final = 4
"""Decimals of a probability: a DICOM decimal string has at most 16 characters (PS3.5, 6.2)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The model that decided on a study, the thresholds in force, and those of its card."""

    model: ModelIdentity
    thresholds: Thresholds
    own: Thresholds

    @property
    def text(self) -> str:
        """The thresholds in force; those that the caller changed are marked."""
        return self.thresholds.beside(self.own)


def structured_report(
    study: Study, sources: Mapping[str, Dataset], *, rule: Rule, identity: str
) -> sr.EnhancedSR:
    """Makes the report of a study: a data set, ready to be saved or sent.

    `sources` holds the headers of its images, from `headers.read`, by their SOP Instance UID. The same
    `identity` gives a report the same SOP Instance UID.
    """
    images = headers.same_study(sources.values())
    with quiet_readers():
        unused = [f"Not used, {counted(one.slices)}: {one.reason.message}" for one in study.not_used]
        tracking = unique("tracking", "study", identity)
        groups = [_group(study.verdict, "study", tracking, rule, [*study.notes, *unused])]
        for index in study.verdict.carriers:
            one = study.results[index]
            origin = one.origin
            instance = "" if origin is None else origin.sop_instance_uid or ""
            if isinstance(one, Prediction) and origin is not None and instance in sources:
                tracking = unique("tracking", instance, str(origin.frame), identity)
                image = _image(sources[instance], origin.frame)
                groups.append(_group(one, f"slice {index + 1}", tracking, rule, images=[image]))
        report = sr.MeasurementReport(
            observation_context=_observer(rule.model),
            procedure_reported=codes.PROCEDURE,
            imaging_measurements=groups,
            title=codes.TITLE,
        )
        _add_library(report, images)
        document = sr.EnhancedSR(
            evidence=[_reference(header) for header in images],
            content=report,
            series_instance_uid=unique("report series", identity),
            series_number=SERIES_NUMBER,
            sop_instance_uid=unique("report", identity),
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            is_final=False,
            is_verified=False,
            content_qualification=ContentQualificationValues.RESEARCH,
            series_description="Falx, for research use only",
            manufacturer_model_name="Falx",
            software_versions=__version__,
            device_serial_number=rule.model.sha256,
            coding_schemes=[codes.scheme()],
        )
    headers.take_identity(document, images[0])
    return document


def _reference(header: Dataset) -> Dataset:
    """Makes a header without anything of its patient: highdicom logs names that it doubts."""
    reference = Dataset()
    for name in (*headers.REQUIRED, *headers.IDENTITY):
        setattr(reference, name, header.get(name) if name in headers.REQUIRED else "")
    return reference


def _observer(model: ModelIdentity) -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=unique("device", __version__, model.sha256),
        name="Falx",
        manufacturer_name=MANUFACTURER,
        model_name=f"{model.name} {model.version}",
        serial_number=model.sha256,
    )
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=sr.CodedConcept.from_code(codes.DEVICE), observer_identifying_attributes=device
        )
    )


def _group(
    of: Verdict | Prediction,
    name: str,
    tracking: str,
    rule: Rule,
    notes: Sequence[str] = (),
    images: Sequence[sr.SourceImageForMeasurementGroup] = (),
) -> sr.MeasurementsAndQualitativeEvaluations:
    """Makes the group of the study or of a slice: TID 1501, Measurement and Qualitative Evaluation Group."""
    found = of.decision
    evaluations = [sr.QualitativeEvaluation(codes.DECISION, codes.DECISIONS[found])]
    measurements = []
    texts = [(codes.COMMENT, text) for text in (*notes, of.recommendation, DISCLAIMER)]
    if of.band is not None:
        evaluations.append(sr.QualitativeEvaluation(codes.BAND, codes.BANDS[of.band]))
    if of.confidence is not None:
        percent = round(100 * of.confidence, DECIMALS - 2)
        measurements.append(sr.Measurement(codes.CONFIDENCE, percent, codes.PERCENT))
    if isinstance(of, Verdict):
        found = of.label or found
        texts.insert(0, (codes.REASON, of.reason))
    else:
        if of.reason is not None:
            evaluations.append(sr.QualitativeEvaluation(codes.REASON, codes.reason(of.reason.code)))
        for label, value in (of.probabilities or {}).items():
            concept = codes.PROBABILITIES[label]
            measurements.append(sr.Measurement(concept, round(value, DECIMALS), codes.NO_UNITS))
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=tracking, identifier=name),
        finding_type=codes.FINDINGS.get(found),
        finding_sites=[sr.FindingSite(codes.site(found))],
        algorithm_id=sr.AlgorithmIdentification(
            name=f"Falx, model {rule.model.name}",
            version=f"{__version__}, model {rule.model.version}",
            parameters=[f"SHA-256 of the model file: {rule.model.sha256}", f"Thresholds: {rule.text}"],
            family=codes.ALGORITHM,
            manufacturer=MANUFACTURER,
        ),
        source_images=images,
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )
    for concept, text in texts:
        group[0].ContentSequence.append(sr.TextContentItem(concept, text, relationship_type=CONTAINS))
    return group


def _image(header: Dataset, frame: int | None) -> sr.SourceImageForMeasurementGroup:
    return sr.SourceImageForMeasurementGroup(
        referenced_sop_class_uid=header.SOPClassUID,
        referenced_sop_instance_uid=header.SOPInstanceUID,
        referenced_frame_numbers=None if frame is None else [frame],
    )


def _add_library(report: sr.MeasurementReport, sources: Sequence[Dataset]) -> None:
    """Adds all images that were looked at: TID 1600, without descriptors, which are in the images."""
    library, group = (
        sr.ContainerContentItem(name, relationship_type=CONTAINS)
        for name in (codes.LIBRARY, codes.LIBRARY_GROUP)
    )
    group.ContentSequence = sr.ContentSequence(
        [
            sr.ImageContentItem(
                name=codes.SOURCE,
                referenced_sop_class_uid=header.SOPClassUID,
                referenced_sop_instance_uid=header.SOPInstanceUID,
                relationship_type=CONTAINS,
            )
            for header in sources
        ]
    )
    library.ContentSequence = sr.ContentSequence([group])
    items = report[0].ContentSequence
    # In the order of the template: the measurements are last.
    items.insert(len(items) - 1, library)
