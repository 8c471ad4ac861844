"""The coded concepts of Falx's reports: standard codes where they exist, `99FALX` elsewhere.

SCT is SNOMED CT. A code is never given another meaning, and one that is dropped is not used again.
"""

from __future__ import annotations

from typing import Final

from falx.errors import DicomUnavailable
from falx.optional import needs
from falx.words import AMBIGUOUS, LABELS, NO_TUMOR, REJECTED

with needs("a DICOM report", "dicom", DicomUnavailable):
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from pydicom.sr.coding import Code

SCHEME: Final = "99FALX"
"""The designator of private codes; DICOM reserves those that start with 99 for them (PS3.16, 8)."""

LONGEST: Final = 16
"""The longest code value, in characters (DICOM PS3.5, 6.2: SH)."""


def private(value: str, meaning: str) -> Code:
    """Makes a concept of Falx's own scheme; a code that is too long loses its end."""
    return Code(value[:LONGEST], SCHEME, meaning)


DECISION: Final = private("DECISION", "Decision")
BAND: Final = private("BAND", "Band of confidence")
REASON: Final = private("REASON", "Reason")
"""The names of what a report says: a reason is a code for a slice, and words for a study."""

FINDINGS: Final = {
    "tumor": Code("254935002", "SCT", "Intracranial tumor"),
    "glioma": Code("393564001", "SCT", "Glioma"),
    "meningioma": Code("302820008", "SCT", "Intracranial meningioma"),
    "pituitary": Code("127024001", "SCT", "Neoplasm of pituitary gland"),
}
DECISIONS: Final = {
    NO_TUMOR: private("NO_TUMOR", "No tumour found"),
    AMBIGUOUS: Code("82334004", "SCT", "Indeterminate"),
    REJECTED: private("REJECTED", "Not classified"),
    **FINDINGS,
}
"""Codes of decisions. For a study `tumor` is the decision, and the finding too where its slices disagree."""

BANDS: Final = {word: private(word.upper(), word.capitalize()) for word in ("high", "moderate", "low")}
PROBABILITIES: Final = {
    label: private(f"P_{label.upper()}", f"Probability of {name}")
    for label, name in zip(LABELS, ("no tumour", "meningioma", "glioma", "pituitary tumour"), strict=True)
}
PITUITARY: Final = Code("56329008", "SCT", "Pituitary")
BRAIN: Final = Code("12738006", "SCT", "Brain")
PROCEDURE: Final = Code("816077007", "SCT", "Magnetic resonance imaging of brain")
SOURCE: Final = Code("260753009", "SCT", "Source")
CONFIDENCE: Final = Code("111012", "DCM", "Certainty of Finding")
COMMENT: Final = Code("121106", "DCM", "Comment")
DEVICE: Final = Code("121007", "DCM", "Device")
ALGORITHM: Final = Code("123110", "DCM", "Artificial Intelligence")
LIBRARY: Final = Code("111028", "DCM", "Image Library")
LIBRARY_GROUP: Final = Code("126200", "DCM", "Image Library Group")
SOURCE_IMAGE: Final = Code("121322", "DCM", "Source image for image processing operation")
PERCENT: Final = Code("%", "UCUM", "Percent")
NO_UNITS: Final = Code("1", "UCUM", "no units")

TITLE: Final = Code("126000", "DCM", "Imaging Measurement Report")
"""The title of the report (DICOM PS3.16, CID 7021)."""


def site(word: str) -> Code:
    """Returns the site of a finding."""
    return PITUITARY if word == "pituitary" else BRAIN


def reason(word: str) -> Code:
    """Returns the reason of a rejection, a code of `falx.slices.reasons`, as a concept."""
    return private(word.upper(), word.replace("_", " ").capitalize().replace(" mr", " MR"))


def scheme() -> CodingSchemeIdentificationItem:
    """Returns the item that tells readers of a report about the private scheme."""
    return CodingSchemeIdentificationItem(
        designator=SCHEME, name="Codes of Falx", responsible_organization="The Falx developers"
    )
