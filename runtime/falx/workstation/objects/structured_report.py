"""The report of a study as a DICOM Structured Report: TID 1500, Measurement Report, in an Enhanced SR.

The class is Enhanced SR because nothing here has coordinates; every viewer that shows reports reads it.
The report is complete, preliminary and unverified: a machine wrote it and nobody signed it. Its Content
Qualification, its description and its words mark it as research.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from falx._version import __version__
from falx.errors import DicomUnavailable
from falx.optional import needs
from falx.prediction import Model, Prediction
from falx.reading.quiet import quiet_readers
from falx.words import DISCLAIMER
from falx.workstation.objects import codes, headers
from falx.workstation.objects.identifiers import unique

if TYPE_CHECKING:
    from highdicom import sr
    from pydicom import Dataset

    from falx.study import Study

__all__ = ["MANUFACTURER", "SERIES_NUMBER", "structured_report"]

MANUFACTURER: Final = "The Falx developers"
SERIES_NUMBER: Final = 9800
"""A high number: the report stands behind the series of the scanner in a sorted list."""

DECIMALS: Final = 4
"""Decimals of a probability: a DICOM decimal string has at most 16 characters (PS3.5, 6.2)."""


def structured_report(
    study: Study, sources: Mapping[str, Dataset], *, model: Model, identity: str
) -> sr.EnhancedSR:
    """Makes the report of a study.

    Args:
        study: from `Classifier.predict_study`.
        sources: the headers of its images by their SOP Instance UID, from
            `falx.workstation.objects.headers.read`.
        model: the model that answered.
        identity: tells this report from every other; the same identity gives the same SOP Instance UID, see
            `falx.workstation.objects.identifiers`.

    Returns:
        A data set, ready to be saved or sent.

    Raises:
        ReportError: there are no sources, or they are of several studies.
        DicomUnavailable: highdicom is not installed.
    """
    with needs("a DICOM report", "'falx[dicom]'", DicomUnavailable):
        from highdicom import ContentQualificationValues, sr

    images = headers.same_study(sources.values())
    with quiet_readers():
        groups = [_study_group(study, model, unique("tracking", "study", identity))]
        for index in study.carriers:
            one = study.results[index]
            origin = one.origin
            instance = "" if origin is None else origin.sop_instance_uid or ""
            if isinstance(one, Prediction) and origin is not None and instance in sources:
                header = sources[instance]
                tracking = unique("tracking", instance, str(origin.frame), identity)
                groups.append(_slice_group(one, f"slice {index + 1}", tracking, header))
        report = sr.MeasurementReport(
            observation_context=_observer(model),
            procedure_reported=codes.procedure(),
            imaging_measurements=groups,
            title=codes.title(),
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
            device_serial_number=model.sha256,
            coding_schemes=[codes.scheme()],
        )
    headers.take_identity(document, images[0])
    return document


def _reference(header: Dataset) -> Dataset:
    """Makes a header without anything of its patient: highdicom logs names that it doubts."""
    from pydicom import Dataset

    reference = Dataset()
    for name in (*headers.REQUIRED, *headers.IDENTITY):
        setattr(reference, name, header.get(name) if name in headers.REQUIRED else "")
    return reference


def _observer(model: Model) -> sr.ObservationContext:
    from highdicom import sr

    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=codes.code("121007", "DCM", "Device"),
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=unique("device", __version__, model.sha256),
                name="Falx",
                manufacturer_name=MANUFACTURER,
                model_name=f"{model.name} {model.version}",
                serial_number=model.sha256,
            ),
        )
    )


def _study_group(study: Study, model: Model, tracking: str) -> sr.MeasurementsAndQualitativeEvaluations:
    found = study.label or study.decision
    evaluations = [_evaluation("DECISION", "Decision", codes.decision(study.decision))]
    if study.band is not None:
        evaluations.append(_evaluation("BAND", "Band of confidence", codes.band(study.band)))
    measurements = [] if study.confidence is None else [_certainty(study.confidence)]
    texts = [(codes.private("REASON", "Reason"), study.reason)]
    texts += [(codes.comment(), text) for text in (*study.notes, study.recommendation, DISCLAIMER)]
    return _group("study", tracking, found, model, evaluations, measurements, texts, images=[])


def _slice_group(
    one: Prediction, name: str, tracking: str, header: Dataset
) -> sr.MeasurementsAndQualitativeEvaluations:
    assert one.origin is not None  # noqa: S101 - our own invariant: only such slices have a header
    evaluations = [_evaluation("DECISION", "Decision", codes.decision(one.decision))]
    measurements = []
    if one.band is not None:
        evaluations.append(_evaluation("BAND", "Band of confidence", codes.band(one.band)))
    if one.confidence is not None:
        measurements.append(_certainty(one.confidence))
    if one.reason is not None:
        evaluations.append(_evaluation("REASON", "Reason", codes.reason(one.reason.code)))
    unit = codes.code("1", "UCUM", "no units")
    for label, value in (one.probabilities or {}).items():
        measurements.append(_measurement(codes.probability(label), round(value, DECIMALS), unit))
    texts = [(codes.comment(), text) for text in (one.recommendation, DISCLAIMER)]
    images = [_image(header, one.origin.frame)]
    return _group(name, tracking, one.decision, one.model, evaluations, measurements, texts, images)


def _group(
    name: str,
    tracking: str,
    found: str,
    model: Model,
    evaluations: Sequence[sr.QualitativeEvaluation],
    measurements: Sequence[sr.Measurement],
    texts: Sequence[tuple[sr.CodedConcept, str]],
    images: Sequence[sr.SourceImageForMeasurementGroup],
) -> sr.MeasurementsAndQualitativeEvaluations:
    """Makes the group of the study or of a slice: TID 1501, Measurement and Qualitative Evaluation Group."""
    from highdicom import sr

    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=tracking, identifier=name),
        finding_type=codes.finding(found),
        finding_sites=[sr.FindingSite(codes.site(found))],
        algorithm_id=sr.AlgorithmIdentification(
            name=f"Falx, model {model.name}",
            version=f"{__version__}, model {model.version}",
            parameters=[f"SHA-256 of the model file: {model.sha256}"],
            family=codes.code("123110", "DCM", "Artificial Intelligence"),
            manufacturer=MANUFACTURER,
        ),
        source_images=images,
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )
    contains = sr.RelationshipTypeValues.CONTAINS
    for concept, text in texts:
        group[0].ContentSequence.append(sr.TextContentItem(concept, text, relationship_type=contains))
    return group


def _evaluation(value: str, meaning: str, answer: sr.CodedConcept) -> sr.QualitativeEvaluation:
    from highdicom import sr

    return sr.QualitativeEvaluation(codes.private(value, meaning), answer)


def _measurement(name: sr.CodedConcept, value: float, unit: sr.CodedConcept) -> sr.Measurement:
    from highdicom import sr

    return sr.Measurement(name, value, unit)


def _certainty(confidence: float) -> sr.Measurement:
    percent = codes.code("%", "UCUM", "Percent")
    return _measurement(codes.confidence(), round(100 * confidence, DECIMALS - 2), percent)


def _image(header: Dataset, frame: int | None) -> sr.SourceImageForMeasurementGroup:
    from highdicom import sr

    return sr.SourceImageForMeasurementGroup(
        referenced_sop_class_uid=header.SOPClassUID,
        referenced_sop_instance_uid=header.SOPInstanceUID,
        referenced_frame_numbers=None if frame is None else [frame],
    )


def _add_library(report: sr.MeasurementReport, sources: Sequence[Dataset]) -> None:
    """Adds all images that were looked at: TID 1600, without descriptors, which are in the images."""
    from highdicom import sr

    contains = sr.RelationshipTypeValues.CONTAINS
    library = sr.ContainerContentItem(
        codes.code("111028", "DCM", "Image Library"), relationship_type=contains
    )
    group = sr.ContainerContentItem(
        codes.code("126200", "DCM", "Image Library Group"), relationship_type=contains
    )
    group.ContentSequence = sr.ContentSequence(
        [
            sr.ImageContentItem(
                name=codes.code("260753009", "SCT", "Source"),
                referenced_sop_class_uid=header.SOPClassUID,
                referenced_sop_instance_uid=header.SOPInstanceUID,
                relationship_type=contains,
            )
            for header in sources
        ]
    )
    library.ContentSequence = sr.ContentSequence([group])
    items = report[0].ContentSequence
    # In the order of the template: the measurements are last.
    items.insert(len(items) - 1, library)
