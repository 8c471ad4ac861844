"""The page: what a visitor gives, what Falx says, what can be saved."""

from __future__ import annotations

import re
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from falx.app import fragments, report, settings
from falx.app.fragments import render
from falx.app.report import Patient, Saved
from falx.app.settings import Settings
from falx.app.signs import DARK
from falx.app.slices import Shown, answer, refused
from falx.app.words import NAMES, SIGNS, kind, percent
from falx.errors import UnreadableImage
from falx.overlay import OPACITY
from falx.prediction import Failure
from falx.study import Series, Study, sum_up
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


def show() -> None:
    """Run the page once for one visitor."""
    import streamlit as st

    try:
        _show(st, settings.current())
    except Exception as error:  # noqa: BLE001 - the last place to say it without quoting what may be a name
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        sys.stderr.write(f"falx app: {type(error).__name__} at {place}\n")
        st.error(
            f"Something went wrong on the server ({type(error).__name__} at {place}). Load the page again."
        )


def _show(st: Any, service: Settings) -> None:
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
        shown, patient, listing = _give(st, service)
    chosen = _choose(st, listing, shown)
    with look:
        _look(st, chosen)
    with read:
        _read(st, service, chosen)
    study = sum_up([Series(results=tuple(one.result for one in shown))]) if len(shown) > 1 else None
    if study is not None:
        with study_place:
            _study(st, shown, study)
    if shown:
        with give:
            _save(st, Saved(tuple(shown), study, patient, service.classifier))
    with st.container(key="disclaimer"):
        st.html(f'<p role="note">{DISCLAIMER}</p>')
    if len(st.session_state.answers) < st.session_state.given:
        st.rerun()


def _give(st: Any, service: Settings) -> tuple[list[Shown], Patient, Any]:
    """What the visitor gives: files, and whose they are; and the place for the list of these."""
    state = st.session_state
    turn = state.setdefault("turn", 0)
    files = st.file_uploader(
        "Drop slices here",
        accept_multiple_files=True,
        key=f"files-{turn}",
        max_upload_size=service.maximum_megabytes,
        help="PNG, JPEG, BMP, TIFF or DICOM: one grey slice a file, a head on a dark background. "
        f"At most {service.maximum_files} files of {service.maximum_megabytes} MB.",
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
        shown = _answers(st, service, files)
    return shown, Patient(name.strip(), scanned), listing


def _answers(st: Any, service: Settings, files: Sequence[Any]) -> list[Shown]:
    """Classify what is new, for a while; the rest is left for the next run."""
    state = st.session_state
    known: dict[str, Shown] = state.get("answers", {})
    kept = {file.file_id: known[file.file_id] for file in files if file.file_id in known}
    waiting = [file for file in files if file.file_id not in kept]
    # Held by the session from the start: where a visitor's input interrupts this, nothing is done twice.
    state.answers, state.given = kept, len(files)
    if waiting:
        bar = st.progress(len(kept) / len(files), text=_progress(len(kept), len(files)))
        until = time.monotonic() + BATCH_S
        for file in waiting:
            if len(kept) >= service.maximum_files:
                error = UnreadableImage(f"not read: at most {service.maximum_files} files are read at a time")
                kept[file.file_id] = refused(file.name, error)
            else:
                kept[file.file_id] = answer(file.name, file.getvalue(), service)
            bar.progress(len(kept) / len(files), text=_progress(len(kept), len(files)))
            if time.monotonic() > until:
                break
        if len(kept) == len(files):
            bar.empty()
    return sorted(kept.values(), key=lambda one: _natural(one.name))


def _progress(done: int, total: int) -> str:
    return f"{done} of {total} slices read"


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which `slice 10` comes after `slice 9`."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _choose(st: Any, place: Any, shown: Sequence[Shown]) -> Shown | None:
    """The list of slices, and the one the visitor looks at: the strongest evidence until they choose."""
    if len(shown) < 2:
        return shown[0] if shown else None
    state = st.session_state
    key = f"chosen-{state.turn}"
    strongest = max(range(len(shown)), key=lambda i: shown[i].evidence)
    if not state.get(f"{key}-by-hand") or state.get(key, 0) >= len(shown):
        state[key] = strongest
    with place, st.container(key="list", height=min(LIST_PX, ROW_PX * len(shown) + 60), border=True):
        number: int = st.radio(
            "Slice to look at",
            range(len(shown)),
            key=key,
            format_func=lambda i: _line(i, shown[i]),
            on_change=state.__setitem__,
            args=(f"{key}-by-hand", True),
        )
    return shown[number]


def _line(index: int, shown: Shown) -> str:
    """A slice in the list, in Streamlit's Markdown."""
    what = kind(shown.decision)
    confidence = None if isinstance(shown.result, Failure) else shown.result.confidence
    share = "" if confidence is None else f", {percent(confidence)}"
    sign = f":{COLOURS[what]}[{SIGNS[what]}]" if what in COLOURS else f"**{SIGNS[what]}**"
    return f"{index + 1} · {sign} **{NAMES[shown.decision]}**{share} · {_plain(shown.name)}"


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def _look(st: Any, chosen: Shown | None) -> None:
    """The slice, and its heatmap."""
    if chosen is None or chosen.pixels is None:
        st.html(render("screen.html", address="", words="" if chosen is None else NAMES["error"]))
        return
    place = st.empty()
    opacity = 0.0
    if chosen.heatmap is not None:
        with st.container(key="tools", horizontal=True, vertical_alignment="center"):
            visible = st.toggle("Heatmap", value=True, key="heatmap")
            percents = st.slider("Opacity", 10, 100, round(100 * OPACITY), 5, format="%d %%", key="opacity")
        st.html(render("legend.html"))
        opacity = percents / 100 if visible else 0.0
    picture = chosen.picture(opacity)
    assert picture is not None  # noqa: S101 - our own invariant: there are pixels
    found = chosen.highest() if opacity else ""
    words = f"The slice, {picture.width} by {picture.height} pixels. {found}".strip()
    place.html(render("screen.html", address=fragments.image(picture), words=words))


def _read(st: Any, service: Settings, chosen: Shown | None) -> None:
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
            st.html(render("how.html", thresholds=report.listed(card.thresholds)))
        st.html(render("model.html", model=card, thresholds=report.listed(card.thresholds)))


def _study(st: Any, shown: Sequence[Shown], study: Study) -> None:
    """What the slices come to together."""
    st.html(render("verdict.html:verdict", answer=fragments.study_answer(study), level=2, colours=DARK))
    with st.expander("All slices in a table"):
        rows = fragments.rows(shown, study.carriers)
        st.html(render("verdict.html:slices", rows=rows, caption=report.TABLE_CAPTION))


def _save(st: Any, saved: Saved) -> None:
    """What the visitor takes away, and the way to the next patient."""
    with st.container(key="save"):
        st.html("<h2>Save</h2>")
        with st.container(horizontal=True, gap="small"):
            for kind_of_file in report.FILES:
                st.download_button(
                    kind_of_file.label,
                    data=lambda made=kind_of_file.make: made(saved),
                    file_name=kind_of_file.name,
                    mime=kind_of_file.mime,
                    on_click="ignore",
                    help=kind_of_file.help,
                )
        st.button(
            "Next patient", key="next", on_click=_forget, args=(st,), help="Forgets slices and patient."
        )


def _forget(st: Any) -> None:
    state = st.session_state
    turn = state.turn
    state.clear()
    state.turn = turn + 1
