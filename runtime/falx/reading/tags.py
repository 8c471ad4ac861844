"""What the tags of a DICOM data set say: whether it is an MR slice at all, of what, and where it lies.

Tags are set by software and by people, and those by people are often wrong or missing. So which object
it is decides by itself: SOP Class UID and Modality, which software sets; Image Type and frame type,
which the scanner sets; Burned In Annotation, because a name in the picture must not reach an output.
Body Part Examined, which is copied from an order, decides only where the picture speaks against a head
too: what it shows is larger than one (`LARGEST_HEAD_MM`), or the model doubts it
(`falx.slices.rejection.FAMILIARITY_AGAINST_TAGS`). Missing tags never speak against a slice, and free text,
such as a series' description, is not asked whether a picture is one. No function here raises: what
cannot be read counts as missing. None returns text of the data set: only UIDs and words of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from falx.reading.window import Window
from falx.slices.reasons import Reason, tag_reason
from falx.slices.slice import Origin

__all__ = [
    "LARGEST_HEAD_MM",
    "LEAST_FIELD_MM",
    "TAGS",
    "Geometry",
    "aspect",
    "directory",
    "doubt",
    "frames",
    "geometry",
    "has_table",
    "instance_number",
    "kind",
    "number",
    "origin",
    "padding",
    "refusal",
    "rescale",
    "small_field",
    "spacing_mm",
    "table_bits",
    "text",
    "window",
]

MR_CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.3": "Enhanced MR Color Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR Image Storage",
}
"""The SOP classes of MR pictures (PS3.4, B.5); a colour one is told by its pixels."""

UID: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
LONGEST_UID: Final = 64
"""What a UID is (PS3.5, 9.1); anything else in its place is not repeated, for it could be a name."""

MODALITIES: Final = (
    *("AU", "CR", "CT", "DOC", "DX", "ECG", "ES", "GM", "IO", "IVUS", "KO", "MG", "NM", "OCT", "OP", "PR"),
    *("PT", "PX", "REG", "RF", "RG", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "SC", "SEG", "SM", "SR"),
    *("TG", "US", "XA", "XC"),
)
"""Modalities besides MR (PS3.3, C.7.3.1.1.1) that a message names; other text in their place could be
anything, a name too."""

NOT_SLICES: Final = {"LOCALIZER": "localizer", "PROJECTION IMAGE": "projection", "SCREEN SAVE": "projection"}
"""Values of Image Type and frame type that are no slice to classify, with the code of the reason."""

HEAD: Final = (
    "HEAD",
    "BRAIN",
    "SKULL",
    "NEURO",
    "CRAN",
    "PITUIT",
    "SELLA",
    "HYPOPH",
    "ORBIT",
    "IAC",
    "CEREB",
)
"""Beginnings of words for parts of the head in Body Part Examined (PS3.16, annex L; what people write)."""

BODY: Final = (
    *(
        "ABDOMEN",
        "ANKLE",
        "ARM",
        "BREAST",
        "CHEST",
        "CSPINE",
        "ELBOW",
        "FOOT",
        "HAND",
        "HEART",
        "HIP",
        "KNEE",
    ),
    *(
        "LEG",
        "LIVER",
        "LSPINE",
        "LUNG",
        "PELVIS",
        "PROSTATE",
        "SHOULDER",
        "SPINE",
        "THIGH",
        "THORAX",
        "TSPINE",
    ),
    *("UTERUS", "WRIST", "KIDNEY", "CARDIAC", "EXTREMITY", "CALF", "FEMUR", "COLON", "BLADDER"),
)
"""Beginnings of words for other parts. What is in neither list says nothing."""

TAGS: Final = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Modality", "ImageType", "BodyPartExamined", "AnatomicRegionSequence"),
    *("BurnedInAnnotation", "SeriesDescription", "ProtocolName"),
    *("ScanningSequence", "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "ContrastBolusAgent"),
    *("DiffusionBValue", "InstanceNumber", "EchoNumbers", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "PixelAspectRatio", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit"),
    *(
        "PixelRepresentation",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "RescaleSlope",
        "RescaleIntercept",
    ),
    *("ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DirectoryRecordSequence"),
)
"""All that is read of a file besides its pixels; the patient's name is not among it."""

LARGEST_HEAD_MM: Final = 260.0
"""No head is longer on a slice, with the upper neck: the longest adult heads measure 220 mm."""

LEAST_FIELD_MM: Final = 100.0
"""No picture of a human head is smaller along its longer side: the head of a newborn is about 110 mm long
(WHO Child Growth Standards: 345 mm around), and a field of view holds more than the head."""

OBLIQUE: Final = float(np.cos(np.pi / 4))


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where a slice lies.

    Attributes:
        normal: unit vector of its plane, in the patient's coordinates (to the left, back, and head).
        position_mm: of its plane along the normal.
    """

    normal: tuple[float, float, float]
    position_mm: float


def frames(dataset: Any) -> int:
    """How many frames a data set says it has, at least 1; what is no number counts as 1."""
    return max(1, int(number(dataset, "NumberOfFrames") or 1))


def refusal(dataset: Any, frame: int = 1) -> Reason | None:
    """Why a data set, or a frame of it, is no MR slice of a head; None where nothing decisive says so."""
    sop_class = text(dataset, "SOPClassUID")
    if sop_class and sop_class not in MR_CLASSES:
        return tag_reason("not_mr", f"It is of the SOP class {_class_name(sop_class)}.")
    modality = text(dataset, "Modality").upper()
    if modality and modality not in ("MR", "OT"):
        which = modality if modality in MODALITIES else "another"
        return tag_reason("not_mr", f"Its modality is {which}.")
    kinds = {value.upper() for value in _texts(dataset, "ImageType")}
    kinds |= {
        value.upper() for value in _texts(_item(dataset, frame, "MRImageFrameTypeSequence"), "FrameType")
    }
    for kind, code in NOT_SLICES.items():
        if kind in kinds:
            return tag_reason(code, f"Its image type says {kind}.")
    if text(dataset, "BurnedInAnnotation").upper() == "YES":
        return tag_reason("annotated", "Its Burned In Annotation is YES.")
    return None


def doubt(dataset: Any, frame: int = 1) -> Reason | None:
    """What speaks against a head without deciding: a Body Part Examined that is another part."""
    parts = [text(dataset, "BodyPartExamined")]
    anatomy = _item(dataset, frame, "FrameAnatomySequence")
    region = _first(_get(anatomy, "AnatomicRegionSequence"))
    parts.append(text(region, "CodeMeaning"))
    words = re.findall("[A-Z]+", " ".join(parts).upper())
    if any(word.startswith(HEAD) for word in words):
        return None
    other = next((part for part in BODY if any(word.startswith(part) for word in words)), None)
    return tag_reason("other_body_part", f"Its tags name {other}.") if other else None


def origin(dataset: Any, frame: int | None = None) -> Origin:
    """Where a slice stands; `frame` from 1, None where there is one only."""
    return Origin(
        format="dicom",
        frame=frame,
        sop_class_uid=_uid(dataset, "SOPClassUID"),
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        series_instance_uid=_uid(dataset, "SeriesInstanceUID"),
        study_instance_uid=_uid(dataset, "StudyInstanceUID"),
        plane=_plane(dataset, frame or 1),
        sequence=_sequence(dataset, frame or 1),
    )


def geometry(dataset: Any, frame: int = 1) -> Geometry | None:
    """Where a slice lies (PS3.3, C.7.6.2.1.1); None where the tags do not tell."""
    axes = _numbers(_item(dataset, frame, "PlaneOrientationSequence"), "ImageOrientationPatient")
    corner = _numbers(_item(dataset, frame, "PlanePositionSequence"), "ImagePositionPatient")
    if len(axes) != 6 or len(corner) != 3:
        return None
    normal = np.cross(axes[:3], axes[3:])
    length = float(np.linalg.norm(normal))
    if not 0.9 < length < 1.1:
        return None
    normal /= length
    x, y, z = normal.tolist()
    return Geometry((x, y, z), float(normal @ np.array(corner)))


def spacing_mm(dataset: Any, frame: int = 1) -> tuple[float, float] | None:
    """Distance of the centres of neighbouring rows, and columns; None where the tags do not tell."""
    values = _numbers(_item(dataset, frame, "PixelMeasuresSequence"), "PixelSpacing")
    return (values[0], values[1]) if len(values) == 2 and min(values) > 0 else None


def aspect(dataset: Any, frame: int = 1) -> tuple[float, float]:
    """Height and width of a pixel, of which only the ratio counts; 1, 1 where it is unknown."""
    known = spacing_mm(dataset, frame)
    if known is not None:
        return known
    values = _numbers(dataset, "PixelAspectRatio")
    return (values[0], values[1]) if len(values) == 2 and min(values) > 0 else (1.0, 1.0)


def window(dataset: Any, frame: int = 1) -> Window | None:
    """The first stored window of a frame; None where there is none that could be one."""
    holder = _item(dataset, frame, "FrameVOILUTSequence")
    centre, width = _numbers(holder, "WindowCenter"), _numbers(holder, "WindowWidth")
    if not centre or not width:
        return None
    return Window.of(centre[0], width[0], text(holder, "VOILUTFunction") or "LINEAR")


def rescale(dataset: Any, frame: int = 1) -> tuple[float, float] | None:
    """Slope and intercept of a frame; None where there are none, or the slope is 0."""
    holder = _item(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = number(holder, "RescaleSlope"), number(holder, "RescaleIntercept")
    return (slope, intercept) if slope and intercept is not None else None


def kind(dataset: Any, frame: int = 1) -> tuple[object, ...]:
    """What tells slices of one series apart that do not belong in one row: echo and size."""
    echo = number(_item(dataset, frame, "MREchoSequence"), "EffectiveEchoTime")
    echo = number(dataset, "EchoTime") if echo is None else echo
    return echo, number(dataset, "Rows"), number(dataset, "Columns")


def instance_number(dataset: Any) -> float:
    """Where the scanner put a slice in its series; infinite where it does not say."""
    place = number(dataset, "InstanceNumber")
    return float("inf") if place is None else place


def _plane(dataset: Any, frame: int) -> str | None:
    axes = _numbers(_item(dataset, frame, "PlaneOrientationSequence"), "ImageOrientationPatient")
    if len(axes) != 6:
        return None
    normal = np.abs(np.cross(axes[:3], axes[3:]))
    which = int(np.argmax(normal))
    return ("sagittal", "coronal", "axial")[which] if normal[which] > OBLIQUE else None


def _sequence(dataset: Any, frame: int) -> str | None:
    """What is weighted: as an enhanced object says it, else by its times, else by its description.

    The times are those of common protocols at 1.5 and 3 T; between them nothing is claimed.
    """
    weighting = _weighting(dataset, frame)
    if weighting != "T1":
        return weighting
    agent = _item(dataset, frame, "ContrastBolusUsageSequence")
    used = text(agent, "ContrastBolusAgentAdministered").upper() == "YES"
    named = text(dataset, "ContrastBolusAgent").upper() not in ("", "NO", "NONE", "N", "N/A", "0")
    return "T1C+" if used or named else "T1"


def _weighting(dataset: Any, frame: int) -> str | None:
    contrast = text(_item(dataset, frame, "MRImageFrameTypeSequence"), "AcquisitionContrast").upper()
    known = {"T1": "T1", "T2": "T2", "PROTON_DENSITY": "PD", "FLUID_ATTENUATED": "FLAIR", "DIFFUSION": "DWI"}
    if contrast in known:
        return known[contrast]
    if number(dataset, "DiffusionBValue") is not None:
        return "DWI"
    echo, repetition = number(dataset, "EchoTime"), number(dataset, "RepetitionTime")
    inversion = number(dataset, "InversionTime") or 0.0
    methods = {value.upper() for value in _texts(dataset, "ScanningSequence")}
    if echo is not None and repetition is not None and "EP" not in methods:
        if inversion >= 1500 and echo >= 70:
            return "FLAIR"
        if (
            echo <= 30
            and (repetition <= 900 or 300 <= inversion <= 1300)
            and ("GR" not in methods or echo <= 6)
        ):
            return "T1"
        if inversion == 0 and repetition >= 2000:
            return "T2" if echo >= 70 else "PD" if echo <= 40 else None
    return _described(dataset)


def _described(dataset: Any) -> str | None:
    described = f"{text(dataset, 'SeriesDescription')} {text(dataset, 'ProtocolName')}".upper()
    words = {
        "FLAIR": "FLAIR",
        "DWI|DIFF|TRACE": "DWI",
        "MPRAGE|SPGR|BRAVO|VIBE|T1": "T1",
        r"T2\*|SWI|SWAN": "",
        "T2": "T2",
        r"\bPD\b": "PD",
    }
    return next((name for pattern, name in words.items() if re.search(pattern, described)), None) or None


def _class_name(uid: str) -> str:
    """The name of a SOP class; no other text of the data set."""
    from pydicom import uid as uids

    return str(uids.UID(uid).name) if UID.fullmatch(uid) else "that is none"


def _item(dataset: Any, frame: int, group: str) -> Any:
    """The functional group of a frame: its own, else the shared one, else the data set itself."""
    of_frames = _get(dataset, "PerFrameFunctionalGroupsSequence") or ()
    shared = _get(dataset, "SharedFunctionalGroupsSequence") or ()
    for holder in (*of_frames[frame - 1 : frame], *shared[:1]):
        found = _first(_get(holder, group))
        if found is not None:
            return found
    return dataset


def _first(sequence: Any) -> Any:
    try:
        return sequence[0]
    except (IndexError, KeyError, TypeError):
        return None


def _get(dataset: Any, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom raises anything on damaged values; missing, then
        return None


def text(dataset: Any, keyword: str) -> str:
    """The first value of a tag as text without padding; empty where it is missing."""
    return next(iter(_texts(dataset, keyword)), "")


def _texts(dataset: Any, keyword: str) -> list[str]:
    return [str(value).strip(" \0") for value in _values(dataset, keyword)]


def number(dataset: Any, keyword: str) -> float | None:
    """The first value of a tag as a number; None where it is missing or one of them is no finite number."""
    return next(iter(_numbers(dataset, keyword)), None)


def _numbers(dataset: Any, keyword: str) -> list[float]:
    """All values of a tag; none where one of them is no finite number."""
    try:
        numbers = [float(value) for value in _values(dataset, keyword)]
    except (TypeError, ValueError, OverflowError):
        return []
    return numbers if np.isfinite(numbers).all() else []


def _values(dataset: Any, keyword: str) -> Iterator[Any]:
    value = None if dataset is None else _get(dataset, keyword)
    if value is None or isinstance(value, bytes):
        return
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        yield value
    else:
        yield from value


def _uid(dataset: Any, keyword: str) -> str | None:
    uid = text(dataset, keyword)
    return uid if len(uid) <= LONGEST_UID and UID.fullmatch(uid) else None


def has_table(dataset: Any, keyword: str) -> bool:
    """Whether a sequence holds a lookup table."""
    return len(_numbers(_first(_get(dataset, keyword)), "LUTDescriptor")) == 3


def table_bits(dataset: Any, keyword: str) -> int:
    """The bits of an entry of a lookup table, at least 1."""
    return max(1, int(_numbers(_first(_get(dataset, keyword)), "LUTDescriptor")[2]))


def padding(dataset: Any) -> tuple[float, float] | None:
    """The least and the greatest stored value that are no picture (PS3.3, C.7.5.1.1.2); None without."""
    value, limit = number(dataset, "PixelPaddingValue"), number(dataset, "PixelPaddingRangeLimit")
    if value is None:
        return None
    limit = value if limit is None else limit
    return min(value, limit), max(value, limit)


def directory(dataset: Any) -> list[list[str]]:
    """Returns the files that a DICOMDIR lists (PS3.3, F.3.2.2), each the parts of its path."""
    records = _get(dataset, "DirectoryRecordSequence") or ()
    listed = (_texts(record, "ReferencedFileID") for record in records)
    return [parts for parts in listed if parts]


def small_field(height_mm: float, width_mm: float) -> Reason | None:
    """Returns why a field of view of this size shows no human head; None where it may, or is unknown, 0."""
    longer = max(height_mm, width_mm)
    if not 0 < longer < LEAST_FIELD_MM:
        return None
    return tag_reason("small_field", f"It shows {longer:.3g} mm, and a head takes {LEAST_FIELD_MM:g} mm.")
