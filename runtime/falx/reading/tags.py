"""Reads what the tags of a DICOM data set say: which object it is, what it shows, and where it lies.

Tags are set by software and by people, and those by people are often wrong or missing. So only
these decide by themselves: SOP Class UID and Modality, which software sets; Image Type and frame type,
which the scanner sets; Burned In Annotation, because a name in the picture must not reach an output.
Body Part Examined is copied from an order. It decides only where the picture speaks against a head too,
because it shows something larger (`LARGEST_HEAD_MM`) or the model doubts it
(`falx.slices.rejection.FAMILIARITY_AGAINST_TAGS`). Missing tags never speak against a slice. Free text, such
as a series' description, never decides whether a picture is a slice: it only sets series of a study aside
(`falx.reading.set_aside`). No function here raises; a value that cannot be read counts as missing. The
functions return no text of the data set, but for `patient`, `visit` and `described`, whose answers are
compared and never shown.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, SupportsFloat, cast

from falx.reading.sniffing import is_dataset
from falx.reading.window import Window
from falx.slices.reasons import Reason, reason_of
from falx.slices.slice import Origin

if TYPE_CHECKING:
    from pydicom import Dataset

MR_CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.3": "Enhanced MR Color Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR Image Storage",
}
"""The SOP classes of MR pictures (PS3.4, B.5); a colour one is told by its pixels."""

UID: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
LONGEST_UID: Final = 64
"""The form of a UID (PS3.5, 9.1); anything else in its place is not repeated, because it could be a name."""

MODALITIES: Final = (
    "AU|CR|CT|DOC|DX|ECG|ES|GM|IO|IVUS|KO|MG|NM|OCT|OP|PR|PT|PX|REG|RF|RG|RTDOSE|RTIMAGE|RTPLAN|RTSTRUCT"
    "|SC|SEG|SM|SR|TG|US|XA|XC"
)
"""Modalities besides MR (PS3.3, C.7.3.1.1.1) that a message names; other text in their place could be
anything, a name too."""

NOT_SLICES: Final = {
    "localizer": r"LOCALIZER|SCOUT|SURVEY",
    "projection": r"PROJECTION IMAGE|SCREEN SAVE|(MAX|MIN)[ _]?IP|MIP|MNIP|((CSA|CURVED|THICK)[ _])?MPR"
    r"|MPR[ _](RANGE|THICK)|REFORMATTED|(VOLUME|SURFACE)[ _]RENDER(ED|ING)?|VRT|SSD",
    "phase": r"P|PHASE([ _](MAP|CONTRAST))?|R|REAL|I|IMAGINARY|[PRI]_(FFE|TFE|SE|IR|PCA|B1)|PCR|VELOCITY"
    r"|FLOW_ENCODED",
    "map": r"F|FAT([ _]FRACTION)?|[ER]?ADC(_UNSPECIFIED)?|TRACEW?|FA|COLFA|TENSOR(_B0)?|CALC_BVALUE|TMAX"
    r"|(REL|R)?(CBF|CBV|MTT|TTP)|T0|PBP|GBP|KTRANS|B[01]([ _]MAP)?|FIELD[ _]?MAP"
    r"|[TR][12]([ _]?(STAR|\*))?[ _]MAP|QSM|SUB(TRACT(ION)?)?|T[ _]?TEST",
    "mosaic": r"MOSAIC",
}
"""Values that mark an object as no slice to classify, by code of the reason. They are values of Image Type
from the third on, of frame type, of Complex Image Component and of Volume Based Calculation Technique, as the
standard has them (PS3.3, C.8.3.1.1.1 and C.8.16) and as Siemens, GE and Philips write them. P, R and I stand
for phase, real and imaginary part, M for magnitude. A match may be repeated: it is no text of a person."""

PLAIN: Final = frozenset(("AE", "AS", "CS", "DA", "DS", "IS", "LO", "SH", "TM", "UI"))
"""Value representations whose values are text with a backslash between them (PS3.5, 6.2)."""

Tag = str | tuple[int, int]
"""The keyword of an element, or the numbers of a private one."""

RAW_DATA_TYPE: Final = (0x0043, 0x102F)
RAW_DATA_TYPES: Final = {1: "PHASE", 2: "REAL", 3: "IMAGINARY"}
"""The element in which GE says what a picture shows, and the meaning of its numbers; 0 is magnitude."""

B_VALUES: Final = ((0x0019, 0x100C), (0x0043, 0x1039))
"""The elements of Siemens and GE with the b-value of older objects. GE adds 10^9 to it in some versions."""

PRIVATE: Final = ((0x0019, 0x0010), (0x0043, 0x0010), RAW_DATA_TYPE, *B_VALUES)
"""The private elements that are read, and who made them."""

HEAD: Final = re.compile("(?<![A-Z])(HEAD|BRAIN|SKULL|NEURO|CRAN|PITUIT|SELLA|HYPOPH|ORBIT|IAC|CEREB)")
"""Beginnings of words for parts of the head in Body Part Examined (PS3.16, annex L; what people write)."""

BODY: Final = re.compile(
    "(?<![A-Z])(ABDOMEN|ANKLE|ARM|BREAST|CHEST|CSPINE|ELBOW|FOOT|HAND|HEART|HIP|KNEE|LEG|LIVER|LSPINE|LUNG"
    "|PELVIS|PROSTATE|SHOULDER|SPINE|THIGH|THORAX|TSPINE|UTERUS|WRIST|KIDNEY|CARDIAC|EXTREMITY|CALF|FEMUR"
    "|COLON|BLADDER)"
)
"""Beginnings of words for other parts. A part that is in neither list says nothing."""

TAGS: Final = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Modality", "ImageType", "BodyPartExamined", "AnatomicRegionSequence"),
    *("BurnedInAnnotation", "SeriesDescription", "ProtocolName"),
    *("ScanningSequence", "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "ContrastBolusAgent"),
    *("DiffusionBValue", "InstanceNumber", "EchoNumbers", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "PixelAspectRatio", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope"),
    *("RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction"),
    *("WindowCenter", "WindowWidth"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DirectoryRecordSequence"),
    *("ComplexImageComponent", "AcquisitionContrast", "VolumeBasedCalculationTechnique", "RescaleType"),
    *("QualityControlImage", "StudyDescription", "TemporalPositionIdentifier", "SeriesNumber"),
    *("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "StudyTime"),
)
"""All that is read of a file besides its pixels and `PRIVATE`. The tags that name the patient are compared,
to tell patients apart, and go nowhere."""

DESCRIBED: Final = {
    "FLAIR": "FLAIR",
    "DWI|DIFF|TRACE": "DWI",
    "MPRAGE|SPGR|BRAVO|VIBE|T1": "T1",
    r"T2\*|SWI|SWAN": None,
    "T2": "T2",
    r"\bPD\b": "PD",
}
"""Sequences by what people call them."""

LARGEST_HEAD_MM: Final = 260.0
"""No head is longer on a slice, with the upper neck: the longest adult heads measure 220 mm."""

LEAST_FIELD_MM: Final = 100.0
"""No picture of a human head is smaller along its longer side: the head of a newborn is about 110 mm long
(WHO Child Growth Standards: 345 mm around), and a field of view holds more than the head."""

OBLIQUE: Final = math.cos(math.pi / 4)
PLANES: Final = ("sagittal", "coronal", "axial")
"""The plane of a slice across each axis: from left to right, from back to front, from foot to head."""

GE_OFFSET: Final = 10**9

ECHO_MS: Final = 0.2
ECHO_SHARE: Final = 0.02
"""Echo times that differ by less than this, or this share of them, are one: the echoes of a series that has
several are at least 0.7 ms apart."""

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The place of a slice in the patient.

    Attributes:
        normal: unit vector across its plane, in the patient's coordinates (to the left, back, and head);
            of the two the one that points to the left, the back or the head.
        position_mm: of its plane along the normal.
        corner: of its first pixel, in mm.
        right, down: from there along the first row, and the first column, over all of the slice, in mm; as
            long as 0 where the size of a pixel is unknown.
    """

    normal: Vector
    position_mm: float
    corner: Vector = (0.0, 0.0, 0.0)
    right: Vector = (0.0, 0.0, 0.0)
    down: Vector = (0.0, 0.0, 0.0)

    @classmethod
    def of(cls, across: Vector, corner: Vector, right: Vector, down: Vector) -> Geometry:
        """Returns where a slice lies; the vector across its plane may have any length."""
        x, y, z = across
        length = math.copysign(math.hypot(x, y, z), max(across, key=abs))
        normal = x / length, y / length, z / length
        position_mm = sum(one * other for one, other in zip(normal, corner, strict=True))
        return cls(normal, position_mm, corner, right, down)


@dataclass(frozen=True, slots=True)
class SeriesKind:
    """The properties that the slices of one series share, and those of two do not.

    Scanners write the Echo Time with jitter, see `alike`. The b-value is in s/mm^2, and None for 0: Philips
    writes that into every image.
    """

    image_type: tuple[str, ...]
    echo: float | None
    echo_ms: float | None
    b_value: float | None
    time_point: float | None
    size: tuple[float | None, float | None]

    def alike(self, other: SeriesKind) -> bool:
        """Tells whether slices of these kinds can stand in one series."""
        if self._exact() != other._exact():
            return False
        if self.echo_ms is None or other.echo_ms is None:
            return self.echo_ms is other.echo_ms
        return abs(self.echo_ms - other.echo_ms) <= max(ECHO_MS, ECHO_SHARE * self.echo_ms)

    def _exact(self) -> tuple[object, ...]:
        return self.image_type, self.echo, self.b_value, self.time_point, self.size


def frames(dataset: Dataset) -> int:
    """Returns how many frames a data set says it has, at least 1; what is no number counts as 1."""
    return max(1, int(number(dataset, "NumberOfFrames") or 1))


def refusal(dataset: Dataset, frame: int = 1) -> Reason | None:
    """Returns why a data set, or a frame of it, is no MR slice of a head; None where it may be one."""
    sop_class = text(dataset, "SOPClassUID")
    if sop_class and sop_class not in MR_CLASSES:
        from pydicom import uid as uids

        # No other text of the data set than the name of a class.
        named = uids.UID(sop_class).name if UID.fullmatch(sop_class) else "that is none"
        return reason_of("not_mr", f"It is of the SOP class {named}.")
    modality = text(dataset, "Modality").upper()
    if modality and modality not in ("MR", "OT"):
        which = modality if re.fullmatch(MODALITIES, modality) else "another"
        return reason_of("not_mr", f"Its modality is {which}.")
    shows = image_type(dataset, frame)
    for code, pattern in NOT_SLICES.items():
        said = next((value for value in shows if re.fullmatch(pattern, value)), None)
        if said is not None:
            return reason_of(code, f"Its image type says {said}.")
    if text(dataset, "BurnedInAnnotation").upper() == "YES":
        return reason_of("annotated", "Its Burned In Annotation is YES.")
    return None


def doubt(dataset: Dataset, frame: int = 1) -> Reason | None:
    """Returns what speaks against a head without deciding: a Body Part Examined that is another part."""
    region = _in_sequence(_item(dataset, frame, "FrameAnatomySequence"), "AnatomicRegionSequence")
    said = f"{text(dataset, 'BodyPartExamined')} {text(region, 'CodeMeaning')}".upper()
    other = None if HEAD.search(said) else BODY.search(said)
    return reason_of("other_body_part", f"Its tags name {other[0]}.") if other else None


def origin(dataset: Dataset, frame: int | None = None) -> Origin:
    """Returns where a slice stands; `frame` from 1, None where there is one only."""
    return Origin(
        format="dicom",
        frame=frame,
        sop_class_uid=uid(dataset, "SOPClassUID"),
        sop_instance_uid=uid(dataset, "SOPInstanceUID"),
        series_instance_uid=uid(dataset, "SeriesInstanceUID"),
        study_instance_uid=uid(dataset, "StudyInstanceUID"),
        plane=_plane(dataset, frame or 1),
        sequence=_sequence(dataset, frame or 1),
    )


def geometry(dataset: Dataset, frame: int = 1) -> Geometry | None:
    """Returns where a slice lies (PS3.3, C.7.6.2.1.1); None where the tags do not tell."""
    axes = _numbers(_item(dataset, frame, "PlaneOrientationSequence"), "ImageOrientationPatient")
    corner = _numbers(_item(dataset, frame, "PlanePositionSequence"), "ImagePositionPatient")
    if len(axes) != 6 or len(corner) != 3:
        return None
    across = _across(axes)
    if not 0.9 < math.hypot(*across) < 1.1:
        return None
    height, width = extent_mm(dataset, frame)
    (a, b, c, d, e, f), (x, y, z) = axes, corner
    right, down = (width * a, width * b, width * c), (height * d, height * e, height * f)
    return Geometry.of(across, (x, y, z), right, down)


def _across(axes: Sequence[float]) -> Vector:
    """Returns the cross product of the directions of rows and columns."""
    a, b, c, d, e, f = axes
    return b * f - c * e, c * d - a * f, a * e - b * d


def spacing_mm(dataset: Dataset, frame: int = 1) -> tuple[float, float] | None:
    """Returns the distance of neighbouring rows, and columns, in mm; None where the tags do not tell."""
    return _two_lengths(_item(dataset, frame, "PixelMeasuresSequence"), "PixelSpacing")


def _two_lengths(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    values = _numbers(dataset, keyword)
    return (values[0], values[1]) if len(values) == 2 and min(values) > 0 else None


def extent_mm(dataset: Dataset, frame: int = 1) -> tuple[float, float]:
    """Returns height and width of a slice, in mm; 0, 0 where the tags do not tell."""
    row_mm, column_mm = spacing_mm(dataset, frame) or (0.0, 0.0)
    return (number(dataset, "Rows") or 0.0) * row_mm, (number(dataset, "Columns") or 0.0) * column_mm


def contrast(dataset: Dataset, frame: int = 1) -> str:
    """Returns what an enhanced object is weighted by (PS3.3, C.8.16.2), upper case; empty if it is silent."""
    return text(_item(dataset, frame, "MRImageFrameTypeSequence"), "AcquisitionContrast").upper()


def aspect(dataset: Dataset, frame: int = 1) -> tuple[float, float]:
    """Returns height and width of a pixel, of which only the ratio counts; 1, 1 where it is unknown."""
    return spacing_mm(dataset, frame) or _two_lengths(dataset, "PixelAspectRatio") or (1.0, 1.0)


def window(dataset: Dataset, frame: int = 1) -> Window | None:
    """Returns the first stored window of a frame; None where there is none that could be one."""
    holder = _item(dataset, frame, "FrameVOILUTSequence")
    centre, width = _numbers(holder, "WindowCenter"), _numbers(holder, "WindowWidth")
    if not centre or not width:
        return None
    return Window.of(centre[0], width[0], text(holder, "VOILUTFunction") or "LINEAR")


def rescale(dataset: Dataset, frame: int = 1) -> tuple[float, float] | None:
    """Returns slope and intercept of a frame; None where there are none, or the slope is 0."""
    holder = _item(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = number(holder, "RescaleSlope"), number(holder, "RescaleIntercept")
    return (slope, intercept) if slope and intercept is not None else None


def image_type(dataset: Dataset, frame: int = 1) -> tuple[str, ...]:
    """Returns what a picture shows, in the scanner's words: Image Type from its third value on, and so on."""
    of_frame = _item(dataset, frame, "MRImageFrameTypeSequence")
    said = [*_texts(dataset, "ImageType")[2:], *_texts(of_frame, "FrameType")[2:]]
    said += [text(of_frame, "ComplexImageComponent"), text(of_frame, "VolumeBasedCalculationTechnique")]
    said.append(RAW_DATA_TYPES.get(int(number(dataset, RAW_DATA_TYPE) or 0), ""))
    return tuple(dict.fromkeys(value.upper() for value in said if value not in ("", "NONE")))


def kind(dataset: Dataset, frame: int = 1) -> SeriesKind:
    """Returns what tells slices apart that the scanner put in one series and that do not belong there."""
    echo_ms = number(_item(dataset, frame, "MREchoSequence"), "EffectiveEchoTime")
    time_point = number(_item(dataset, frame, "FrameContentSequence"), "TemporalPositionIndex")
    return SeriesKind(
        image_type=image_type(dataset, frame),
        echo=number(dataset, "EchoNumbers"),
        echo_ms=number(dataset, "EchoTime") if echo_ms is None else echo_ms,
        b_value=b_value(dataset, frame) or None,
        time_point=number(dataset, "TemporalPositionIdentifier") if time_point is None else time_point,
        size=(number(dataset, "Rows"), number(dataset, "Columns")),
    )


def b_value(dataset: Dataset, frame: int = 1) -> float | None:
    """Returns the diffusion weighting, in s/mm^2; None where there is none."""
    found = number(_item(dataset, frame, "MRDiffusionSequence"), "DiffusionBValue")
    if found is not None:
        return found
    private = next((value for tag in B_VALUES if (value := number(dataset, tag)) is not None), None)
    return None if private is None else private % GE_OFFSET


def patient(dataset: Dataset) -> tuple[str, ...]:
    """Returns what tells patients apart; for comparison alone, never to be shown."""
    known = text(dataset, "PatientID")
    return (known,) if known else (text(dataset, "PatientName"), text(dataset, "PatientBirthDate"))


def visit(dataset: Dataset) -> tuple[str, ...]:
    """Returns when a study was made, as it is written; for comparison alone, never to be shown."""
    return text(dataset, "StudyDate"), text(dataset, "StudyTime")


def described(dataset: Dataset) -> str:
    """Returns what people call a series and its protocol, in upper case, words apart; never to be shown."""
    said = " ".join(text(dataset, keyword) for keyword in ("SeriesDescription", "ProtocolName"))
    return " ".join(re.findall(r"[A-Z0-9*]+", said.upper()))


def instance_number(dataset: Dataset) -> float:
    """Returns where the scanner put a slice in its series; infinite where it does not say."""
    place = number(dataset, "InstanceNumber")
    return float("inf") if place is None else place


def _plane(dataset: Dataset, frame: int) -> str | None:
    axes = _numbers(_item(dataset, frame, "PlaneOrientationSequence"), "ImageOrientationPatient")
    if len(axes) != 6:
        return None
    sizes = [abs(part) for part in _across(axes)]
    return PLANES[sizes.index(max(sizes))] if max(sizes) > OBLIQUE else None


def _sequence(dataset: Dataset, frame: int) -> str | None:
    """Returns what is weighted: as an enhanced object says it, else by its times, else by its description.

    The times are those of common protocols at 1.5 and 3 T; between them nothing is claimed.
    """
    weighting = _weighting(dataset, frame)
    if weighting != "T1":
        return weighting
    agent = _item(dataset, frame, "ContrastBolusUsageSequence")
    used = text(agent, "ContrastBolusAgentAdministered").upper() == "YES"
    named = text(dataset, "ContrastBolusAgent").upper() not in ("", "NO", "NONE", "N", "N/A", "0")
    return "T1C+" if used or named else "T1"


def _weighting(dataset: Dataset, frame: int) -> str | None:
    known = {"T1": "T1", "T2": "T2", "PROTON_DENSITY": "PD", "FLUID_ATTENUATED": "FLAIR", "DIFFUSION": "DWI"}
    if (said := contrast(dataset, frame)) in known:
        return known[said]
    if b_value(dataset, frame):
        return "DWI"
    echo, repetition = number(dataset, "EchoTime"), number(dataset, "RepetitionTime")
    inversion = number(dataset, "InversionTime") or 0.0
    methods = {value.upper() for value in _texts(dataset, "ScanningSequence")}
    if echo is not None and repetition is not None and "EP" not in methods:
        if inversion >= 1500 and echo >= 70:
            return "FLAIR"
        short = repetition <= 900 or 300 <= inversion <= 1300
        if short and echo <= (6 if "GR" in methods else 30):
            return "T1"
        if inversion == 0 and repetition >= 2000:
            return "T2" if echo >= 70 else "PD" if echo <= 40 else None
    called = described(dataset)
    return next((name for pattern, name in DESCRIBED.items() if re.search(pattern, called)), None)


def _item(dataset: Dataset, frame: int, group: str) -> Dataset:
    """Returns the functional group of a frame: its own, else the shared one, else the data set itself."""
    places = {"PerFrameFunctionalGroupsSequence": frame - 1, "SharedFunctionalGroupsSequence": 0}
    for keyword, index in places.items():
        found = _in_sequence(_in_sequence(dataset, keyword, index), group)
        if found is not None:
            return found
    return dataset


def _in_sequence(dataset: Dataset | None, keyword: str, index: int = 0) -> Dataset | None:
    items = None if dataset is None else _get(dataset, keyword)
    found = items[index] if isinstance(items, Sequence) and len(items) > index else None
    return found if is_dataset(found) else None


def _get(dataset: Dataset, keyword: Tag) -> object:
    try:
        tag = _number_of(keyword)
        # Most tags that are asked for are missing: pydicom takes ten times as long to say so.
        return dataset[tag].value if tag in dataset.keys() else None  # noqa: SIM118 - its `in` is slow
    except Exception:  # noqa: BLE001 - pydicom raises anything on damaged values; missing, then
        return None


@functools.cache
def _number_of(tag: Tag) -> int:
    if not isinstance(tag, str):
        return tag[0] << 16 | tag[1]
    from pydicom.datadict import tag_for_keyword

    number = tag_for_keyword(tag)
    assert number is not None, tag  # noqa: S101 - our own invariant: only keywords of the standard are asked for
    return number


def text(dataset: Dataset | None, keyword: str) -> str:
    """Returns the first value of a tag as text without padding; empty where it is missing."""
    return next(iter(_texts(dataset, keyword)), "")


def _texts(dataset: Dataset | None, keyword: str) -> list[str]:
    return [str(value).strip(" \0") for value in _values(dataset, keyword)]


def number(dataset: Dataset | None, keyword: Tag) -> float | None:
    """Returns the first value of a tag as a number; None where it is missing, or not all are finite."""
    return next(iter(_numbers(dataset, keyword)), None)


def _numbers(dataset: Dataset | None, keyword: Tag) -> list[float]:
    """Returns all values of a tag; none where one of them is no finite number."""
    try:
        numbers = [float(cast("SupportsFloat", value)) for value in _values(dataset, keyword)]
    except (TypeError, ValueError, OverflowError):
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _plain(dataset: Dataset, keyword: Tag) -> list[str] | None:
    """Returns the values of a tag that a file holds as plain text; None where pydicom must read them.

    Reading text and numbers in ASCII takes pydicom ten times as long.
    """
    tag = _number_of(keyword)
    if tag not in dataset.keys():  # noqa: SIM118 - as in `_get`
        return []
    try:
        element = dataset.get_item(tag)
    except Exception:  # noqa: BLE001 - pydicom raises anything on damaged values
        return None
    value: object = element.value
    if not element.is_raw or not isinstance(value, bytes):
        return None
    representation = element.VR or _representation(keyword)
    if representation == "US" and len(value) == 2:
        return [str(int.from_bytes(value, "little" if getattr(element, "is_little_endian", True) else "big"))]
    if representation not in PLAIN or not value.isascii():
        return None
    return [part.strip(" \0") for part in value.decode("ascii").split("\\")]


@functools.cache
def _representation(tag: Tag) -> str:
    """Returns the value representation that a tag of the standard has where a file names none."""
    from pydicom.datadict import dictionary_VR

    return dictionary_VR(tag) if isinstance(tag, str) else "UN"


def _values(dataset: Dataset | None, keyword: Tag) -> Sequence[object]:
    plain = [] if dataset is None else _plain(dataset, keyword)
    if dataset is None or plain is not None:
        return plain or ()
    value = _get(dataset, keyword)
    if value is None or isinstance(value, bytes):
        return ()
    # A person's name can be iterated too, letter by letter.
    return (value,) if isinstance(value, str) or not isinstance(value, Sequence) else value


def uid(dataset: Dataset, keyword: str) -> str | None:
    """Returns a UID; None where it is missing, or something other than a UID stands there."""
    found = text(dataset, keyword)
    return found if len(found) <= LONGEST_UID and UID.fullmatch(found) else None


def has_table(dataset: Dataset, keyword: str) -> bool:
    """Returns whether a sequence holds a lookup table."""
    return len(_numbers(_in_sequence(dataset, keyword), "LUTDescriptor")) == 3


def table_bits(dataset: Dataset, keyword: str) -> int:
    """Returns the bits of an entry of a lookup table, at least 1."""
    return max(1, int(_numbers(_in_sequence(dataset, keyword), "LUTDescriptor")[2]))


def padding(dataset: Dataset) -> tuple[float, float] | None:
    """Returns the least and the greatest stored value that are no picture (PS3.3, C.7.5.1.1.2), if any."""
    value, limit = number(dataset, "PixelPaddingValue"), number(dataset, "PixelPaddingRangeLimit")
    if value is None:
        return None
    limit = value if limit is None else limit
    return min(value, limit), max(value, limit)


def directory(dataset: Dataset) -> list[list[str]]:
    """Returns the files that a DICOMDIR lists (PS3.3, F.3.2.2), each the parts of its path."""
    records = _get(dataset, "DirectoryRecordSequence")
    listed = (_texts(one, "ReferencedFileID") for one in cast("Iterable[Dataset]", records or ()))
    return [parts for parts in listed if parts]


def small_field(height_mm: float, width_mm: float) -> Reason | None:
    """Returns why a field of view of this size shows no human head; None where it may, or is unknown, 0."""
    longer = max(height_mm, width_mm)
    if not 0 < longer < LEAST_FIELD_MM:
        return None
    return reason_of("small_field", f"It shows {longer:.3g} mm, and a head takes {LEAST_FIELD_MM:g} mm.")
