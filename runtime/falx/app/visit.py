"""The files of a visitor, until they go on to the next patient."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image

from falx import phantom
from falx.app import texts
from falx.app.arrangement import Arrangement, arrange
from falx.app.uploads import Taken, Upload

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile


@dataclass(frozen=True, slots=True)
class DrawnSample:
    """The drawn sample, as a file."""

    file_id: str = "sample"
    name: str = texts.SAMPLE_FILE

    def getvalue(self) -> bytes:
        """Returns its bytes."""
        stream = io.BytesIO()
        Image.fromarray(phantom.lesion()).save(stream, "PNG")
        return stream.getvalue()


@dataclass(slots=True)
class Visit:
    """The files of a visitor, and what they hold by their identifiers.

    The number is that of the patient: fields with another number in their key are new and empty.
    """

    number: int = 0
    files: Sequence[UploadedFile | DrawnSample] = field(default_factory=list)
    taken: dict[str, Taken] = field(default_factory=dict)
    sample: bool = False
    one_patient: bool = False
    by_hand: bool = False
    arranged: Arrangement = field(default_factory=Arrangement)
    arranged_of: list[tuple[int, int, bool]] = field(default_factory=list)
    arranging_s: float = 0.0

    @property
    def chosen_key(self) -> str:
        """The key of the list of slices."""
        return f"chosen-{self.number}"

    def complete(self) -> bool:
        """Returns whether every slice is answered."""
        return len(self.taken) == len(self.files) and all(upload.done for upload in self.uploads)

    @property
    def uploads(self) -> list[Upload]:
        """The holders of slices; files that are no images only where there are no others."""
        images = [upload for one in self.taken.values() if not one.stray for upload in one.uploads]
        return images or [upload for one in self.taken.values() for upload in one.uploads]

    @property
    def passed_over(self) -> Counter[str]:
        """The files that are no images, by kind, where there are others."""
        if all(one.stray for one in self.taken.values()):
            return Counter()
        return sum((one.passed_over for one in self.taken.values()), Counter())

    @property
    def progress(self) -> tuple[float, str]:
        """The progress of reading, 0..1 and in words; a file that is still unread counts as one slice."""
        done = sum(len(upload.shown) for upload in self.uploads)
        total = sum(upload.frames for upload in self.uploads) + len(self.files) - len(self.taken)
        return done / total, texts.PROGRESS.format(done=done, total=total)

    def arrange(self) -> Arrangement:
        """Returns the slices in order; they are put in order again only where there are others."""
        there = [(id(upload), len(upload.shown), self.one_patient) for upload in self.uploads]
        if self.arranged_of != there:
            self.arranged_of, started = there, time.monotonic()
            self.arranged = arrange(self.uploads, one_patient=self.one_patient)
            self.arranging_s = time.monotonic() - started
        return self.arranged
