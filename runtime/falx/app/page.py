"""The page: takes slices from a visitor, shows the answers, and offers reports."""

from __future__ import annotations

import functools
import re
import sys
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from falx.app import downloads, fonts, fragments, pdf, texts, viewer
from falx.app.arrangement import Arrangement
from falx.app.colours import DARK, PAPER, css
from falx.app.fragments import Patient, Saved, render
from falx.app.page_service import PageService, current
from falx.app.texts import NAMES, SIGNS, kind, percent
from falx.app.uploads import ShownSlice, Taken, refused, taken
from falx.app.visit import DrawnSample, Visit
from falx.debug import place
from falx.words import DISCLAIMER

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.runtime.state import SessionStateProxy
    from streamlit.runtime.uploaded_file_manager import UploadedFile

HERE: Final = Path(__file__).parent
STYLE: Final = "<style>{} @media print {{ {} }} {}</style>"
BATCH_S: Final = 0.4
"""Answers are shown at least this often while many slices are read, in seconds."""

LIST_PX: Final = 216
ROW_PX: Final = 28
"""The greatest height of the list of slices, and that of a line in it."""

COLOURS: Final = {"no_tumor": "green", "tumor": "red", "ambiguous": "yellow", "rejected": "gray"}
"""The colour of each kind by Streamlit's names; the theme says which green is meant."""


def show() -> None:
    """Runs the page once for one visitor."""
    import streamlit as st

    try:
        st.set_page_config(page_title=texts.TITLE, page_icon=str(HERE / "icon.svg"), layout="wide")
        st.html(STYLE.format(css(DARK), css(PAPER), (HERE / "style.css").read_text(encoding="utf-8")))
        visit = st.session_state.setdefault("visit", Visit())
        _show(st.container(), visit, st.session_state, current())
    except Exception as error:  # noqa: BLE001 - the last place to say it without quoting what may be a name
        sys.stderr.write(f"falx app: an unexpected error in {place(error)}\n")
        st.error(texts.WENT_WRONG.format(place=place(error)))
        return
    if not visit.complete():
        st.rerun()


def _show(place: DeltaGenerator, visit: Visit, state: SessionStateProxy, service: PageService) -> None:
    place.html(render("header.html", model=service.classifier.card))
    study_place = place.container(key="study")
    give, look, read = place.container(key="desk").columns([1.05, 1.6, 1.3], gap="medium")
    _take(give, visit, service)
    switch_place = give.container(key="whose")
    listing = give.container(key="listing")
    patient = _patient(give, visit)
    _answer(listing, visit, service)
    if visit.passed_over:
        kinds = (f"{count} {kind}" for kind, count in visit.passed_over.most_common())
        listing.caption(texts.PASSED_OVER.format(kinds=", ".join(kinds)))
    if visit.arrange().unsure:
        visit.one_patient = switch_place.toggle(
            texts.ONE_PATIENT, key=f"one-patient-{visit.number}", help=texts.ONE_PATIENT_HELP
        )
    arranged = visit.arrange()
    chosen = _choose(listing, visit, state, arranged)
    with look:
        viewer.show(
            arranged,
            chosen,
            service.maximum_files,
            on_walk=lambda: _walk(visit, state),
            on_sample=lambda: setattr(visit, "sample", True),
        )
    _read(read, service, None if chosen is None else arranged.shown[chosen])
    _study(study_place, arranged)
    _foot(place.container(key="foot"), visit, state, Saved(arranged, patient, service))


def _take(place: DeltaGenerator, visit: Visit, service: PageService) -> None:
    files = place.file_uploader(
        texts.GIVE,
        accept_multiple_files=True,
        key=f"files-{visit.number}",
        max_upload_size=service.maximum_megabytes,
        help=texts.GIVE_HELP.format(
            files=service.maximum_files, megabytes=service.maximum_megabytes, slices=service.maximum_slices
        ),
    )
    visit.files = [*files, *([DrawnSample()] if visit.sample else [])]


def _patient(place: DeltaGenerator, visit: Visit) -> Patient:
    fields = place.container(key="patient")
    name = fields.text_input(
        texts.PATIENT,
        key=f"patient-{visit.number}",
        max_chars=120,
        autocomplete="off",
        placeholder=texts.PATIENT_EXAMPLE,
    )
    scanned = fields.date_input(
        texts.SCAN_DATE,
        value=None,
        key=f"date-{visit.number}",
        min_value=date(1970, 1, 1),
        max_value=date.today(),
        format="YYYY-MM-DD",
    )
    return Patient(name.strip(), scanned)


def _answer(place: DeltaGenerator, visit: Visit, service: PageService) -> None:
    """Classifies new slices for a while; the rest is left for the next run."""
    known = visit.taken
    # Held from the start: where a visitor's input interrupts this, nothing is done twice.
    visit.taken = {file.file_id: known[file.file_id] for file in visit.files if file.file_id in known}
    if visit.complete():
        return
    bar = place.progress(*visit.progress)
    # Putting many slices in order must not take longer than reading them.
    until = time.monotonic() + max(BATCH_S, 3 * visit.arranging_s)
    for file in visit.files:
        if file.file_id not in visit.taken:
            visit.taken[file.file_id] = _read_file(file, visit, service)
        for upload in visit.taken[file.file_id].uploads:
            while not upload.done and time.monotonic() < until:
                upload.answer(service)
                bar.progress(*visit.progress)
        if time.monotonic() > until:
            break
    if visit.complete():
        bar.empty()


def _read_file(file: UploadedFile | DrawnSample, visit: Visit, service: PageService) -> Taken:
    if len(visit.taken) >= service.maximum_files:
        return refused(file.name, texts.TOO_MANY_FILES.format(most=service.maximum_files))
    room = service.maximum_slices - sum(upload.frames for upload in visit.uploads)
    return taken(file.name, file.getvalue(), service, room=room)


def _choose(
    place: DeltaGenerator, visit: Visit, state: SessionStateProxy, arranged: Arrangement
) -> int | None:
    """Shows the list of slices; returns the index of the one to look at: a key slice, or the visitor's."""
    shown, key = arranged.shown, visit.chosen_key
    if len(shown) < 2:
        return 0 if shown else None
    if not visit.by_hand or state.get(key, 0) >= len(shown):
        state[key] = arranged.first
    lines = place.container(key="list", height=min(LIST_PX, ROW_PX * len(shown) + 36), border=True)
    chosen: int = lines.radio(
        texts.SLICES,
        range(len(shown)),
        key=key,
        format_func=lambda index: _line(arranged.numbers[index], shown[index]),
        on_change=lambda: setattr(visit, "by_hand", True),
    )
    return chosen


def _walk(visit: Visit, state: SessionStateProxy) -> None:
    """Goes to the slice that the arrow keys of the viewer lead to."""
    at = state[viewer.KEY].at
    if at is not None and at < len(visit.arranged.shown):
        state[visit.chosen_key], visit.by_hand = at, True


def _line(number: str, shown: ShownSlice) -> str:
    """Returns a slice in the list, in Streamlit's Markdown."""
    what = kind(shown.decision)
    sure = None if shown.answer is None else shown.answer.confidence
    share = "" if sure is None else f", {percent(sure)}"
    sign = f":{COLOURS[what]}[{SIGNS[what]}]" if what in COLOURS else f"**{SIGNS[what]}**"
    # The panel of the answer has the archive and its folders too.
    name = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", shown.name.rpartition("/")[2])
    return f"{number} · {sign} **{NAMES[shown.decision]}**{share} · {name}"


def _read(place: DeltaGenerator, service: PageService, chosen: ShownSlice | None) -> None:
    panel = place.container(key="answer")
    card = service.classifier.card
    bars = [] if chosen is None else fragments.bars(chosen, service.thresholds, card.thresholds)
    if chosen is None:
        hint = (texts.NOTHING_YET_HINT,)
        said = fragments.Statement("none", "", texts.NOTHING_YET, "", "", hint)
    else:
        said = fragments.slice_statement(chosen)
    cautions = () if chosen is None else chosen.cautions
    panel.html(
        render("verdict.html:verdict", said=said, level=2, colours=DARK)
        + render("verdict.html:cautions", found=cautions)
    )
    if bars:
        panel.expander(texts.PROBABILITIES, expanded=True).html(
            render("verdict.html:probabilities", bars=bars, with_limits=True)
        )
    # The thresholds stand once: beside the probabilities, or here.
    limits = [] if bars else fragments.limits(service.thresholds, card.thresholds)
    panel.expander(texts.HOW, expanded=chosen is None).html(render("how.html", limits=limits, model=card))


def _study(place: DeltaGenerator, arranged: Arrangement) -> None:
    said = fragments.study_statements(arranged)
    if said:
        place.html("".join(render("verdict.html:verdict", said=one, level=2, colours=DARK) for one in said))
        place.expander(texts.TABLE).html(render("verdict.html:slices", rows=fragments.rows(arranged)))


def _foot(place: DeltaGenerator, visit: Visit, state: SessionStateProxy, saved: Saved) -> None:
    """Shows the disclaimer, what the visitor can take away, and the way to the next patient."""
    place.html(f'<p role="note">{DISCLAIMER}</p>')
    if not saved.arranged.shown:
        return
    buttons = place.container(key="save", horizontal=True, gap="small", vertical_alignment="center")
    several, letters = len(saved.arranged.studies) > 1, pdf.missing(saved)
    if several:
        buttons.caption(f"{texts.NOTHING_SAVED} {texts.SAY_ONE if saved.arranged.unsure else ''}".strip())
    elif letters:
        buttons.caption(texts.NO_PDF.format(letters=fonts.numbered(letters)))
    for name, one in () if several else downloads.FILES.items():
        label, about = texts.FILES[name]
        buttons.download_button(
            label,
            data=functools.partial(one.make, saved),
            file_name=one.name,
            mime=one.mime,
            on_click="ignore",
            help=about,
            disabled=name == "pdf" and bool(letters),
        )
    buttons.button(
        texts.NEXT, key="next", on_click=_forget, args=(visit, state, saved.service), help=texts.NEXT_HELP
    )


def _forget(visit: Visit, state: SessionStateProxy, service: PageService) -> None:
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    # Streamlit drops the files with their field; nothing asks for them to be deleted.
    context = get_script_run_ctx()
    assert context is not None  # noqa: S101 - a callback runs in a session
    service.uploads.forget(context.session_id)
    state.clear()
    state["visit"] = Visit(visit.number + 1)
