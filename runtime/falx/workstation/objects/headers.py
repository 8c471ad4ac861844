"""Headers of images: what Falx reads of them, and copies into its reports and pictures.

A result belongs to the study of its images, so it must carry what tells that study and its patient: the
attributes of type 1 and 2 of the Patient and General Study modules (DICOM PS3.3, C.7.1.1 and C.7.2.1),
the issuers of the identifiers among them, and that an identity was removed. Nothing else of an image's
header is read: no comments, no history, no private data of vendors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from falx.errors import DicomUnavailable, UnreadableImage
from falx.optional import needs
from falx.reading.input_file import InputFile
from falx.reading.quiet import quiet_readers
from falx.workstation.errors import ReportError

with needs("a DICOM report", "dicom", DicomUnavailable):
    from pydicom import Dataset, config, dcmread
    from pydicom.valuerep import validate_value

IDENTITY: Final = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
"""Attributes of type 2: every result has them, with an empty value where the image has none."""

ISSUERS: Final = (
    *("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "IssuerOfAccessionNumberSequence"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
)
"""Attributes that say what the identifiers mean; a result has them where the image has them."""

COMPRESSION: Final = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""Attributes that a picture made from an image inherits."""

REQUIRED: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def read(file: InputFile) -> Dataset:
    """Reads the attributes of an image that this module names, and no others.

    Raises UnreadableImage, which quotes no value, where it is not DICOM or lacks an identifier.
    """
    others = "SpecificCharacterSet", "BurnedInAnnotation"
    wanted: list[str] = [*REQUIRED, *IDENTITY, *ISSUERS, *COMPRESSION, *others]
    with file.open() as stream, quiet_readers():
        try:
            header = dcmread(stream, stop_before_pixels=True, specific_tags=wanted)
        except Exception:  # noqa: BLE001 - pydicom raises anything on damaged files
            raise UnreadableImage(
                f"{file.name}: expected a DICOM file, got one whose header cannot be read"
            ) from None
    missing = [name for name in REQUIRED if not header.get(name)]
    if missing:
        raise UnreadableImage(
            f"{file.name}: the DICOM file has no {', '.join(missing)}, so no report can refer to it"
        )
    return header


def same_study(headers: Iterable[Dataset]) -> list[Dataset]:
    """Returns the headers as a list, if they are of one study."""
    found = list(headers)
    studies = {str(header.StudyInstanceUID) for header in found}
    if not found:
        raise ReportError("a DICOM report needs DICOM images to refer to, and there are none")
    if len(studies) > 1:
        raise ReportError(
            f"a report belongs to one study, and these images are of {len(studies)}; give one study at a time"
        )
    return found


def take_identity(result: Dataset, header: Dataset) -> None:
    """Copies the patient and study of an image into a result, in the image's own character set."""
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
            elif name in result:
                del result[name]


def _valid(header: Dataset, name: str) -> object:
    """Returns a value of a header, or an empty text if it is missing or not one that the standard allows."""
    value = header.get(name)
    if not value:
        return ""
    try:
        validate_value(header[name].VR, str(value), config.RAISE)
    except ValueError:
        return ""
    return value
