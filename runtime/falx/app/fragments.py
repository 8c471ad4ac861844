"""The parts of the page and of the reports: answers in words, and their HTML, in which text is escaped."""

from __future__ import annotations

import base64
import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from falx.app import texts
from falx.app.arrangement import Arrangement
from falx.app.colours import DARK, LIGHT, sign
from falx.app.texts import NAMES, kind, percent
from falx.app.uploads import ShownSlice
from falx.decision import Thresholds
from falx.prediction import Failure
from falx.study import Study
from falx.words import AMBIGUOUS, DISCLAIMER, LABELS

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = [
    "Limit",
    "ProbabilityBar",
    "Statement",
    "TableRow",
    "bars",
    "image",
    "limits",
    "render",
    "rows",
    "slice_statement",
    "study_statement",
    "trouble",
]

TEMPLATES: Final = Path(__file__).with_name("templates")
ICON: Final = Path(__file__).with_name("icon.svg")


@dataclass(frozen=True, slots=True)
class Statement:
    """A decision in words.

    Attributes:
        kind: The kind of decision, one of `texts.KINDS`.
        name: The slice or study that is decided on.
        decision: The decision.
        confidence: The confidence with its band; empty without one.
        band: The meaning of the band; empty without one.
        notes: Reasons and the recommendation, sentences.
    """

    kind: str
    name: str
    decision: str
    confidence: str
    band: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold in words; `changed` marks one that is not the model's own, empty for the others."""

    name: str
    value: str
    changed: str


@dataclass(frozen=True, slots=True)
class ProbabilityBar:
    """The probability of a label, in words and in percent for its bar."""

    limit: Limit
    share: str
    width: str
    limit_at: str
    decided: bool


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line of the table of slices; `series` is a heading above it, empty for none."""

    series: str
    number: str
    name: str
    kind: str
    sign: str
    decision: str
    confidence: str
    evidence: str
    key_slice: bool
    trouble: str


def slice_statement(shown: ShownSlice) -> Statement:
    """Returns the decision on a slice in words."""
    result = shown.result
    if isinstance(result, Failure):
        return Statement(texts.ERROR, shown.about, NAMES[texts.ERROR], "", "", (shown.trouble,))
    notes = [shown.trouble] if shown.trouble else []
    if result.decision == AMBIGUOUS and result.probabilities is not None:
        notes.append(texts.perhaps(result.probabilities))
    return Statement(
        kind=kind(result.decision),
        name=shown.about,
        decision=NAMES[result.decision],
        confidence=texts.confidence(result.confidence, result.band),
        band="" if result.band is None else texts.BAND_MEANINGS[result.band],
        notes=(*notes, result.recommendation),
    )


def study_statement(study: Study) -> Statement:
    """Returns the decision on a study in words."""
    verdict = study.verdict
    label = "" if verdict.label is None else f": {NAMES[verdict.label].lower()}"
    several = len(study.series) > 1
    notes = [
        texts.series_heading(number, note) if several else note
        for number, series in enumerate(study.series, start=1)
        for note in series.about.notes
    ]
    notes += [texts.not_used(one.slices, one.reason.message) for one in study.not_used]
    return Statement(
        kind=kind(study.decision),
        name=texts.study_heading(len(study.results)),
        decision=f"{NAMES[study.decision]}{label}",
        confidence=texts.confidence(verdict.confidence, verdict.band),
        band="",
        notes=(verdict.reason, *notes, *study.notes, verdict.recommendation),
    )


def trouble(arranged: Arrangement) -> Statement:
    """Returns why slices are not decided on together."""
    name = texts.counted(len(arranged.shown))
    notes = (arranged.trouble, texts.NOTHING_SAVED)
    return Statement(texts.ERROR, name, texts.SEVERAL_STUDIES, "", "", notes)


def limits(thresholds: Thresholds, own: Thresholds) -> list[Limit]:
    """Returns the thresholds in force, each marked where it is not the model's own.

    Args:
        thresholds: The thresholds in force.
        own: Those of the model's card.
    """
    return [
        Limit(
            name=NAMES[label],
            value=percent(thresholds[label]),
            changed="" if thresholds[label] == own[label] else texts.changed(own[label]),
        )
        for label in LABELS
    ]


def bars(shown: ShownSlice, thresholds: Thresholds, own: Thresholds) -> list[ProbabilityBar]:
    """Returns the probability of every label; none where the slice was not classified."""
    if isinstance(shown.result, Failure) or shown.result.probabilities is None:
        return []
    return [
        ProbabilityBar(
            limit=limit,
            share=percent(shown.result.probabilities[label]),
            width=f"{100 * shown.result.probabilities[label]:.1f}",
            limit_at=f"{100 * thresholds[label]:.1f}",
            decided=label == shown.result.decision,
        )
        for label, limit in zip(LABELS, limits(thresholds, own), strict=True)
    ]


def rows(arranged: Arrangement) -> list[TableRow]:
    """Returns the table of all slices."""
    headings = _headings(arranged.study)
    key_slices = () if arranged.study is None else arranged.study.verdict.carriers
    return [
        TableRow(
            series=headings.get(index, ""),
            number=arranged.numbers[index],
            name=one.name,
            kind=kind(one.decision),
            sign=texts.SIGNS[kind(one.decision)],
            decision=NAMES[one.decision],
            confidence=slice_statement(one).confidence or texts.NONE,
            evidence=texts.NONE if one.evidence is None else percent(one.evidence),
            key_slice=index in key_slices,
            trouble=one.trouble,
        )
        for index, one in enumerate(arranged.shown)
    ]


def _headings(study: Study | None) -> dict[int, str]:
    """Returns the heading above the first slice of each series, by its index; none for a single series."""
    found: dict[int, str] = {}
    first = 0
    for number, series in enumerate(() if study is None else study.series, start=1):
        words = ", ".join(filter(None, [series.about.name, texts.counted(len(series.results))]))
        found[first] = texts.series_heading(number, words)
        first += len(series.results)
    return found if len(found) > 1 else {}


def image(picture: Image.Image) -> str:
    """Returns a picture as a `data:` address, so that it has no address that someone else could ask for."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def render(template: str, /, **values: object) -> str:
    """Returns the HTML of a template, or of one of its macros: `verdict.html:probabilities`."""
    name, _, macro = template.partition(":")
    loaded = _environment().get_template(name)
    return str(getattr(loaded.module, macro)(**values) if macro else loaded.render(**values))


@functools.cache
def _environment() -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    icon = base64.b64encode(ICON.read_bytes()).decode()
    environment.globals.update(
        sign=sign,
        dark=DARK,
        light=LIGHT,
        icon=f"data:image/svg+xml;base64,{icon}",
        texts=texts,
        disclaimer=DISCLAIMER,
    )
    return environment
