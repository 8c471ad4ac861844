"""The data that a report is made of, for the saved page and for PDF."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from falx.app import fragments
from falx.app.fragments import Row
from falx.app.texts import NAMES
from falx.app.uploads import ShownSlice
from falx.classifier import Classifier
from falx.decision import Thresholds
from falx.study import Study

__all__ = ["TABLE_CAPTION", "Patient", "Saved", "listed", "table"]

TABLE_CAPTION: Final = (
    "Any tumour: the probability of the three tumours together. What counts for the study is marked so."
)


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose slices they are, as far as the visitor says.

    Attributes:
        name: or identifier; empty where it was not given.
        scanned: the day of the scan; None where it was not given.
    """

    name: str = ""
    scanned: date | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """What a report is made of.

    Attributes:
        shown: the slices, in order.
        study: what they come to; None for a single one.
        patient: whose they are.
        classifier: who answered.
    """

    shown: tuple[ShownSlice, ...]
    study: Study | None
    patient: Patient
    classifier: Classifier


def listed(thresholds: Thresholds) -> str:
    """Thresholds in words: `no tumour 0.85, meningioma 0.60, ...`."""
    return ", ".join(f"{NAMES[label].lower()} {value:.2f}" for label, value in thresholds.to_dict().items())


def table(saved: Saved) -> list[Row]:
    """The lines of the study's table; none for a single slice."""
    return [] if saved.study is None else fragments.rows(saved.shown, saved.study)
