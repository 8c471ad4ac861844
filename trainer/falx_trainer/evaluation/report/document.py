"""The page: one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

import jinja2

from falx.words import DECISIONS, DISCLAIMER, LABELS, REJECTED
from falx_trainer.evaluation.bootstrap import RESAMPLES
from falx_trainer.evaluation.measures import Document
from falx_trainer.evaluation.report import numbers
from falx_trainer.evaluation.report.numbers import NAMES
from falx_trainer.evaluation.report.worst import Section

__all__ = ["render"]

BREAKDOWNS: Final = {
    "by_source": "collection",
    "by_sequence": "sequence",
    "by_plane": "plane",
    "by_level": "level",
    "by_source_and_sequence": "collection and sequence",
}


def render(metrics: Document, data: str, plots: Mapping[str, str], errors: Sequence[Section]) -> str:
    """Returns the page.

    Args:
        metrics: the document of `metrics.json`.
        data: what the data are called.
        plots: `data:` URIs by name.
        errors: the worst, with pictures; empty to show none.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {name: getattr(numbers, name) for name in numbers.__all__ if name.islower()}
    here = files(__package__)
    template = environment.from_string((here / "page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        m=metrics,
        all=metrics["all"],
        data=data,
        plots=plots,
        errors=errors,
        style=(here / "page.css").read_text(encoding="utf-8"),
        names=NAMES,
        labels=LABELS,
        decisions=DECISIONS,
        label_columns=[*LABELS, REJECTED],
        breakdowns={by: title for by, title in BREAKDOWNS.items() if len(metrics[by]) > 1},
        disclaimer=DISCLAIMER,
        resamples=RESAMPLES,
    )
