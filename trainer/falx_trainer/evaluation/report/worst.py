"""The worst errors, as pictures: the slice, and the slice with its heatmap."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from falx.errors import UnreadableImage
from falx.reading.source import read
from falx.slices.overlay import fitted, overlay
from falx.slices.reasons import REASONS
from falx.words import LABELS, NO_TUMOR, REJECTED, TUMOR_LABELS
from falx_runs.manifest import UNTYPED, Record
from falx_trainer.evaluation.answers import ModelAnswer
from falx_trainer.evaluation.measures import Pairs, group

SIDE: Final = 224
"""The longer side of a picture in the page, in pixels."""

QUALITY: Final = 82
A_GROUP: Final = 2
"""The most slices of one patient that are shown: they resemble each other."""


@dataclass(frozen=True)
class ErrorKind:
    """A kind of error: words for people, the test whether an answer is one, and the most that are shown."""

    title: str
    explanation: str
    holds: Callable[[Record, ModelAnswer], bool]
    most: int


KINDS: Final = (
    ErrorKind(
        "Missed tumours",
        "There is a tumour, and the model decided that there is none: the error that matters most.",
        lambda record, answer: record.label != NO_TUMOR and answer.decision == NO_TUMOR,
        12,
    ),
    ErrorKind(
        "False alarms",
        "There is no tumour in the slice, and the model decided that there is one.",
        lambda record, answer: record.label == NO_TUMOR and answer.decision in TUMOR_LABELS,
        8,
    ),
    ErrorKind(
        "Wrong type",
        "There is a tumour, and the model decided for another type of tumour.",
        lambda record, answer: (
            record.label not in (NO_TUMOR, UNTYPED)
            and answer.decision in TUMOR_LABELS
            and answer.decision != record.label
        ),
        8,
    ),
    ErrorKind(
        "Rejected slices",
        "These are labelled slices, and the model took them for no usable slice of a brain.",
        lambda _, answer: answer.decision == REJECTED,
        4,
    ),
)
"""From the worst down."""


@dataclass(frozen=True)
class Shown:
    """An error with its pictures as `data:` URIs: the slice with its tumour's box, and with the heatmap."""

    record: Record
    decision: str
    confidence: float | None
    reason: str
    slice: str
    heatmap: str | None


@dataclass(frozen=True)
class Section:
    """The errors of a kind: their number, and the worst of them, the surest first, at most two of a group."""

    kind: ErrorKind
    total: int
    shown: Sequence[Shown]


def worst(pairs: Pairs) -> list[Section]:
    """Returns the errors of each kind, with pictures of the worst."""
    return [_section(kind, [(r, a) for r, a in pairs if kind.holds(r, a)]) for kind in KINDS]


def _section(kind: ErrorKind, errors: Pairs) -> Section:
    ranked = sorted(errors, key=lambda pair: -(_confidence(pair[1]) or 0.0))
    seen: Counter[str] = Counter()
    shown: list[Shown] = []
    for record, answer in ranked:
        if len(shown) == kind.most:
            break
        if seen[group(record)] < A_GROUP:
            picture = _shown(record, answer)
            if picture is not None:
                seen[group(record)] += 1
                shown.append(picture)
    return Section(kind, len(errors), shown)


def _confidence(answer: ModelAnswer) -> float | None:
    if answer.probabilities is None or answer.decision not in LABELS:
        return None
    return answer.probabilities[LABELS.index(answer.decision)]


def _shown(record: Record, answer: ModelAnswer) -> Shown | None:
    try:
        pixels = read(record.path).pixels
    except UnreadableImage:  # it could be read a moment ago
        return None
    plain = Image.fromarray(pixels).convert("RGB")
    mapped = None
    if answer.location is not None and answer.location.shape == pixels.shape:
        mapped = _encoded(fitted(overlay(pixels, answer.location.heatmap()), SIDE, Image.Resampling.LANCZOS))
    small = fitted(plain, SIDE, Image.Resampling.LANCZOS)
    for box in record.boxes:
        width, height = small.size
        corners = [
            ((box.x - box.width / 2) * width, (box.y - box.height / 2) * height),
            ((box.x + box.width / 2) * width, (box.y + box.height / 2) * height),
        ]
        flat = [value for corner in corners for value in corner]
        draw = ImageDraw.Draw(small)
        # Black around white: seen on dark and on bright.
        draw.rectangle([flat[0] - 1, flat[1] - 1, flat[2] + 1, flat[3] + 1], outline="black")
        draw.rectangle(flat, outline="white")
    reason = REASONS.get(answer.reason, "")
    return Shown(record, answer.decision, _confidence(answer), reason, _encoded(small), mapped)


def _encoded(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
