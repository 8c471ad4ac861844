"""The parts of the page and of the reports: answers in words, and their HTML, in which text is escaped."""

from __future__ import annotations

import base64
import functools
import io
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from falx.app import texts
from falx.app.arrangement import Arrangement, Group
from falx.app.colours import DARK, PAPER, css, sign
from falx.app.page_service import PageService
from falx.app.texts import NAMES, kind, percent
from falx.app.uploads import ShownSlice
from falx.decision import Thresholds
from falx.prediction import Prediction
from falx.study import Study, Verdict
from falx.words import AMBIGUOUS, DISCLAIMER, LABELS, counted

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES: Final = Path(__file__).with_name("templates")
ICON: Final = Path(__file__).with_name("icon.svg")


@dataclass(frozen=True, slots=True)
class Patient:
    """The patient, as far as the visitor says: a name or identifier, and the day of the scan."""

    name: str = ""
    scanned: date | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """The data of a report, and the time when it was made."""

    arranged: Arrangement
    patient: Patient
    service: PageService
    made: str = field(default_factory=lambda: datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"))


@dataclass(frozen=True, slots=True)
class Statement:
    """A decision on a slice or a study in words; confidence and what its band means are empty without one."""

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
    answer = shown.answer
    notes = [shown.trouble] if shown.trouble else []
    if answer is not None and answer.decision == AMBIGUOUS and answer.probabilities is not None:
        notes.append(texts.perhaps(answer.probabilities))
    if answer is not None:
        notes.append(answer.recommendation)
    return Statement(
        kind=kind(shown.decision),
        name=shown.about,
        decision=NAMES[shown.decision],
        confidence=_confidence(answer),
        band="" if answer is None or answer.band is None else texts.BAND_MEANINGS[answer.band],
        notes=tuple(notes),
    )


def study_statement(group: Group, study: Study) -> Statement:
    """Returns the decision on a study in words."""
    verdict = study.verdict
    label = "" if verdict.label is None else f": {NAMES[verdict.label].lower()}"
    several = len(study.series) > 1
    notes = [
        texts.SERIES.format(number=number, words=note) if several else note
        for number, series in enumerate(study.series, start=1)
        for note in series.about.notes
    ]
    notes += [
        texts.NOT_USED_NOTE.format(slices=counted(one.slices), reason=one.reason.message)
        for one in study.not_used
    ]
    name = texts.LETTERED_STUDY if group.letter else texts.STUDY
    return Statement(
        kind=kind(study.decision),
        name=name.format(letter=group.letter, slices=counted(len(study.results))),
        decision=f"{NAMES[study.decision]}{label}",
        confidence=_confidence(verdict),
        band="",
        notes=(verdict.reason, *notes, *study.notes, verdict.recommendation),
    )


def study_statements(arranged: Arrangement) -> list[Statement]:
    """Returns the decision on each study in words."""
    return [study_statement(group, group.study) for group in arranged.groups if group.study is not None]


def limits(thresholds: Thresholds, own: Thresholds) -> list[Limit]:
    """Returns the thresholds in force, each marked where it is not the model's own."""
    return [
        Limit(
            name=NAMES[label],
            value=percent(thresholds[label]),
            changed="" if thresholds[label] == own[label] else texts.CHANGED.format(own=percent(own[label])),
        )
        for label in LABELS
    ]


def bars(shown: ShownSlice, thresholds: Thresholds, own: Thresholds) -> list[ProbabilityBar]:
    """Returns the probability of every label; none where the slice was not classified."""
    shares = None if shown.answer is None else shown.answer.probabilities
    if shares is None:
        return []
    return [
        ProbabilityBar(
            limit=limit,
            share=percent(shares[label]),
            width=f"{100 * shares[label]:.1f}",
            limit_at=f"{100 * thresholds[label]:.1f}",
            decided=label == shown.decision,
        )
        for label, limit in zip(LABELS, limits(thresholds, own), strict=True)
    ]


def rows(arranged: Arrangement) -> list[TableRow]:
    """Returns the table of all slices."""
    headings = _headings(arranged)
    return [
        TableRow(
            series=headings.get(index, ""),
            number=arranged.numbers[index],
            name=one.name,
            kind=kind(one.decision),
            sign=texts.SIGNS[kind(one.decision)],
            decision=NAMES[one.decision],
            confidence=_confidence(one.answer, texts.SHORT_CONFIDENCE) or texts.NONE,
            evidence=texts.NONE if one.evidence is None else percent(one.evidence),
            key_slice=index in arranged.key_slices,
            trouble=one.trouble,
        )
        for index, one in enumerate(arranged.shown)
    ]


def _headings(arranged: Arrangement) -> dict[int, str]:
    """Returns the heading above the first slice of each series, by its index; none for a single series."""
    found: dict[int, str] = {}
    first = 0
    for group in arranged.groups:
        if group.study is None:
            found[first] = NAMES[texts.NOT_USED] if group.slices[0].not_used else texts.PICTURES
            first += len(group.slices)
            continue
        for number, series in enumerate(group.study.series, start=1):
            said = ", ".join(filter(None, [series.about.name, counted(len(series.results))]))
            found[first] = texts.SERIES.format(number=f"{group.letter} {number}".strip(), words=said)
            first += len(series.results)
    return found if len(found) > 1 else {}


def _confidence(answer: Prediction | Verdict | None, words: str = texts.CONFIDENCE) -> str:
    if answer is None or answer.confidence is None:
        return ""
    return words.format(share=percent(answer.confidence), band=answer.band)


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
        light=PAPER,
        css=css,
        icon=f"data:image/svg+xml;base64,{icon}",
        texts=texts,
        counted=counted,
        disclaimer=DISCLAIMER,
    )
    return environment
