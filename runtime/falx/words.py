"""The words Falx answers in: labels, decisions, bands, and the sentence that goes with each."""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "AMBIGUOUS",
    "BANDS",
    "DECISIONS",
    "DERIVED",
    "DISCLAIMER",
    "ERROR",
    "LABELS",
    "MEBIBYTE",
    "MODEL_NAME",
    "NO_TUMOR",
    "RECOMMENDATIONS",
    "REJECTED",
    "STEPS",
    "TUMOR_LABELS",
    "band",
    "counted",
    "percent",
    "plain",
]

NO_TUMOR: Final = "no_tumor"

TUMOR_LABELS: Final = ("meningioma", "glioma", "pituitary")
"""The labels that are tumours, in the order of every array."""

LABELS: Final = (NO_TUMOR, *TUMOR_LABELS)
"""The labels of a slice, in the order of every array."""

AMBIGUOUS: Final = "ambiguous"
REJECTED: Final = "rejected"

ERROR: Final = "error"
"""The word in place of the decision on a slice that cannot be read."""

DECISIONS: Final = (*LABELS, AMBIGUOUS, REJECTED)
"""The decisions on a slice."""

BANDS: Final = {"high": 0.85, "moderate": 0.60, "low": 0.0}
"""The names of confidence, and the least confidence of each, from the highest down."""

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The form of a model's name, which becomes a file's name on every system."""

DISCLAIMER: Final = "For research and education only. Falx is not a medical device and makes no diagnosis."

RECOMMENDATIONS: Final = {
    "no_tumor": "No tumour was found in this slice; other slices and clinical findings still count.",
    "meningioma": "Looks like a meningioma; a radiologist should confirm it on the full study.",
    "glioma": "Looks like a glioma; a radiologist should confirm it on the full study.",
    "pituitary": "Looks like a pituitary tumour; a radiologist should confirm it on the full study.",
    "ambiguous": "No label is probable enough; a physician should look at this slice.",
    "rejected": "Not classified; give one grey MRI slice of a head on a dark background.",
}
"""The advice for each decision, one sentence."""


MEBIBYTE: Final = 2**20
"""Bytes; sizes that people give and read are counted in it."""

DERIVED: Final = "Falx, made of a slice"
"""The PNG keyword `Software` of heatmaps and sheets, so that Falx takes none of them for a slice."""

STEPS: Final = ("read", "prepare", "infer", "decide")
"""The steps from a picture to its answer, in the order in which they are taken."""


def band(confidence: float) -> str:
    """Returns the name of a confidence, 0..1: `high` from 0.85, `moderate` from 0.60, `low` below."""
    return next(name for name, least in BANDS.items() if confidence >= least)


def counted(count: int, what: str = "slice") -> str:
    """Returns a number of things for people: `1 slice`, `2 slices`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def percent(share: float, digits: int = 1, space: str = " ") -> str:
    """Returns a share, 0..1, for people, such as `97.4 %`, with so many digits after the point."""
    return f"{100 * share:.{digits}f}{space}%"


def plain(text: str) -> str:
    """Returns text on one line and without control characters, which could rewrite the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
