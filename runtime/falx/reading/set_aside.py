"""Tells which series of a study are not diagnostic images of a head, by tags, geometry and words.

`falx.reading.tags.refusal` tells what a picture shows by its Image Type. The rest is told of a whole series:
three planes in one are a localizer whatever its tags say, as GE tags one like any other; a b-value above 0
makes the slices without one diffusion too; one place shown many times is a functional or perfusion series;
slices of half a metre are a mosaic. Last, what people call a series counts: a description never makes a
series diagnostic, but "field map", "survey" or "BOLD" sets one aside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from falx.reading import tags
from falx.slices.reasons import Reason, reason_of

if TYPE_CHECKING:
    from pydicom import Dataset

LEAST_PLACES: Final = 12
"""A localizer has fewer places in each plane than a series of a whole head."""

MOST_SHOWN: Final = 3
"""The most times that a place is shown: a study sent three times is still a study; more are time points."""

FEW_PLACES: Final = 6
GREATEST_GAP_MM: Final = 10.0
"""Fewer places than these, further apart than this, show no region twice: a localizer of one plane."""

LARGEST_SLICE_MM: Final = 500.0
"""Scanners' fields of view are at most this long; a mosaic of slices claims more."""

LARGEST_PIXEL_MM: Final = 3.0
"""Calibrations, field maps and functional series have wider pixels; diagnostic series 0.4 to 1.2 mm."""

DESCRIBED: Final = {
    "localizer": r"LOC|LOCALI[SZ]ERS?|SMART ?BRAIN|SCOUT|AAHSCOUT|AAHEAD SCOUT|SURVEY|(3|THREE|TRI) ?PL(ANE)?"
    r"|SCANOGRAM|CALIBRATION|(ASSET|ARC) CAL|REF SCAN|PLAN SCAN|SHIM(MING)?",
    "projection": r"M(AX|IN)?IP|MNIP|(MIP|MINIP|MNIP) IMAGES|REFORMAT(TED|S)?|SCREEN ?SAVE|SCREEN ?SHOTS?",
    "phase": r"PHA|PHASE (MAP|IMAGES?)|PHA IMAGES",
    "map": r"FIELD ?MAP(PING)?|FMAP|B[01] ?MAP|E?ADC|TRACEW?|R?CBF|R?CBV|R?MTT|TTP|TMAX|KTRANS|QSM"
    r"|[TR][12] ?MAP|T2STAR MAP|SUBTRACT(ION|ED)?|COLFA",
    "diffusion": r"DWI|DTI|DIFF|DIFFUSION|HARDI|NODDI|DKI|B ?(500|800|1000|1500|2000|3000)",
    "time_series": r"FMRI|RSFMRI|BOLD|RESTING( STATE)?|PERF|PERFUSION|DSC|DCE|ASL|P?CASL|PASL",
    "phantom": r"PHANTOM|ACR|QA|QC",
}
"""Whole words of Series Description and Protocol Name, upper case, that set a series aside. Words that stand
for diagnostic series elsewhere are not among them: MPR is MPRAGE at Siemens, FA a flip angle."""

EXCUSED: Final = re.compile(r"\bPHASE OVERSAMPLING\b|\bNO PHASE\b")
CONTRASTS: Final = {
    "DIFFUSION": "diffusion",
    "FLOW_ENCODED": "phase",
    **dict.fromkeys(("PERFUSION", "FMRI", "BOLD", "ASL", "DSC", "DCE"), "time_series"),
}
"""Values of Acquisition Contrast (PS3.3, C.8.16.2) and of Image Type that are not used."""

SIGNED: Final = ("MILLIRADIAL", "MILLIRADIANS", "MRAD", "RAD", "HZ", "PPM")
"""Units of Rescale Type that phase images and field maps have."""


def by_tags(dataset: Dataset, frame: int, b_values: Collection[float]) -> Reason | None:
    """Returns why a slice is not used in a study, as far as its tags tell; None where they do not.

    It is asked of what `tags.refusal` does not refuse, as single slices are, with the b-values of its series.
    """
    if tags.text(dataset, "QualityControlImage").upper() == "YES":
        return reason_of("phantom", "It is a quality control image.")
    if "PHANTOM" in tags.text(dataset, "BodyPartExamined").upper():
        return reason_of("phantom", "Its body part says so.")
    if any("PHANTOM" in tags.text(dataset, keyword).upper() for keyword in ("PatientID", "PatientName")):
        return reason_of("phantom", "Its patient is one.")
    if (tags.number(dataset, "SamplesPerPixel") or 1) > 1:
        return reason_of("projection", "It is in colour.")
    for contrast in (tags.contrast(dataset, frame), *tags.image_type(dataset, frame)):
        if contrast in CONTRASTS:
            return reason_of(CONTRASTS[contrast], f"Its contrast is {contrast}.")
    if b_values:
        return reason_of("diffusion", f"It has b-values up to {max(b_values):g} s/mm².")
    unit = tags.text(dataset, "RescaleType").upper()
    if unit in SIGNED:
        return reason_of("phase", f"Its values are in {unit}.")
    if (tags.number(dataset, "RescaleIntercept") or 0.0) < 0:
        return reason_of("phase", "Its values are signed.")
    if max(tags.extent_mm(dataset, frame)) > LARGEST_SLICE_MM:
        return reason_of("mosaic", f"Its slices are larger than {LARGEST_SLICE_MM:g} mm.")
    coarse = max(tags.spacing_mm(dataset, frame) or (0.0,))
    if coarse > LARGEST_PIXEL_MM:
        return reason_of("coarse", f"Its pixels are {coarse:.1f} mm wide.")
    said = EXCUSED.sub("", tags.described(dataset))
    code = next((code for code, words in DESCRIBED.items() if re.search(rf"\b({words})\b", said)), None)
    return None if code is None else reason_of(code, "Its description says so.")


def by_planes(planes: Counter[str], *, numbered: bool) -> Reason | None:
    """Returns why slices of one series with places in several planes are not used; None where they are.

    Only those `numbered` alike certainly are of one: an anonymiser may have given a study one UID.
    """
    several = len(planes) > 2 and numbered
    if several or (len(planes) > 1 and max(planes.values()) < LEAST_PLACES):
        shown = ", ".join(f"{count} {plane}" for plane, count in sorted(planes.items()))
        return reason_of("localizer", f"One series has {shown} places.")
    return None


def by_places(shown: Counter[int], times: int, *, whole: bool) -> Reason | None:
    """Returns why slices of one kind are not used for what places they show; None where they are used.

    `shown` is how often, by the position in hundredths of a millimetre, `times` the time points that the tags
    of the series name; `whole` says that another series of the study has the places of a whole head.
    """
    often = max(times, sorted(shown.values())[len(shown) // 2] if shown else 0)
    if often > MOST_SHOWN:
        return reason_of("time_series", f"It shows each place {often} times.")
    at = sorted(shown)
    steps = [(after - before) / 100 for before, after in pairwise(at)]
    if whole and 1 < len(at) < FEW_PLACES and median(steps) > GREATEST_GAP_MM:
        return reason_of("localizer", f"Its {len(at)} places are {median(steps):.0f} mm apart.")
    return None
