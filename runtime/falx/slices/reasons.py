"""The reasons to reject a picture: every code, with its sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["REASONS", "SERIES_REASONS", "TAG_REASONS", "Reason", "reason_of"]

REASONS: Final = {
    "too_small": "The picture has too few pixels to show a slice.",
    "blank": "The picture is of one brightness, or nearly.",
    "not_grey": "The picture has colours; an MRI slice is grey.",
    "no_head": "The picture does not show a head on a dark background.",
    "unfamiliar": "The picture does not look like the brain MRI slices that the model learned from.",
    "no_brain": "The picture seems to show a head without brain: scalp, neck or face.",
}
"""The sentence of every reason in the pixels, by its code, in the order of the checks."""

TAG_REASONS: Final = {
    "not_mr": "The DICOM object is not an MR image.",
    "localizer": "The DICOM image is a localizer, not a slice of a series.",
    "projection": "The DICOM image is a projection, a reformatted view or a screen, not a slice.",
    "phase": "The DICOM image shows phase, or a real or imaginary part, not magnitude.",
    "map": "The DICOM image is a map that was computed from others, not a slice.",
    "mosaic": "The DICOM image shows many slices side by side.",
    "annotated": "The DICOM image has text burned in, which may name the patient.",
    "other_body_part": "The DICOM image is of another part of the body.",
    "small_field": "The picture is too small, in millimetres, to show a human head.",
}
"""The sentence of every reason in the tags of a DICOM object, by its code."""

SERIES_REASONS: Final = {
    "diffusion": "The series is diffusion-weighted.",
    "time_series": "The series shows the same places many times, as functional and perfusion series do.",
    "coarse": "The series is too coarse to be a diagnostic one.",
    "phantom": "The series shows a phantom.",
    "pictures": "These are pictures without tags: nothing says that they are of this patient.",
}
"""Why a series is not used in a study, besides `TAG_REASONS`: every code, with its sentence."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason to reject a picture.

    Attributes:
        code: a key of `REASONS`, `TAG_REASONS` or `SERIES_REASONS`.
        message: its sentence, with what was found.
    """

    code: str
    message: str


def reason_of(code: str, found: str = "") -> Reason:
    """Returns a reason: a code of any of the tables of this module, and what was found, a sentence."""
    return Reason(code, f"{(REASONS | TAG_REASONS | SERIES_REASONS)[code]} {found}".strip())
