"""The report as PDF, on A4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from falx.app import fonts, fragments, texts
from falx.app.colours import PAPER
from falx.app.fragments import Saved
from falx.app.uploads import ShownSlice
from falx.words import DISCLAIMER, counted

if TYPE_CHECKING:
    from fpdf import FPDF

Colour = tuple[int, ...]
"""Red, green, blue, 0..255."""

MARGIN_MM: Final = 15.0
FOOT_MM: Final = 20.0
LINE_MM: Final = 5.0
PICTURE_MM: Final = 62.0
"""The height of a slice's pictures."""

SLICE_MM: Final = 125.0
TEXT_MM: Final = 45.0
"""The next slice, or one without a picture, begins on a new page where less than this is left."""

MODEL_MM: Final = 48.0
"""The section on the model begins on a new page where less than this is left."""

COLUMNS_MM: Final = (20.0, 64.0, 44.0, 28.0, 24.0)
"""The widths of the columns of the table of slices."""


TONES: Final[Mapping[str, Colour]] = {kind: tuple(bytes.fromhex(css[1:])) for kind, css in PAPER.items()}
INK, QUIET, LINE, DECIDED = (TONES[name] for name in ("text", "quiet", "line", "accent"))
TRACK: Final = (225, 232, 238)
BAR: Final = (106, 125, 140)


def make(saved: Saved) -> bytes:
    """Returns a PDF: patient, study, each slice with its pictures, model."""
    arranged = saved.arranged
    paper = _paper()
    paper.add_page()
    _write(paper, texts.REPORT_HEADING.format(slices=counted(len(arranged.shown))), size=15, bold=True)
    paper.ln(1)
    scanned = saved.patient.scanned.isoformat() if saved.patient.scanned else texts.NOT_GIVEN
    _write(paper, f"{texts.REPORT_PATIENT}: {saved.patient.name or texts.NOT_GIVEN}", bold=True)
    _write(paper, f"{texts.REPORT_SCANNED}: {scanned}. {texts.REPORT_MADE}: {saved.made}.")
    paper.ln(2)
    for said in fragments.study_statements(arranged):
        _statement(paper, said)
    if len(arranged.shown) > 1:
        _table(paper, fragments.rows(arranged))
    for shown in arranged.shown:
        if shown.not_used is None:
            _slice(paper, saved, shown)
    _model(paper, saved)
    return bytes(paper.output())


def missing(saved: Saved) -> str:
    """Returns the letters of a report that no font of this machine has; empty where it can be made."""
    names = {saved.patient.name, *(shown.name for shown in saved.arranged.shown)}
    return fonts.missing("".join(sorted(name for name in names if not fonts.is_western(name))))


def _paper() -> FPDF:
    from fpdf import FPDF

    class Paper(FPDF):
        """A4 with the disclaimer and the number of the page at its foot."""

        def footer(self) -> None:
            """Draws the foot of a page."""
            self.set_y(-12)
            self.set_font("helvetica", "B", 8)
            self.set_text_color(*INK)
            self.cell(0, 5, DISCLAIMER)
            self.set_x(-30)
            self.set_font("helvetica", "", 8)
            self.cell(0, 5, texts.PAGE_NUMBER.format(number=self.page_no(), total="{nb}"), align="R")

    paper = Paper(format="A4")
    paper.core_fonts_encoding = "cp1252"
    paper.set_margin(MARGIN_MM)
    paper.set_auto_page_break(auto=True, margin=FOOT_MM - 2)
    paper.set_title(texts.REPORT)
    paper.set_lang("en")
    paper.set_creator("Falx")
    return paper


def _statement(paper: FPDF, said: fragments.Statement) -> None:
    _rule(paper)
    _write(paper, said.name, size=9, colour=QUIET)
    _sign(paper, said.kind)
    _write(paper, said.decision, size=15, bold=True, colour=TONES[said.kind], line=8)
    if said.confidence:
        _write(paper, said.confidence, bold=True)
    if said.band:
        _write(paper, said.band, size=9, colour=QUIET)
    for note in said.notes:
        _write(paper, note)
    paper.ln(1)


def _slice(paper: FPDF, saved: Saved, shown: ShownSlice) -> None:
    _make_room(paper, TEXT_MM if shown.pixels is None else SLICE_MM)
    _statement(paper, fragments.slice_statement(shown))
    for caution in shown.cautions:
        _write(paper, f"{texts.QUALITY} {caution.message}", size=9)
    _pictures(paper, shown)
    bars = fragments.bars(shown, saved.service.thresholds, saved.service.classifier.card.thresholds)
    _make_room(paper, FOOT_MM + LINE_MM * len(bars))
    for bar in bars:
        _bar(paper, bar)
    paper.ln(2)


def _pictures(paper: FPDF, shown: ShownSlice) -> None:
    pictures = shown.pictures()
    if not pictures:
        return
    width, height = pictures[0].size
    wide = min((paper.epw - 4) / 2, PICTURE_MM * width / height)
    high = wide * height / width
    paper.ln(1)
    _make_room(paper, FOOT_MM + high + LINE_MM)
    left, top = paper.l_margin, paper.get_y()
    for number, picture in enumerate(pictures):
        words = shown.strongest() if number else texts.THE_SLICE
        x = left + number * (wide + 4)
        paper.image(picture, x=x, y=top, w=wide, h=high, alt_text=words)
    paper.set_y(top + high + 2)
    if len(pictures) > 1:
        _write(paper, shown.strongest(), size=9, colour=QUIET)


def _bar(paper: FPDF, bar: fragments.ProbabilityBar) -> None:
    y, left = paper.get_y(), paper.l_margin
    paper.set_text_color(*INK)
    paper.set_font("helvetica", "B" if bar.decided else "", 9)
    paper.set_xy(left, y)
    paper.cell(32, LINE_MM, bar.limit.name)
    paper.cell(14, LINE_MM, bar.share, align="R")
    start, wide = left + 50, paper.epw - 50
    paper.set_fill_color(*TRACK)
    paper.rect(start, y + 1.2, wide, 2.6, style="F")
    paper.set_fill_color(*(DECIDED if bar.decided else BAR))
    paper.rect(start, y + 1.2, wide * float(bar.width) / 100, 2.6, style="F")
    paper.set_fill_color(*INK)
    paper.rect(start + wide * float(bar.limit_at) / 100, y + 0.5, 0.4, 4, style="F")
    paper.set_y(y + LINE_MM)


def _table(paper: FPDF, rows: list[fragments.TableRow]) -> None:
    _cells(paper, texts.TABLE_COLUMNS, QUIET)
    for row in rows:
        if row.series:
            _write(paper, row.series, size=9, bold=True)
        decision = f"{row.decision} ({texts.KEY_SLICE})" if row.key_slice else row.decision
        _cells(paper, (row.number, row.name, decision, row.confidence, row.evidence), TONES[row.kind])
    _write(paper, texts.TABLE_CAPTION, size=8, colour=QUIET)
    paper.ln(2)


def _cells(paper: FPDF, cells: tuple[str, ...], tone: Colour) -> None:
    _make_room(paper, FOOT_MM + LINE_MM)
    y, x = paper.get_y(), paper.l_margin
    for column, (width, text) in enumerate(zip(COLUMNS_MM, cells, strict=True)):
        _font(paper, text, 9, bold=column == 2)
        paper.set_text_color(*(tone if column == 2 else INK))
        paper.set_xy(x, y)
        paper.cell(width, LINE_MM, _cut(paper, text, width - 2))
        x += width
    paper.set_y(y + LINE_MM)


def _cut(paper: FPDF, text: str, width: float) -> str:
    """Returns a text that fits; a longer one keeps its end, which tells files apart."""
    if paper.get_string_width(text) <= width:
        return text
    while text and paper.get_string_width(f"…{text}") > width:
        text = text[1:]
    return f"…{text}"


def _model(paper: FPDF, saved: Saved) -> None:
    _make_room(paper, MODEL_MM)
    _rule(paper)
    card, model = saved.service.classifier.card, saved.service.classifier.model
    limits = fragments.limits(saved.service.thresholds, card.thresholds)
    listed = ", ".join(f"{one.name} {one.value}{f' ({one.changed})' * bool(one.changed)}" for one in limits)
    _write(paper, texts.MODEL, bold=True)
    for line in (
        f"{card.name} {card.version}, {card.license}.",
        f"{texts.THRESHOLDS}: {listed}. {texts.THRESHOLDS_NOTE}",
        f"SHA-256 {model.sha256}",
    ):
        _write(paper, line, size=9, colour=QUIET)


def _make_room(paper: FPDF, height_mm: float) -> None:
    """Begins a new page where less than this is left."""
    if paper.get_y() > paper.h - height_mm:
        paper.add_page()


def _rule(paper: FPDF) -> None:
    paper.set_draw_color(*LINE)
    y = paper.get_y() + 1
    paper.line(paper.l_margin, y, paper.w - paper.r_margin, y)
    paper.set_y(y + 2)


def _sign(paper: FPDF, kind: str) -> None:
    """Draws the sign of a kind before what is written next; few fonts have it."""
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
        paper.cell(5, 7, texts.SIGNS[kind])
    paper.set_line_width(0.2)
    paper.set_xy(paper.l_margin + 7, y - 1.5)


def _write(
    paper: FPDF, text: str, *, size: int = 10, bold: bool = False, colour: Colour = INK, line: float = LINE_MM
) -> None:
    _font(paper, text, size, bold=bold)
    paper.set_text_color(*colour)
    paper.multi_cell(0, line, text, align="L", new_x="LMARGIN", new_y="NEXT")


def _font(paper: FPDF, text: str, size: int, *, bold: bool) -> None:
    """Chooses the font for a text: the viewer's own where it covers the text."""
    if fonts.is_western(text):
        paper.set_font("helvetica", "B" if bold else "", size)
        return
    families = []
    for path in fonts.covering(text):
        family = path.stem.lower()
        if family not in paper.fonts:
            paper.add_font(family, fname=path)
        families.append(family)
    paper.set_text_shaping(use_shaping_engine=True)
    paper.set_font(families[0], "", size)
    paper.set_fallback_fonts(families[1:])
