"""The model and the limits of the page: set once by `falx app`, read by the session of each visitor."""

from __future__ import annotations

from dataclasses import dataclass, field

from falx.app.guard import Uploads
from falx.classifier import Classifier
from falx.decision import Thresholds
from falx.words import MEBIBYTE


@dataclass(frozen=True, slots=True)
class PageService:
    """The model and the limits of the page for one visitor; `falx.command.app.LIMITS` explains them.

    `uploads` counts the files that each visitor holds.
    """

    classifier: Classifier
    thresholds: Thresholds
    maximum_files: int
    maximum_slices: int
    maximum_megabytes: int
    maximum_pixels: int
    uploads: Uploads = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "uploads", Uploads(self.maximum_files, self.maximum_megabytes * MEBIBYTE))


_installed: list[PageService] = []


def install(service: PageService) -> None:
    """Makes a service that of this process."""
    _installed[:] = [service]


def current() -> PageService:
    """Returns the service of this process; there is none where `falx app` did not start it."""
    if not _installed:
        raise RuntimeError("this page is started by `falx app`, not by `streamlit run`")
    return _installed[0]
