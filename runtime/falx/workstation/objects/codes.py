"""The coded concepts of Falx's reports: standard codes where they exist, `99FALX` elsewhere.

| scheme | code | meaning | used as |
|---|---|---|---|
| SCT | 254935002 | Intracranial tumor | decision `tumor` of a study, finding where its slices disagree |
| SCT | 393564001 | Glioma | decision `glioma`, finding |
| SCT | 302820008 | Intracranial meningioma | decision `meningioma`, finding |
| SCT | 127024001 | Neoplasm of pituitary gland | decision `pituitary`, finding |
| SCT | 82334004 | Indeterminate | decision `ambiguous` |
| SCT | 12738006, 56329008 | Brain, Pituitary | finding site |
| SCT | 816077007 | Magnetic resonance imaging of brain | procedure, where the images name none |
| DCM | 111012 | Certainty of Finding | confidence, percent |
| DCM | 121106 | Comment | the recommendation, what else a reader must know, and the disclaimer |
| 99FALX | DECISION | Decision | name of the decision |
| 99FALX | NO_TUMOR | No tumour found | decision `no_tumor` |
| 99FALX | REJECTED | Not classified | decision `rejected` |
| 99FALX | BAND | Band of confidence | name of the band |
| 99FALX | HIGH, MODERATE, LOW | the band | from 0.85, from 0.60, below |
| 99FALX | REASON | Reason | name of the reason: a code for a slice, words for a study |
| 99FALX | a code of `falx.slices.rejection` in capitals | the code in words | reason of a slice |
| 99FALX | P_NO_TUMOR, P_MENINGIOMA, P_GLIOMA, P_PITUITARY | Probability of ... | measurement, 0..1 |

SCT is SNOMED CT; a code is never given another meaning, and one that is dropped is not used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from falx.words import AMBIGUOUS, LABELS, NO_TUMOR, REJECTED

if TYPE_CHECKING:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import CodedConcept

__all__ = [
    "SCHEME",
    "band",
    "code",
    "comment",
    "confidence",
    "decision",
    "finding",
    "private",
    "probability",
    "procedure",
    "reason",
    "scheme",
    "site",
    "title",
]

SCHEME: Final = "99FALX"
"""The designator of private codes; DICOM reserves those that start with 99 for them (PS3.16, 8)."""

LONGEST: Final = 16
"""The longest code value, in characters (DICOM PS3.5, 6.2: SH)."""

FINDINGS: Final = {
    "tumor": ("254935002", "Intracranial tumor"),
    "glioma": ("393564001", "Glioma"),
    "meningioma": ("302820008", "Intracranial meningioma"),
    "pituitary": ("127024001", "Neoplasm of pituitary gland"),
}

NAMES: Final = dict(zip(LABELS, ("no tumour", "meningioma", "glioma", "pituitary tumour"), strict=True))


def code(value: str, scheme: str, meaning: str) -> CodedConcept:
    """Makes a coded concept."""
    from highdicom.sr import CodedConcept

    return CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)


def private(value: str, meaning: str) -> CodedConcept:
    """Makes a concept of Falx's own scheme.

    Raises:
        ValueError: the code is longer than DICOM allows.
    """
    if len(value) > LONGEST:
        raise ValueError(f"{value}: a code has at most {LONGEST} characters")
    return code(value, SCHEME, meaning)


def decision(word: str) -> CodedConcept:
    """Returns a decision as a concept."""
    if word == NO_TUMOR:
        return private("NO_TUMOR", "No tumour found")
    if word == AMBIGUOUS:
        return code("82334004", "SCT", "Indeterminate")
    if word == REJECTED:
        return private("REJECTED", "Not classified")
    return _finding(word)


def finding(word: str) -> CodedConcept | None:
    """Returns the tumour that a decision names; None if it names none."""
    return _finding(word) if word in FINDINGS else None


def _finding(word: str) -> CodedConcept:
    value, meaning = FINDINGS[word]
    return code(value, "SCT", meaning)


def site(word: str) -> CodedConcept:
    """Returns the site of a finding."""
    return code("56329008", "SCT", "Pituitary") if word == "pituitary" else code("12738006", "SCT", "Brain")


def probability(label: str) -> CodedConcept:
    """Returns the name of a label's probability."""
    return private(f"P_{label.upper()}", f"Probability of {NAMES[label]}")


def confidence() -> CodedConcept:
    """Returns the name of the confidence."""
    return code("111012", "DCM", "Certainty of Finding")


def band(word: str) -> CodedConcept:
    """Returns a band as a concept."""
    return private(word.upper(), word.capitalize())


def reason(word: str) -> CodedConcept:
    """Returns the reason of a rejection as a concept; a code that is too long loses its end."""
    meaning = word.replace("_", " ").capitalize().replace(" mr", " MR")
    return private(word.upper()[:LONGEST], meaning)


def procedure() -> CodedConcept:
    """Returns the procedure that is reported on."""
    return code("816077007", "SCT", "Magnetic resonance imaging of brain")


def comment() -> CodedConcept:
    """Returns the name of a sentence that stands beside the result."""
    return code("121106", "DCM", "Comment")


def title() -> CodedConcept:
    """Returns the title of the report (DICOM PS3.16, CID 7021)."""
    return code("126000", "DCM", "Imaging Measurement Report")


def scheme() -> CodingSchemeIdentificationItem:
    """Returns the item that tells readers of a report about the private scheme."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(
        designator=SCHEME, name="Codes of Falx", responsible_organization="The Falx developers"
    )
