"""The data that a report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from falx.app.arrangement import Arrangement
from falx.app.page_service import Service


@dataclass(frozen=True, slots=True)
class Patient:
    """The patient, as far as the visitor says.

    Attributes:
        name: The name or identifier; empty where it was not given.
        scanned: The day of the scan; None where it was not given.
    """

    name: str = ""
    scanned: date | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """The data of a report.

    Attributes:
        arranged: The slices, and the decision on their study.
        patient: The patient whose slices they are.
        service: The model, and the thresholds in force.
        made: The time of the report.
    """

    arranged: Arrangement
    patient: Patient
    service: Service
    made: str = field(default_factory=lambda: datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"))
