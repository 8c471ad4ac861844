"""What can be saved: PDF and a page for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from falx.app import fragments
from falx.app.arrangement import numbers
from falx.app.fragments import render
from falx.app.saved import TABLE_CAPTION, Saved, listed, table
from falx.app.uploads import ShownSlice
from falx.pictures.overlay import OPACITY
from falx.words import DISCLAIMER, LABELS

__all__ = [
    "FILES",
    "File",
    "as_csv",
    "as_html",
    "as_json",
    "as_pdf",
    "pictures",
]

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a cell of a spreadsheet must not begin with: a file name could be a formula (CWE-1236)."""


@dataclass(frozen=True, slots=True)
class File:
    """A kind of file that can be saved.

    Attributes:
        label: of its button.
        name: of the file: the same for all patients, since names of files are seen by others.
        mime: its media type.
        help: what it is for, a sentence.
        make: its content.
    """

    label: str
    name: str
    mime: str
    help: str
    make: Callable[[Saved], bytes]


def as_json(saved: Saved) -> bytes:
    """The study, or the one slice, as `falx.study` and `falx.prediction` describe it; without the patient."""
    document = saved.shown[0].result.to_dict() if saved.study is None else saved.study.to_dict()
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def as_csv(saved: Saved) -> bytes:
    """A line a slice, as UTF-8 with the mark by which spreadsheets know it; without the patient."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    probabilities = [f"p_{label}" for label in LABELS]
    first = ("path", "frame", "slice", "decision", "confidence", "band")
    last = ("reason", "error", "recommendation", "model", "model_version", "model_sha256")
    writer.writerow([*first, *probabilities, *last])
    model = saved.classifier.model
    called = numbers(saved.study, len(saved.shown))
    for shown, number in zip(saved.shown, called, strict=True):
        found = shown.result.to_dict()
        shares = found.get("probabilities") or {}
        row = [
            shown.file,
            shown.frame,
            number,
            found.get("decision"),
            found.get("confidence"),
            found.get("band"),
            *(shares.get(label) for label in LABELS),
            found.get("reason", {}).get("code"),
            found.get("error", {}).get("message"),
            found.get("recommendation"),
            model.name,
            model.version,
            model.sha256,
        ]
        writer.writerow([_harmless(cell) for cell in row])
    return stream.getvalue().encode("utf-8-sig")


def as_html(saved: Saved) -> bytes:
    """One page with everything in it, to keep, to send on paper and to print."""
    card = saved.classifier.card
    return render(
        "report.html",
        patient=saved.patient,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        study=None if saved.study is None else fragments.study_answer(saved.study),
        rows=table(saved),
        caption=TABLE_CAPTION,
        slices=[
            {
                "answer": fragments.answer(one),
                "cautions": one.cautions,
                "bars": fragments.bars(one, card.thresholds),
                "pictures": pictures(one),
            }
            for one in saved.shown
        ],
        model=card,
        sha256=saved.classifier.model.sha256,
        thresholds=listed(card.thresholds),
        disclaimer=DISCLAIMER,
    ).encode()


def as_pdf(saved: Saved) -> bytes:
    """The same for paper, on A4."""
    from falx.app.pdf import make

    return make(saved)


FILES: Final = (
    File("PDF", "falx-report.pdf", "application/pdf", "A report to print or to file.", as_pdf),
    File("Page", "falx-report.html", "text/html", "The report as one HTML page, to keep or print.", as_html),
    File("JSON", "falx-results.json", "application/json", "For programs; without the patient.", as_json),
    File("CSV", "falx-results.csv", "text/csv", "For spreadsheets; without the patient.", as_csv),
)
"""What can be saved, in the order of the buttons."""


def pictures(shown: ShownSlice) -> list[dict[str, str]]:
    """The slice as it is, and with its heatmap, as far as there are: address and description each."""
    if shown.pixels is None:
        return []
    plain = shown.picture(0)
    found = [{"address": fragments.image(plain), "words": "The slice."}] if plain else []
    mapped = shown.picture(OPACITY) if shown.located else None
    if mapped:
        found.append({"address": fragments.image(mapped), "words": shown.highest()})
    return found


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
