"""The coded concepts of Falx's reports: standard ones where they exist, `99FALX` where none does.

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

from typing import Any, Final

from falx.words import AMBIGUOUS, LABELS, NO_TUMOR, REJECTED

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
"""Of private codes; DICOM reserves designators that start with 99 for them (PS3.16, 8)."""

LONGEST: Final = 16
"""Characters of a code value (DICOM PS3.5, 6.2: SH)."""

FINDINGS: Final = {
    "tumor": ("254935002", "Intracranial tumor"),
    "glioma": ("393564001", "Glioma"),
    "meningioma": ("302820008", "Intracranial meningioma"),
    "pituitary": ("127024001", "Neoplasm of pituitary gland"),
}

NAMES: Final = dict(zip(LABELS, ("no tumour", "meningioma", "glioma", "pituitary tumour"), strict=True))


def code(value: str, scheme: str, meaning: str) -> Any:
    """A coded concept of highdicom."""
    from highdicom.sr import CodedConcept

    return CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)


def private(value: str, meaning: str) -> Any:
    """A concept of Falx's own scheme.

    Raises:
        ValueError: the code is longer than DICOM allows.
    """
    if len(value) > LONGEST:
        raise ValueError(f"{value}: a code has at most {LONGEST} characters")
    return code(value, SCHEME, meaning)


def decision(word: str) -> Any:
    """What a decision is as a concept."""
    if word == NO_TUMOR:
        return private("NO_TUMOR", "No tumour found")
    if word == AMBIGUOUS:
        return code("82334004", "SCT", "Indeterminate")
    if word == REJECTED:
        return private("REJECTED", "Not classified")
    return finding(word)


def finding(word: str) -> Any | None:
    """What was found; None where the decision is no tumour's."""
    return code(FINDINGS[word][0], "SCT", FINDINGS[word][1]) if word in FINDINGS else None


def site(word: str) -> Any:
    """Where it was found."""
    return code("56329008", "SCT", "Pituitary") if word == "pituitary" else code("12738006", "SCT", "Brain")


def probability(label: str) -> Any:
    """The name of a label's probability."""
    return private(f"P_{label.upper()}", f"Probability of {NAMES[label]}")


def confidence() -> Any:
    """The name of the confidence."""
    return code("111012", "DCM", "Certainty of Finding")


def band(word: str) -> Any:
    """A band as a concept."""
    return private(word.upper(), word.capitalize())


def reason(word: str) -> Any:
    """Why a study or slice was rejected, as a concept; a longer code loses its end."""
    meaning = word.replace("_", " ").capitalize().replace(" mr", " MR")
    return private(word.upper()[:LONGEST], meaning)


def procedure() -> Any:
    """The procedure that is reported on."""
    return code("816077007", "SCT", "Magnetic resonance imaging of brain")


def comment() -> Any:
    """The name of a sentence that is said beside the result."""
    return code("121106", "DCM", "Comment")


def title() -> Any:
    """The title of the report (DICOM PS3.16, CID 7021)."""
    return code("126000", "DCM", "Imaging Measurement Report")


def scheme() -> Any:
    """What readers of a report learn about the private scheme."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(
        designator=SCHEME, name="Codes of Falx", responsible_organization="The Falx developers"
    )
