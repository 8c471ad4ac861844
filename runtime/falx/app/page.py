"""The page: what a visitor gives, what Falx says, what can be saved."""

from __future__ import annotations

import re
import sys
import time
import traceback
from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from falx.app import downloads, fragments
from falx.app.arrangement import Arrangement, arrange, numbers
from falx.app.colours import DARK
from falx.app.fragments import render
from falx.app.saved import TABLE_CAPTION, Patient, Saved, listed
from falx.app.service import Service, current
from falx.app.texts import NAMES, SIGNS, kind, percent
from falx.app.uploads import ShownSlice, Upload, given, refused
from falx.errors import UnreadableImage
from falx.pictures.overlay import OPACITY
from falx.prediction import Failure
from falx.study import Study
from falx.words import DISCLAIMER

__all__ = ["show"]

HERE: Final = Path(__file__).parent
BATCH_S: Final = 0.4
"""Answers are shown at least this often while many slices are read, in seconds."""

LIST_PX: Final = 250
ROW_PX: Final = 28
"""How high the list of slices is at the most, and for each of them."""

COLOURS: Final = {
    "no_tumor": "green",
    "tumor": "red",
    "ambiguous": "yellow",
    "rejected": "gray",
}
"""Of each kind, by Streamlit's names; the theme says which green is meant."""


NOT_SHOWN: Final = {
    "error": NAMES["error"],
    "rejected": "Not shown: its tags say that it is no slice to look at.",
}
"""What stands in the place of a slice without a picture."""


def show() -> None:
    """Run the page once for one visitor."""
    import streamlit as st

    try:
        _show(st, current())
    except Exception as error:  # noqa: BLE001 - the last place to say it without quoting what may be a name
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        sys.stderr.write(f"falx app: {type(error).__name__} at {place}\n")
        st.error(
            f"Something went wrong on the server ({type(error).__name__} at {place}). Load the page again."
        )


def _show(st: Any, service: Service) -> None:
    st.set_page_config(
        page_title="Falx: slices of a brain MRI", page_icon=str(HERE / "icon.svg"), layout="wide"
    )
    st.html(HERE / "style.css")
    card = service.classifier.card
    st.html(render("header.html", model=card))
    study_place = st.container(key="study")
    with st.container(key="desk"):
        give, look, read = st.columns([1, 1.5, 1.35], gap="medium")
    with give:
        arranged, patient, listing = _give(st, service)
    chosen = _choose(st, listing, arranged)
    with look:
        _look(st, chosen)
    with read:
        _read(st, service, chosen)
    with study_place:
        if arranged.study is not None:
            _study(st, arranged.shown, arranged.study)
        elif arranged.trouble:
            st.html(render("verdict.html:verdict", answer=fragments.trouble(arranged), level=2, colours=DARK))
    if arranged.shown:
        with give:
            _save(st, service, None if arranged.trouble else _saved(arranged, patient, service))
    with st.container(key="disclaimer"):
        st.html(f'<p role="note">{DISCLAIMER}</p>')
    if not _complete(st.session_state):
        st.rerun()


def _saved(arranged: Arrangement, patient: Patient, service: Service) -> Saved:
    return Saved(arranged.shown, arranged.study, patient, service.classifier)


def _give(st: Any, service: Service) -> tuple[Arrangement, Patient, Any]:
    """What the visitor gives: files, and whose they are; and the place for the list of these."""
    state = st.session_state
    turn = state.setdefault("turn", 0)
    files = st.file_uploader(
        "Drop slices here",
        accept_multiple_files=True,
        key=f"files-{turn}",
        max_upload_size=service.maximum_megabytes,
        help="PNG, JPEG, BMP, TIFF or DICOM: grey slices, a head on a dark background. "
        f"At most {service.maximum_files} files of {service.maximum_megabytes} MB, and "
        f"{service.maximum_slices} slices.",
    )
    listing = st.container(key="listing")
    with st.container(key="patient"):
        name = st.text_input(
            "Patient (optional)",
            key=f"patient-{turn}",
            max_chars=120,
            autocomplete="off",
            placeholder="Name or identifier",
        )
        scanned = st.date_input(
            "Scan date (optional)",
            value=None,
            key=f"date-{turn}",
            min_value=date(1970, 1, 1),
            max_value=date.today(),
            format="YYYY-MM-DD",
        )
    with listing:
        uploads = _answered(st, service, files)
    return _arranged(st.session_state, uploads), Patient(name.strip(), scanned), listing


def _arranged(state: Any, uploads: dict[str, Upload]) -> Arrangement:
    """The slices in order; put in order anew only where there are others."""
    there = [(file_id, len(upload.shown)) for file_id, upload in uploads.items()]
    if state.get("there") != there:
        state.there, state.arranged = there, arrange(uploads.values())
    arranged: Arrangement = state.arranged
    return arranged


def _answered(st: Any, service: Service, files: Sequence[Any]) -> dict[str, Upload]:
    """Classify what is new, for a while; the rest is left for the next run."""
    state = st.session_state
    known: dict[str, Upload] = state.get("uploads", {})
    uploads = {file.file_id: known[file.file_id] for file in files if file.file_id in known}
    # Held by the session from the start: where a visitor's input interrupts this, nothing is done twice.
    state.uploads, state.given = uploads, len(files)
    waiting = [file for file in files if file.file_id not in uploads or not uploads[file.file_id].done]
    if not waiting:
        return uploads
    bar = st.progress(*_progress(uploads, len(files)))
    until = time.monotonic() + BATCH_S
    for file in waiting:
        if file.file_id not in uploads:
            uploads[file.file_id] = _given(file, service, uploads.values())
        upload = uploads[file.file_id]
        while not upload.done and time.monotonic() < until:
            upload.answer(service.classifier)
            bar.progress(*_progress(uploads, len(files)))
        if time.monotonic() > until:
            break
    if _complete(state):
        bar.empty()
    return uploads


def _complete(state: Any) -> bool:
    """Whether every slice is answered."""
    uploads: dict[str, Upload] = state.uploads
    return len(uploads) == state.given and all(upload.done for upload in uploads.values())


def _given(file: Any, service: Service, before: Collection[Upload]) -> Upload:
    if len(before) >= service.maximum_files:
        most = service.maximum_files
        return refused(
            file.name, UnreadableImage(f"{file.name}: not read: at most {most} files are read at a time")
        )
    room = service.maximum_slices - sum(upload.frames for upload in before)
    return given(file.name, file.getvalue(), service, room=room)


def _progress(uploads: dict[str, Upload], files: int) -> tuple[float, str]:
    """How far it is, 0..1 and in words; a file that is not looked at yet counts as one slice."""
    done = sum(len(upload.shown) for upload in uploads.values())
    total = sum(upload.frames for upload in uploads.values()) + files - len(uploads)
    return done / total, f"{done} of {total} slices read"


def _choose(st: Any, place: Any, arranged: Arrangement) -> ShownSlice | None:
    """The list of slices, and the one the visitor looks at: what carries the answer, until they choose."""
    shown = arranged.shown
    if len(shown) < 2:
        return shown[0] if shown else None
    state = st.session_state
    key = f"chosen-{state.turn}"
    if not state.get(f"{key}-by-hand") or state.get(key, 0) >= len(shown):
        state[key] = arranged.first
    called = numbers(arranged.study, len(shown))
    with place, st.container(key="list", height=min(LIST_PX, ROW_PX * len(shown) + 60), border=True):
        index: int = st.radio(
            "Slice to look at",
            range(len(shown)),
            key=key,
            format_func=lambda i: _line(called[i], shown[i]),
            on_change=state.__setitem__,
            args=(f"{key}-by-hand", True),
        )
    return shown[index]


def _line(number: str, shown: ShownSlice) -> str:
    """A slice in the list, in Streamlit's Markdown."""
    what = kind(shown.decision)
    confidence = None if isinstance(shown.result, Failure) else shown.result.confidence
    share = "" if confidence is None else f", {percent(confidence)}"
    sign = f":{COLOURS[what]}[{SIGNS[what]}]" if what in COLOURS else f"**{SIGNS[what]}**"
    return f"{number} · {sign} **{NAMES[shown.decision]}**{share} · {_plain(shown.name)}"


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def _look(st: Any, chosen: ShownSlice | None) -> None:
    """The slice, and its heatmap."""
    if chosen is None or chosen.pixels is None:
        words = "" if chosen is None else NOT_SHOWN[chosen.decision]
        st.html(render("screen.html", address="", words=words))
        return
    place = st.empty()
    opacity = 0.0
    if chosen.located:
        with st.container(key="tools", horizontal=True, vertical_alignment="bottom"):
            visible = st.toggle("Heatmap", value=True, key="heatmap")
            percents = st.slider("Opacity", 10, 100, round(100 * OPACITY), 5, format="%d %%", key="opacity")
        st.html(render("legend.html"))
        opacity = percents / 100 if visible else 0.0
    picture = chosen.picture(opacity)
    assert picture is not None  # noqa: S101 - our own invariant: there are pixels
    found = chosen.highest() if opacity else ""
    words = f"The slice, {picture.width} by {picture.height} pixels. {found}".strip()
    place.html(render("screen.html", address=fragments.image(picture), words=words))


def _read(st: Any, service: Service, chosen: ShownSlice | None) -> None:
    """What Falx says about the slice."""
    with st.container(key="answer"):
        card = service.classifier.card
        if chosen is None:
            st.html(render("nothing.html"))
        else:
            html = render("verdict.html:verdict", answer=fragments.answer(chosen), level=2, colours=DARK)
            st.html(html + render("verdict.html:cautions", found=chosen.cautions))
            bars = fragments.bars(chosen, card.thresholds)
            if bars:
                with st.expander("All probabilities", expanded=True):
                    st.html(render("verdict.html:probabilities", rows=bars))
        with st.expander("How Falx decides", expanded=chosen is None):
            st.html(render("how.html", thresholds=listed(card.thresholds)))
        st.html(render("model.html", model=card, thresholds=listed(card.thresholds)))


def _study(st: Any, shown: Sequence[ShownSlice], study: Study) -> None:
    """What the slices come to together."""
    st.html(render("verdict.html:verdict", answer=fragments.study_answer(study), level=2, colours=DARK))
    with st.expander("All slices in a table"):
        rows = fragments.rows(shown, study)
        st.html(render("verdict.html:slices", rows=rows, caption=TABLE_CAPTION))


def _save(st: Any, service: Service, saved: Saved | None) -> None:
    """What the visitor takes away, if it may be saved, and the way to the next patient."""
    with st.container(key="save"):
        if saved is not None:
            st.html("<h2>Save</h2>")
            with st.container(horizontal=True, gap="small"):
                for kind_of_file in downloads.FILES:
                    st.download_button(
                        kind_of_file.label,
                        data=lambda made=kind_of_file.make: made(saved),
                        file_name=kind_of_file.name,
                        mime=kind_of_file.mime,
                        on_click="ignore",
                        help=kind_of_file.help,
                    )
        st.button(
            "Next patient",
            key="next",
            on_click=_forget,
            args=(st, service),
            help="Forgets slices and patient.",
        )


def _forget(st: Any, service: Service) -> None:
    # Streamlit drops the files with their field; nothing asks for them to be deleted.
    service.uploads.forget(st.runtime.scriptrunner.get_script_run_ctx().session_id)
    state = st.session_state
    turn = state.turn
    state.clear()
    state.turn = turn + 1
