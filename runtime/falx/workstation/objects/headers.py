"""What results say of the patient and the study, and of the images they come from.

A result belongs to the study of its images, so it must carry what tells that study and its patient: the
attributes of type 1 and 2 of the Patient and General Study modules (DICOM PS3.3, C.7.1.1 and C.7.2.1),
the issuers of the identifiers among them, and that an identity was removed. Nothing else of an image's
header is read: no comments, no history, no private data of vendors.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, Final

from falx.errors import DicomUnavailable, FalxError, UnreadableImage
from falx.reading.quiet import quiet_readers

__all__ = ["IDENTITY", "REQUIRED", "needed", "read", "same_study", "take_identity"]

IDENTITY: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
"""Of type 2, beside the Study Instance UID: present in every result, empty where the image has no value."""

ISSUERS: Final = (
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "IssuerOfAccessionNumberSequence",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
)
"""Carried where the image has them: they say what the identifiers above mean."""

REFERENCES: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SpecificCharacterSet",
)

PIXELS: Final = (
    "BurnedInAnnotation",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
"""What a picture made from an image inherits."""

REQUIRED: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def needed(module: str) -> Any:
    """A module that `falx[dicom]` brings.

    Raises:
        DicomUnavailable: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise DicomUnavailable(
            f"this needs {package}, which is not installed: pip install 'falx[dicom]'"
        ) from error


def read(path: str) -> Any:
    """The header of an image as a pydicom Dataset: the attributes named in this module, no others.

    Raises:
        UnreadableImage: it is no DICOM file, or lacks an identifier. The message has no value of it.
    """
    pydicom = needed("pydicom")
    wanted = [*REFERENCES, *IDENTITY, *ISSUERS, *PIXELS]
    try:
        with quiet_readers():
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(wanted))
    except Exception as error:  # noqa: BLE001 - pydicom raises anything on damaged files
        raise UnreadableImage(
            f"{path}: expected a DICOM file, got one whose header cannot be read ({type(error).__name__})"
        ) from None
    missing = [name for name in REQUIRED if not header.get(name)]
    if missing:
        raise UnreadableImage(
            f"{path}: the DICOM file has no {', '.join(missing)}, so no result can refer to it"
        )
    return header


def same_study(headers: Iterable[Any]) -> list[Any]:
    """The headers, which are of one study.

    Raises:
        FalxError: there is none, or they are of several.
    """
    all_headers = list(headers)
    studies = {str(header.StudyInstanceUID) for header in all_headers}
    if not all_headers:
        raise FalxError("a DICOM result needs DICOM images to refer to, and there is none")
    if len(studies) > 1:
        raise FalxError(
            f"a result belongs to one study, and these images are of {len(studies)}; give them one by one"
        )
    return all_headers


def take_identity(result: Any, header: Any) -> None:
    """Give a result the patient and study of an image, in the image's own character set."""
    from pydicom.datadict import tag_for_keyword

    with quiet_readers():
        if header.get("SpecificCharacterSet"):
            result.SpecificCharacterSet = header.SpecificCharacterSet
        elif "SpecificCharacterSet" in result:
            del result.SpecificCharacterSet
        result.StudyInstanceUID = header.StudyInstanceUID
        for name in IDENTITY:
            setattr(result, name, _valid(header, name))
        for name in ISSUERS:
            if name in header:
                result[name] = header[name]
            else:
                tag = tag_for_keyword(name)
                if tag in result:
                    del result[tag]


def _valid(header: Any, name: str) -> Any:
    """A value of a header; empty where it is missing, or none that the standard allows."""
    from pydicom import config
    from pydicom.valuerep import validate_value

    value = header.get(name)
    if not value:
        return ""
    try:
        validate_value(header[name].VR, str(value), config.RAISE)
    except ValueError:
        return ""
    return value
