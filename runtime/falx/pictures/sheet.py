"""The slices of a study as one picture: a contact sheet with heatmaps."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from falx.errors import UnreadableImage
from falx.prediction import Failure, Prediction
from falx.reading.source import Source, read
from falx.slices.overlay import fitted, overlay
from falx.study import Study, Verdict
from falx.words import AMBIGUOUS, DERIVED, DISCLAIMER, ERROR, TUMOR_LABELS, percent

TILE: Final = 176
"""Height and width of a slice, in pixels."""

CAPTION: Final = 20
GAP: Final = 6
MARGIN: Final = 16
LINE: Final = 20
FONT: Final = 14
HEADING: Final = 20
COLUMNS: Final = 8
FRAME: Final = 3

BACKGROUND: Final = (18, 18, 20)
TEXT: Final = (225, 225, 228)
DIM: Final = (150, 150, 155)
COLOURS: Final = {**dict.fromkeys(TUMOR_LABELS, (255, 96, 80)), AMBIGUOUS: (250, 200, 70)}
"""The colours of captions, by decision; others are dim."""

CARRIER: Final = (255, 255, 255)
"""The colour of the frame around the slices that carry the decision."""


def sheet(study: Study, index: int, sources: Sequence[Source]) -> Image.Image:
    """Draws a contact sheet of one series: every slice with its heatmap, number, decision and confidence.

    Slices that carry the series' decision have a white frame. Nothing of a data set is written on it;
    a picture with text burned in is rejected by its tags, and shown empty.
    """
    series, verdict = study.series[index], study.series[index].verdict
    columns = max(4, min(COLUMNS, len(sources)))
    width = 2 * MARGIN + columns * (TILE + GAP) - GAP
    lines = _lines(study, index, width)
    top = MARGIN + HEADING + 8 + LINE * len(lines) + GAP
    rows = -(-len(sources) // columns)
    page = Image.new("RGB", (width, top + rows * (TILE + CAPTION + GAP) + LINE + MARGIN), BACKGROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(FONT)
    draw.text((MARGIN, MARGIN), _title(study, index), TEXT, font=ImageFont.load_default(HEADING))
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + HEADING + 8 + LINE * number), line, DIM, font=font)
    for number, (source, result) in enumerate(zip(sources, series.results, strict=True)):
        left = MARGIN + number % columns * (TILE + GAP)
        upper = top + number // columns * (TILE + CAPTION + GAP)
        page.paste(_tile(source, result), (left, upper))
        if number in verdict.carriers:
            draw.rectangle((left, upper, left + TILE - 1, upper + TILE - 1), outline=CARRIER, width=FRAME)
        decision = result.decision if isinstance(result, Prediction) else ERROR
        colour = COLOURS.get(decision, DIM)
        draw.text((left, upper + TILE + 3), _caption(number, result), colour, font=font)
    draw.text((MARGIN, page.height - MARGIN - FONT), DISCLAIMER, DIM, font=font)
    page.info["Software"] = DERIVED
    return page


def _title(study: Study, index: int) -> str:
    series, verdict = study.series[index].about, study.series[index].verdict
    which = f"Series {index + 1} of {len(study.series)}" if len(study.series) > 1 else "Series"
    kind = f", {series.name}" if series.name else ""
    return f"{which}{kind}: {_called(verdict)}"


def _called(verdict: Verdict) -> str:
    decision = verdict.decision.replace("_", " ")
    return decision if verdict.label is None else f"{decision} ({verdict.label})"


def _lines(study: Study, index: int, width: int) -> list[str]:
    one = study.series[index]
    texts = [one.verdict.reason, *one.about.notes]
    if len(study.series) > 1:
        texts.append(f"The whole study: {_called(study.verdict)}. {study.verdict.reason}")
    if study.model is not None:
        texts.append(f"{study.model.name} {study.model.version}")
    # The default font is at most this wide for each letter.
    letters = (width - 2 * MARGIN) * 2 // FONT
    return [line for text in texts for line in textwrap.wrap(text, letters)]


def _tile(source: Source, result: Prediction | Failure) -> Image.Image:
    """Draws a slice with its heatmap, fitted to a tile; an empty one where there is no picture to show."""
    tile = Image.new("RGB", (TILE, TILE), (0, 0, 0))
    if isinstance(result, Failure):
        return tile
    try:
        pixels = read(source).pixels
    except UnreadableImage:
        return tile
    heatmap = result.heatmap
    if heatmap is not None and heatmap.shape != pixels.shape:  # the file changed meanwhile
        return tile
    shown = Image.fromarray(pixels).convert("RGB") if heatmap is None else overlay(pixels, heatmap)
    small = fitted(shown, TILE, Image.Resampling.LANCZOS)
    tile.paste(small, ((TILE - small.width) // 2, (TILE - small.height) // 2))
    return tile


def _caption(number: int, result: Prediction | Failure) -> str:
    if isinstance(result, Failure):
        return f"{number + 1}  unread"
    if result.reason is not None:
        return f"{number + 1}  {result.reason.code}"
    confidence = "" if result.confidence is None else f" {percent(result.confidence, 0)}"
    return f"{number + 1}  {result.decision.replace('_', ' ')}{confidence}"
