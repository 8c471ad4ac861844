"""The page, one HTML file that needs no other, and the card of a model of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import jinja2

from falx.words import DECISIONS, DISCLAIMER, LABELS, REJECTED
from falx_trainer.evaluation.bootstrap import RESAMPLES
from falx_trainer.evaluation.measures import Document
from falx_trainer.evaluation.report import numbers
from falx_trainer.evaluation.report.numbers import NAMES
from falx_trainer.evaluation.report.worst import Section

HERE: Final = Path(__file__).parent

BREAKDOWNS: Final = {
    "by_source": "collection",
    "by_sequence": "sequence",
    "by_plane": "plane",
    "by_level": "level",
    "by_source_and_sequence": "collection and sequence",
}


CARD_ROWS: Final = {
    "missed": "**tumours decided no tumour**",
    "cleared": "healthy slices decided no tumour",
    "decided": "decided, neither ambiguous nor rejected",
    "right_of_decided": "right, of those decided",
    "peak_in_box": "the heatmap of a tumour is highest inside the tumour's box",
}
"""The measures that the card shows, in their order; those that the data cannot give are left out."""


def render(metrics: Document, data: str, plots: Mapping[str, str], errors: Sequence[Section]) -> str:
    """Returns the page of the document of `metrics.json`, plots as `data:` URIs, and the worst errors."""
    return _template("page.html.jinja").render(
        m=metrics,
        all=metrics["all"],
        data=data,
        plots=plots,
        errors=errors,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        names=NAMES,
        labels=LABELS,
        decisions=DECISIONS,
        label_columns=[*LABELS, REJECTED],
        breakdowns=_breakdowns(metrics),
        disclaimer=DISCLAIMER,
        resamples=RESAMPLES,
    )


def card(metrics: Document, data: str, thresholds: Mapping[str, float]) -> str:
    """Returns the card as Markdown: what the model is for, how good it is, and what it is not for.

    It is of the document of `metrics.json`, the data's name, and the thresholds that the model decided by.
    """
    return _template("card.md.jinja").render(
        m={"pictures": None, **metrics},
        data=data,
        names=NAMES,
        thresholds={label: f"{value:g}" for label, value in thresholds.items()},
        rows=CARD_ROWS,
        breakdowns=_breakdowns(metrics),
        disclaimer=DISCLAIMER,
    )


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for shown in ("ceiling", "decimal", "decimal_range", "percent", "percent_range", "signed"):
        environment.filters[shown] = getattr(numbers, shown)
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:].rstrip(".")
    return environment.get_template(name)


def _breakdowns(metrics: Document) -> dict[str, str]:
    return {by: title for by, title in BREAKDOWNS.items() if len(metrics.get(by, ())) > 1}
