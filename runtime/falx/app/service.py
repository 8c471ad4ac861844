"""What the page was started with: set once by `falx app`, read by each visitor's session."""

from __future__ import annotations

from dataclasses import dataclass, field

from falx.app.guard import Uploads
from falx.classifier import Classifier

__all__ = ["Service", "current", "install"]


@dataclass(frozen=True, slots=True)
class Service:
    """How the page answers, and how much it takes.

    Attributes:
        classifier: answers for all visitors; it keeps nothing of a slice.
        maximum_files: that one visitor has on the page at a time.
        maximum_slices: in these files; each frame of a DICOM file is one.
        maximum_megabytes: of one file, in MiB.
        maximum_pixels: of one picture; a file that claims more is not decoded.
    """

    classifier: Classifier
    maximum_files: int
    maximum_slices: int
    maximum_megabytes: int
    maximum_pixels: int
    uploads: Uploads = field(init=False, repr=False)
    """How many files each visitor holds."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "uploads", Uploads(self.maximum_files))


_installed: list[Service] = []


def install(service: Service) -> None:
    """Make a service that of this process."""
    _installed[:] = [service]


def current() -> Service:
    """The service of this process.

    Raises:
        RuntimeError: the page was not started by `falx app`.
    """
    if not _installed:
        raise RuntimeError("this page is started by `falx app`, not by `streamlit run`")
    return _installed[0]
