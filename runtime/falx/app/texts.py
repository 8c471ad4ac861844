"""What the page and its reports say beside Falx's own sentences (`falx.words`, `falx.study`)."""

from __future__ import annotations

from typing import Final

from falx import words
from falx.words import AMBIGUOUS, BANDS, LABELS, NO_TUMOR, REJECTED, TUMOR_LABELS

__all__ = ["BAND_MEANINGS", "ERROR", "KINDS", "NAMES", "SIGNS", "kind", "percent", "perhaps"]

ERROR: Final = "error"
TUMOR: Final = "tumor"

NAMES: Final = {
    NO_TUMOR: "No tumour",
    "meningioma": "Meningioma",
    "glioma": "Glioma",
    "pituitary": "Pituitary tumour",
    TUMOR: "Tumour",
    AMBIGUOUS: "Ambiguous",
    REJECTED: "Rejected",
    ERROR: "Cannot be read",
}
"""What each decision is called."""

KINDS: Final = (NO_TUMOR, TUMOR, AMBIGUOUS, REJECTED, ERROR)
"""What a decision is shown as: each has a colour, a sign and a word."""

SIGNS: Final = {NO_TUMOR: "○", TUMOR: "◆", AMBIGUOUS: "?", REJECTED: "⊘", ERROR: "!"}
"""The sign of each kind, as a letter; on the page and in reports it is drawn (`falx.app.fragments`)."""

BAND_MEANINGS: Final = {
    "high": f"High: the label's probability is {BANDS['high']:.2f} or more.",
    "moderate": f"Moderate: it is from {BANDS['moderate']:.2f} to below {BANDS['high']:.2f}; other labels "
    "are possible.",
    "low": f"Low: it is below {BANDS['moderate']:.2f}; another label may well be right.",
}
"""What each band of confidence means."""


def kind(decision: str) -> str:
    """What a decision, on a slice or a study, is shown as: one of `KINDS`."""
    return TUMOR if decision in TUMOR_LABELS else decision


def percent(share: float) -> str:
    """0.976 as `98 %`, with a space that does not break."""
    return words.percent(share, 0, "\N{NO-BREAK SPACE}")


def perhaps(probabilities: dict[str, float]) -> str:
    """The two likeliest labels, a sentence.

    Args:
        probabilities: of every label, 0..1.
    """
    leading = sorted(LABELS, key=lambda label: -probabilities[label])[:2]
    shares = (f"{NAMES[label].lower()} ({percent(probabilities[label])})" for label in leading)
    return f"Perhaps {' or '.join(shares)}."
