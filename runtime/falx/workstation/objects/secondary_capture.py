"""A picture of a slice with its heatmap, decision and disclaimer, for viewers that show no reports.

The picture is a DICOM Secondary Capture, RGB, in the study of the slice and in a series of its own. Its
pixels name neither patient nor institution, and a slice whose header says that its pixels name somebody is
not copied.
"""

from __future__ import annotations

import textwrap
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from falx._version import __version__
from falx.errors import DicomUnavailable
from falx.optional import needs
from falx.prediction import Prediction
from falx.reading.quiet import quiet_readers
from falx.slices.overlay import overlay
from falx.words import DISCLAIMER, percent
from falx.workstation.errors import ReportError
from falx.workstation.objects import codes, headers
from falx.workstation.objects.identifiers import unique
from falx.workstation.objects.structured_report import MANUFACTURER, Rule

with needs("a DICOM picture", "dicom", DicomUnavailable):
    from highdicom.sc import SCImage
    from highdicom.sr import CodedConcept
    from pydicom import Dataset

SERIES_NUMBER: Final = 9801

LEAST_WIDTH: Final = 512
"""Least width of a picture, in pixels: a narrower slice is enlarged, so that the words are legible."""

FONT_SIZE: Final = 18
MARGIN: Final = 8
LINE: Final = 23
"""Distance between two lines of text, in pixels."""

COLUMN: Final = 9.5
"""Mean width of a character of `FONT_SIZE`, in pixels."""

GREY: Final = (210, 210, 210)


def burnt(
    pixels: npt.NDArray[np.uint8], heatmap: npt.NDArray[np.float32] | None, lines: list[str]
) -> npt.NDArray[np.uint8]:
    """Draws a slice, `(H, W)` uint8, the heatmap over it, and words on black below it, wrapped.

    Returns `(H', W, 3)` uint8, the slice enlarged by a whole number where it is narrower than 512 pixels.
    """
    picture = Image.fromarray(pixels).convert("RGB") if heatmap is None else overlay(pixels, heatmap)
    factor = -(-LEAST_WIDTH // picture.width)
    picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
    columns = int((picture.width - 2 * MARGIN) / COLUMN)
    text = [part for line in lines for part in textwrap.wrap(line, columns)]
    whole = Image.new("RGB", (picture.width, picture.height + LINE * len(text) + 2 * MARGIN))
    whole.paste(picture)
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(FONT_SIZE)
    for number, part in enumerate(text):
        draw.text((MARGIN, picture.height + MARGIN + number * LINE), part, font=font, fill=GREY)
    return np.asarray(whole)


def secondary_capture(
    prediction: Prediction,
    pixels: npt.NDArray[np.uint8],
    header: Dataset,
    *,
    rule: Rule,
    identity: str,
    number: int,
    frame: int | None = None,
) -> SCImage:
    """Makes a picture of a slice, `(H, W)` uint8, and its answer: a data set, ready to be saved or sent.

    `header` is from `headers.read`, `identity` as for `structured_report`, and `number` the picture's in its
    series, from 1. Raises ReportError where the image says that its pixels name the patient.
    """
    if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
        raise ReportError(
            "this image says that its pixels name the patient (Burned In Annotation), so no copy of them is "
            "made; the report refers to it all the same"
        )
    sure = None if prediction.confidence is None else percent(prediction.confidence, 0)
    lines = [
        prediction.decision if sure is None else f"{prediction.decision}, {sure} {prediction.band}",
        f"Falx {__version__}, {prediction.model.name} {prediction.model.version}; thresholds: {rule.text}",
        DISCLAIMER,
    ]
    image = header.SOPInstanceUID
    with quiet_readers():
        capture = SCImage(
            burnt(pixels, prediction.heatmap, lines),
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            study_instance_uid=header.StudyInstanceUID,
            series_instance_uid=unique("picture series", identity),
            series_number=SERIES_NUMBER,
            sop_instance_uid=unique("picture", str(image), str(frame), identity),
            instance_number=number,
            manufacturer=MANUFACTURER,
            manufacturer_model_name="Falx",
            software_versions=__version__,
            device_serial_number=prediction.model.sha256,
            series_description="Falx, for research use only",
            # Replaced below: the standard allows an unknown orientation, this constructor does not.
            patient_orientation=("L", "P"),
        )
    source = Dataset()
    source.ReferencedSOPClassUID = header.SOPClassUID
    source.ReferencedSOPInstanceUID = image
    if frame is not None:
        source.ReferencedFrameNumber = frame
    source.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(codes.SOURCE_IMAGE)]
    capture.PatientOrientation = None  # type: ignore[assignment] # unknown
    # A head is not a paired part of the body.
    capture.BodyPartExamined, capture.ImageLaterality = "HEAD", "U"
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.SourceImageSequence = [source]
    about = f"Slice with heatmap and decision. Thresholds: {rule.text}. {DISCLAIMER}"
    capture.DerivationDescription = about
    capture.ConversionType = "WSD"
    capture.BurnedInAnnotation = "NO"
    for name in headers.COMPRESSION:
        if header.get(name):
            setattr(capture, name, header.get(name))
    headers.take_identity(capture, header)
    return capture
