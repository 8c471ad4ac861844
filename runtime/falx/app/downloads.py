"""The files that can be saved: PDF and a web page for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from falx.app import fragments, pdf
from falx.app.fragments import Saved, render
from falx.words import LABELS

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A cell of a spreadsheet must not begin with these: a file name could be a formula (CWE-1236)."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file that can be saved. Its name is the same for all patients: others see names of files."""

    name: str
    mime: str
    make: Callable[[Saved], bytes]


def as_json(saved: Saved) -> bytes:
    """Returns the answers as JSON, without the patient.

    The study, or the one slice, as `falx.study` and `falx.prediction` describe it; a list of these where
    there are several pictures that belong to no study.
    """
    arranged = saved.arranged
    alone = [one for group in arranged.groups if group.study is None for one in group.slices]
    documents = [study.to_dict() for study in arranged.studies]
    documents += [one.result.to_dict() for one in alone if one.not_used is None]
    document = documents[0] if len(documents) == 1 else documents
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def as_csv(saved: Saved) -> bytes:
    """Returns a line a slice as UTF-8, with the mark by which spreadsheets know it; without the patient."""
    model, thresholds = saved.service.classifier.model, saved.service.thresholds
    rows = []
    for shown, number in zip(saved.arranged.shown, saved.arranged.numbers, strict=True):
        found = {} if shown.not_used else shown.result.to_dict()
        shares = found.get("probabilities") or {}
        row = {
            "path": shown.file,
            "frame": shown.frame,
            "slice": number,
            "decision": shown.decision if shown.not_used else found.get("decision"),
            "confidence": found.get("confidence"),
            "band": found.get("band"),
            **{f"p_{label}": shares.get(label) for label in LABELS},
            **{f"threshold_{label}": thresholds[label] for label in LABELS},
            "reason": shown.not_used or found.get("reason", {}).get("code"),
            "error": found.get("error", {}).get("message"),
            "recommendation": found.get("recommendation"),
            "model": model.name,
            "model_version": model.version,
            "model_sha256": model.sha256,
        }
        rows.append({name: _harmless(cell) for name, cell in row.items()})
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode("utf-8-sig")


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def as_html(saved: Saved) -> bytes:
    """Returns one page with everything in it, to keep and to print."""
    service, arranged = saved.service, saved.arranged
    own = service.classifier.card.thresholds
    return render(
        "report.html",
        saved=saved,
        studies=fragments.study_statements(arranged),
        rows=fragments.rows(arranged) if len(arranged.shown) > 1 else [],
        slices=[
            {
                "statement": fragments.slice_statement(one),
                "cautions": one.cautions,
                "bars": fragments.bars(one, service.thresholds, own),
                "pictures": [fragments.image(picture) for picture in one.pictures()],
                "words": one.strongest(),
            }
            for one in arranged.shown
            if one.not_used is None
        ],
        limits=fragments.limits(service.thresholds, own),
    ).encode()


FILES: Final = {
    "pdf": FileKind("falx-report.pdf", "application/pdf", pdf.make),
    "html": FileKind("falx-report.html", "text/html", as_html),
    "json": FileKind("falx-results.json", "application/json", as_json),
    "csv": FileKind("falx-results.csv", "text/csv", as_csv),
}
"""The kinds of file, in the order of their buttons; `texts.FILES` has their labels."""
