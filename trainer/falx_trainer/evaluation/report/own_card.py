"""The card of a model of one's own: one page on what it is for, how good it is, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

import jinja2

from falx.words import DISCLAIMER
from falx_trainer.evaluation.measures import Document
from falx_trainer.evaluation.report import numbers
from falx_trainer.evaluation.report.document import BREAKDOWNS
from falx_trainer.evaluation.report.numbers import NAMES

ROWS: Final = {
    "missed": "**tumours decided no tumour**",
    "cleared": "healthy slices decided no tumour",
    "decided": "decided, neither ambiguous nor rejected",
    "right_of_decided": "right, of those decided",
    "peak_in_box": "the heatmap of a tumour is highest inside the tumour's box",
}
"""The measures that the card shows, in their order; those that the data cannot give are left out."""


def card(metrics: Document, data: str, thresholds: Mapping[str, float]) -> str:
    """Returns the card as Markdown, for the document of `metrics.json`, the data's name, and the thresholds
    that the model decided by.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701 - Markdown
    environment.filters |= {
        "percent": numbers.percent,
        "percent_range": numbers.percent_range,
        "capitalize_first": lambda text: text[:1].upper() + text[1:].rstrip("."),
    }
    template = environment.from_string((files(__package__) / "card.md.jinja").read_text(encoding="utf-8"))
    return template.render(
        m={"pictures": None, **metrics},
        data=data,
        names=NAMES,
        thresholds={label: f"{value:g}" for label, value in thresholds.items()},
        rows=ROWS,
        breakdowns={by: title for by, title in BREAKDOWNS.items() if len(metrics.get(by, ())) > 1},
        disclaimer=DISCLAIMER,
    )
