"""The parts that the page and the saved reports are made of, as HTML; all text in them is escaped."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from falx.app.arrangement import Arrangement, numbers
from falx.app.colours import DARK, LIGHT, sign
from falx.app.texts import BAND_MEANINGS, NAMES, SIGNS, kind, percent, perhaps
from falx.app.uploads import ShownSlice
from falx.decision import Thresholds
from falx.prediction import Failure
from falx.study import Study
from falx.words import AMBIGUOUS, LABELS, REJECTED, counted

__all__ = ["Answer", "Bar", "Row", "answer", "bars", "image", "render", "rows", "study_answer", "trouble"]

TEMPLATES: Final = Path(__file__).with_name("templates")
ICON: Final = Path(__file__).with_name("icon.svg")
NONE: Final = "–"
NOTHING_SAVED: Final = "Nothing is saved of slices that may be of several patients."


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision in words.

    Attributes:
        kind: what it is shown as, one of `falx.app.texts.KINDS`.
        name: of what it is about; empty for none.
        decision: in words.
        confidence: with its band; empty where there is none.
        band: what that means; empty where there is none.
        notes: reasons and the recommendation, sentences.
    """

    kind: str
    name: str
    decision: str
    confidence: str
    band: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """The probability of a label: in words, and in percent for its bar."""

    name: str
    share: str
    width: str
    needed: str
    needed_at: str
    decided: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of a study's slices; `series` is a heading above it, empty for none."""

    series: str
    number: str
    name: str
    kind: str
    sign: str
    decision: str
    confidence: str
    evidence: str
    carries: bool
    trouble: str


def answer(shown: ShownSlice) -> Answer:
    """What Falx says about a slice."""
    result = shown.result
    if isinstance(result, Failure):
        return Answer("error", shown.about, NAMES["error"], "", "", (shown.trouble,))
    notes: list[str] = []
    if result.decision == REJECTED and result.reason is not None:
        notes.append(result.reason.message)
    if result.decision == AMBIGUOUS and result.probabilities is not None:
        notes.append(perhaps(dict(result.probabilities)))
    return Answer(
        kind=kind(result.decision),
        name=shown.about,
        decision=NAMES[result.decision],
        confidence=_confidence(result.confidence, result.band),
        band="" if result.band is None else BAND_MEANINGS[result.band],
        notes=(*notes, result.recommendation),
    )


def study_answer(study: Study) -> Answer:
    """What Falx says about a study."""
    verdict = study.verdict
    label = "" if verdict.label is None else f": {NAMES[verdict.label].lower()}"
    count = len(study.results)
    several = len(study.series) > 1
    notes = [
        f"Series {number}: {note}" if several else note
        for number, series in enumerate(study.series, start=1)
        for note in series.about.notes
    ]
    unused = [f"Not used, {counted(one.slices)}: {one.reason.message}" for one in study.not_used]
    return Answer(
        kind=kind(study.decision),
        name="Study of one slice" if count == 1 else f"Study of {count} slices",
        decision=f"{NAMES[study.decision]}{label}",
        confidence=_confidence(verdict.confidence, verdict.band),
        band="",
        notes=(verdict.reason, *notes, *unused, *study.notes, verdict.recommendation),
    )


def trouble(arranged: Arrangement) -> Answer:
    """Why slices come to nothing together."""
    names = f"{len(arranged.shown)} slices"
    return Answer("error", names, "More than one study", "", "", (arranged.trouble, NOTHING_SAVED))


def bars(shown: ShownSlice, thresholds: Thresholds) -> list[Bar]:
    """The probability of every label; none where the picture was not classified."""
    if isinstance(shown.result, Failure) or shown.result.probabilities is None:
        return []
    return [
        Bar(
            name=NAMES[label],
            share=percent(probability),
            width=f"{100 * probability:.1f}",
            needed=percent(thresholds[label]),
            needed_at=f"{100 * thresholds[label]:.1f}",
            decided=label == shown.result.decision,
        )
        for label, probability in ((label, shown.result.probabilities[label]) for label in LABELS)
    ]


def rows(shown: Sequence[ShownSlice], study: Study) -> list[Row]:
    """The table of a study's slices."""
    called = numbers(study, len(shown))
    headings = _headings(study)
    return [
        Row(
            series=headings.get(index, ""),
            number=called[index],
            name=one.name,
            kind=kind(one.decision),
            sign=SIGNS[kind(one.decision)],
            decision=NAMES[one.decision],
            confidence=NONE
            if isinstance(one.result, Failure)
            else _confidence(one.result.confidence, one.result.band) or NONE,
            evidence=percent(one.evidence) if _classified(one) else NONE,
            carries=index in study.verdict.carriers,
            trouble=one.trouble or _rejected(one),
        )
        for index, one in enumerate(shown)
    ]


def _headings(study: Study) -> dict[int, str]:
    """What stands above the first slice of each series, by its index; nothing where there is but one."""
    found: dict[int, str] = {}
    first = 0
    for number, series in enumerate(study.series, start=1):
        count = len(series.results)
        words = ", ".join(filter(None, [series.about.name, counted(count)]))
        found[first] = f"Series {number}: {words}"
        first += count
    return found if len(study.series) > 1 else {}


def _rejected(shown: ShownSlice) -> str:
    """Why a slice was rejected, a sentence; empty where it was not."""
    reason = None if isinstance(shown.result, Failure) else shown.result.reason
    return "" if reason is None else reason.message


def image(picture: Image.Image) -> str:
    """A picture as a `data:` address, so that it has no other address that someone could ask for."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def render(template: str, /, **values: Any) -> str:
    """The HTML of a template, or of one of its macros: `verdict.html:probabilities`."""
    name, _, macro = template.partition(":")
    loaded = _environment().get_template(name)
    if not macro:
        return str(loaded.render(**values))
    return str(getattr(loaded.module, macro)(**values))


@functools.cache
def _environment() -> Any:
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    icon = base64.b64encode(ICON.read_bytes()).decode()
    environment.globals.update(sign=sign, dark=DARK, light=LIGHT, icon=f"data:image/svg+xml;base64,{icon}")
    return environment


def _classified(shown: ShownSlice) -> bool:
    return not isinstance(shown.result, Failure) and shown.result.probabilities is not None


def _confidence(value: float | None, band: str | None) -> str:
    return "" if value is None else f"{percent(value)}, {band} confidence"
