"""The report for paper."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any, Final

from PIL import Image

from falx.app import fonts, fragments
from falx.app.colours import LIGHT
from falx.app.fonts import FontUnavailable
from falx.app.saved import TABLE_CAPTION, Saved, listed, table
from falx.app.uploads import ShownSlice
from falx.pictures.overlay import OPACITY
from falx.words import DISCLAIMER

__all__ = ["make", "missing"]

MARGIN_MM: Final = 15.0
LINE_MM: Final = 5.0
PICTURE_MM: Final = 62.0
"""The height of a slice's pictures."""

SLICE_MM: Final = 125.0
TEXT_MM: Final = 45.0
"""Less than this left on a page, and the next slice, or one without a picture, begins on a new one."""

MODEL_MM: Final = 42.0
"""Less than this, and what is said of the model begins on a new page."""

TONES: Final = {kind: tuple(bytes.fromhex(colour[1:])) for kind, colour in LIGHT.items()}
"""Of each kind: red, green, blue, 0..255."""

INK: Final = (17, 24, 32)
QUIET: Final = (70, 83, 94)
LINE: Final = (195, 206, 215)
TRACK: Final = (225, 232, 238)
BAR: Final = (106, 125, 140)
DECIDED: Final = (11, 111, 134)


def make(saved: Saved) -> bytes:
    """A PDF, A4: whose slices, the study, each slice with its pictures, the model.

    Raises:
        FontUnavailable: a name needs letters that no font of this machine has.
    """
    paper = _paper()
    paper.add_page()
    _head(paper, saved)
    if saved.study is not None:
        _answer(paper, fragments.study_answer(saved.study))
        _table(paper, saved)
    for shown in saved.shown:
        _slice(paper, saved, shown)
    _model(paper, saved)
    return bytes(paper.output())


def missing(saved: Saved) -> str:
    """Which letters of a report no font of this machine has, a sentence; empty where it can be made."""
    try:
        for text in (saved.patient.name, *(shown.name for shown in saved.shown)):
            if not fonts.is_western(text):
                fonts.covering(text)
    except FontUnavailable as error:
        return str(error)
    return ""


def _paper() -> Any:
    from fpdf import FPDF

    class Paper(FPDF):
        """A4 with the disclaimer and the page's number at the foot of each page."""

        def footer(self) -> None:
            """Draw the foot."""
            self.set_y(-12)
            self.set_font("helvetica", "B", 8)
            self.set_text_color(*INK)
            self.cell(0, 5, DISCLAIMER)
            self.set_x(-30)
            self.set_font("helvetica", "", 8)
            self.cell(0, 5, f"{self.page_no()} of {{nb}}", align="R")

    paper = Paper(format="A4")
    paper.core_fonts_encoding = "cp1252"
    paper.set_margin(MARGIN_MM)
    paper.set_auto_page_break(auto=True, margin=18)
    paper.set_title("Falx: report")
    paper.set_lang("en")
    paper.set_creator("Falx")
    return paper


def _head(paper: Any, saved: Saved) -> None:
    count = "one slice" if len(saved.shown) == 1 else f"{len(saved.shown)} slices"
    _write(paper, f"Falx: report on {count} of a brain MRI", size=15, bold=True)
    paper.ln(1)
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    scanned = saved.patient.scanned.isoformat() if saved.patient.scanned else "not given"
    _write(paper, f"Patient: {saved.patient.name or 'not given'}", bold=True)
    _write(paper, f"Scan date: {scanned}. Report made: {made}.")
    paper.ln(2)


def _answer(paper: Any, answer: fragments.Answer) -> None:
    _rule(paper)
    if answer.name:
        _write(paper, answer.name, size=9, colour=QUIET)
    _sign(paper, answer.kind)
    _write(paper, answer.decision, size=15, bold=True, colour=TONES[answer.kind], height=8)
    if answer.confidence:
        _write(paper, answer.confidence, bold=True)
    if answer.band:
        _write(paper, answer.band, size=9, colour=QUIET)
    for note in answer.notes:
        _write(paper, note)
    paper.ln(1)


def _slice(paper: Any, saved: Saved, shown: ShownSlice) -> None:
    if paper.get_y() > paper.h - (TEXT_MM if shown.pixels is None else SLICE_MM):
        paper.add_page()
    _answer(paper, fragments.answer(shown))
    for caution in shown.cautions:
        _write(paper, f"Mind the picture: {caution.message}", size=9)
    _pictures(paper, shown)
    _bars(paper, fragments.bars(shown, saved.classifier.card.thresholds))
    paper.ln(2)


def _pictures(paper: Any, shown: ShownSlice) -> None:
    pictures = [shown.picture(0)]
    if shown.located:
        pictures.append(shown.picture(OPACITY))
    drawn = [picture for picture in pictures if picture is not None]
    if not drawn:
        return
    paper.ln(1)
    left, top = paper.l_margin, paper.get_y()
    widest = (paper.epw - 4) / 2
    height = PICTURE_MM
    for picture in drawn:
        wide = min(widest, PICTURE_MM * picture.width / picture.height)
        height = wide * picture.height / picture.width
        paper.image(_png(picture), x=left, y=top, w=wide, h=height, alt_text="The slice.")
        left += wide + 4
    paper.set_y(top + height + 2)
    if shown.located:
        _write(paper, shown.highest(), size=9, colour=QUIET)


def _png(picture: Image.Image) -> io.BytesIO:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    stream.seek(0)
    return stream


def _bars(paper: Any, bars: list[fragments.Bar]) -> None:
    for bar in bars:
        y, left = paper.get_y(), paper.l_margin
        paper.set_text_color(*INK)
        paper.set_font("helvetica", "B" if bar.decided else "", 9)
        paper.set_xy(left, y)
        paper.cell(32, LINE_MM, bar.name)
        paper.cell(14, LINE_MM, bar.share, align="R")
        start, wide = left + 50, paper.epw - 50 - 38
        paper.set_fill_color(*TRACK)
        paper.rect(start, y + 1.2, wide, 2.6, style="F")
        paper.set_fill_color(*(DECIDED if bar.decided else BAR))
        paper.rect(start, y + 1.2, wide * float(bar.width) / 100, 2.6, style="F")
        paper.set_fill_color(*INK)
        paper.rect(start + wide * float(bar.needed_at) / 100, y + 0.5, 0.4, 4, style="F")
        paper.set_font("helvetica", "", 9)
        paper.set_text_color(*QUIET)
        paper.set_xy(start + wide, y)
        paper.cell(38, LINE_MM, f"{bar.needed} needed", align="R")
        paper.set_y(y + LINE_MM)


def _table(paper: Any, saved: Saved) -> None:
    widths = (12.0, 62.0, 44.0, 42.0, 20.0)
    _cells(paper, widths, ("Slice", "File", "Decision", "Confidence", "Any tumour"), QUIET)
    for row in table(saved):
        if row.series:
            _write(paper, row.series, size=9, bold=True)
        decision = f"{row.decision} (counts)" if row.carries else row.decision
        cells = (row.number, row.name, decision, row.confidence, row.evidence)
        _cells(paper, widths, cells, TONES[row.kind])
    _write(paper, TABLE_CAPTION, size=8, colour=QUIET)
    paper.ln(2)


def _cells(paper: Any, widths: tuple[float, ...], cells: tuple[str, ...], tone: tuple[int, ...]) -> None:
    if paper.get_y() > paper.h - 25:
        paper.add_page()
    y, x = paper.get_y(), paper.l_margin
    for column, (width, text) in enumerate(zip(widths, cells, strict=True)):
        _font(paper, text, 9, bold=column == 2)
        paper.set_text_color(*(tone if column == 2 else INK))
        paper.set_xy(x, y)
        paper.cell(width, LINE_MM, _cut(paper, text, width - 2))
        x += width
    paper.set_y(y + LINE_MM)


def _cut(paper: Any, text: str, width: float) -> str:
    """A text that fits; a longer one keeps its end, which tells files apart."""
    if paper.get_string_width(text) <= width:
        return text
    while text and paper.get_string_width(f"…{text}") > width:
        text = text[1:]
    return f"…{text}"


def _model(paper: Any, saved: Saved) -> None:
    if paper.get_y() > paper.h - MODEL_MM:
        paper.add_page()
    _rule(paper)
    card, model = saved.classifier.card, saved.classifier.model
    _write(paper, "Model", bold=True)
    needed = listed(card.thresholds)
    text = f"{card.name} {card.version}, {card.license}. Needed to be decided: {needed}."
    _write(paper, text, size=9, colour=QUIET)
    _write(paper, f"SHA-256 {model.sha256}", size=9, colour=QUIET)


def _rule(paper: Any) -> None:
    paper.set_draw_color(*LINE)
    y = paper.get_y() + 1
    paper.line(paper.l_margin, y, paper.w - paper.r_margin, y)
    paper.set_y(y + 2)


def _sign(paper: Any, kind: str) -> None:
    """The sign of a kind, before what is written next; drawn, since few fonts have it."""
    x, y, tone = paper.l_margin, paper.get_y() + 1.5, TONES[kind]
    paper.set_draw_color(*tone)
    paper.set_fill_color(*tone)
    paper.set_line_width(0.7)
    if kind in ("no_tumor", "rejected"):
        paper.ellipse(x + 0.4, y + 0.4, 4.2, 4.2)
    if kind == "rejected":
        paper.line(x + 1, y + 1, x + 4, y + 4)
    if kind == "tumor":
        paper.polygon([(x + 2.5, y), (x + 5, y + 2.5), (x + 2.5, y + 5), (x, y + 2.5)], style="F")
    if kind in ("ambiguous", "error"):
        paper.set_font("helvetica", "B", 16)
        paper.set_text_color(*tone)
        paper.set_xy(x, y - 1)
        paper.cell(5, 7, "?" if kind == "ambiguous" else "!")
    paper.set_line_width(0.2)
    paper.set_xy(paper.l_margin + 7, y - 1.5)


def _write(
    paper: Any,
    text: str,
    *,
    size: int = 10,
    bold: bool = False,
    colour: tuple[int, ...] = INK,
    height: float = LINE_MM,
) -> None:
    """A paragraph, from where the paper is to the right margin."""
    _font(paper, text, size, bold=bold)
    paper.set_text_color(*colour)
    paper.multi_cell(0, height, text, align="L", new_x="LMARGIN", new_y="NEXT")


def _font(paper: Any, text: str, size: int, *, bold: bool) -> None:
    """Choose the letters for a text: the viewer's own where they cover it."""
    if fonts.is_western(text):
        paper.set_font("helvetica", "B" if bold else "", size)
        return
    families = []
    for font in fonts.covering(text):
        family = f"{font.path.stem}-{font.number}".lower()
        if family not in paper.fonts:
            paper.add_font(family, fname=font.path, collection_font_number=font.number)
        families.append(family)
    paper.set_text_shaping(use_shaping_engine=True)
    paper.set_font(families[0], "", size)
    paper.set_fallback_fonts(families[1:])
