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

BREAKDOWNS: Final = {
    "by_source": "collection",
    "by_sequence": "sequence",
    "by_plane": "plane",
    "by_level": "level",
    "by_source_and_sequence": "collection and sequence",
}


def render(metrics: Document, data: str, plots: Mapping[str, str], errors: Sequence[Section]) -> str:
    """Returns the page, for the document of `metrics.json`, plots as `data:` URIs by name, and the worst
    errors with pictures; none of these are shown where there are none.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for name in ("ceiling", "decimal", "decimal_range", "percent", "percent_range", "signed"):
        environment.filters[name] = getattr(numbers, name)
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
