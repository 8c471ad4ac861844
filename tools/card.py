"""Fills the results of a released model into its card and into the README.

    python -m tools.card models/NAME

The tables come from `models/NAME/metrics.json`, as `tools.targets` wrote it, and go between the lines
`<!-- results -->` and `<!-- end of results -->` of `MODEL_CARD.md` and, where it is the model in the wheel,
of `README.md`. Everything outside them is written by hand. With `--check` nothing is written, and the exit
status says whether it is all as it would be.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import figures
from tools.targets import found, rows

from falx.model import file as model_file
from falx.model.file import DEFAULT_MODEL
from falx.words import DECISIONS, REJECTED, percent

Metrics = Mapping[str, Any]

SHARES: Final = ("accuracy", "decided", "right_of_decided", "missed", "cleared", "rejected", "peak_in_box")

BREAKDOWNS: Final = {
    "by_source": "By collection",
    "by_sequence": "By sequence",
    "by_plane": "By plane",
    "by_level": "By level of the head",
    "by_label": "By class",
    "by_source_and_sequence": "By collection and sequence",
}

PLOTS: Final = {
    "decisions.png": "Decisions by label",
    "calibration.png": "How often a confidence is right",
    "risk_coverage.png": "The share wrong, by the share answered",
    "heatmaps.png": "Heatmaps of tumours with their boxes, taken at equal steps through all",
}
"""In `models/NAME`, as `evaluate` draws them, in the order of the card."""

README_ROWS: Final = {
    "**tumours decided `no_tumor`**": ("all", "missed"),
    "healthy slices decided `no_tumor`": ("all", "cleared"),
    "healthy slices decided to be a tumour": ("all", "false_alarm"),
    "right, of those decided": ("all", "right_of_decided"),
    "the heatmap of a tumour is highest inside the tumour's box": ("all", "peak_in_box"),
    "pictures that are not brain MRI: `rejected`": ("pictures", "all", "rejected"),
}
"""The rows of the README's table, and where each stands in the metrics; the card has the others."""

LEGEND: Final = """\
- *accuracy*: the likeliest label is right, over the slices with one of the four labels
- *decided*: not `ambiguous` or `rejected`, over the same slices
- *right of decided*: the decision is the label
- *missed*: tumours decided `no_tumor`; *cleared*: healthy slices decided `no_tumor`
- *peak in box*: the heatmap of a tumour decided as such is highest inside a box of the tumour"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fills the pages; returns 0, or 1 where `--check` finds another text, or 2 without such a model."""
    parser = argparse.ArgumentParser("tools.card", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("model", type=Path, help="the folder models/NAME")
    parser.add_argument("--readme", type=Path, default=figures.CHECKOUT / "README.md", help="the checkout's")
    parser.add_argument("--check", action="store_true", help="write nothing; say what would change")
    options = parser.parse_args(arguments)
    measured = options.model / "metrics.json"
    try:
        metrics = json.loads(measured.read_text(encoding="utf-8"))
        pages = {options.model / "MODEL_CARD.md": card_block(metrics, options.model)}
        if model_file.read(DEFAULT_MODEL)[0].name == metrics["model"]["name"]:
            pages[options.readme] = readme_block(metrics)
        filled = {page: fill(page, block) for page, block in pages.items()}
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    # As where it was written by an older Falx, which measured less.
    except (AttributeError, KeyError, TypeError) as error:
        lack = f"lacks {error}" if isinstance(error, KeyError) else f"holds something else: {error}"
        print(
            f"{parser.prog}: {measured}: expected what `python -m tools.targets` writes, {lack}; "
            f"measure again with `python -m tools.targets {options.model}/FILE --data DATA --split test "
            f"--out {options.model}`",
            file=sys.stderr,
        )
        return 2
    changed = [page for page, text in filled.items() if page.read_text(encoding="utf-8") != text]
    for page in changed:
        if not options.check:
            page.write_text(filled[page], encoding="utf-8")
        print(f"{page}: {'not as it would be' if options.check else 'filled'}")
    return 1 if changed and options.check else 0


def between(name: str) -> re.Pattern[str]:
    """Returns a pattern for the text between `<!-- NAME -->` and `<!-- end of NAME -->` of a page."""
    return re.compile(rf"(?<=^<!-- {name} -->\n).*?(?=^<!-- end of {name} -->$)", re.M | re.S)


def fill(page: Path, block: str, name: str = "results") -> str:
    """Returns the text of a page with a block, whole lines, between its marks.

    Raises:
        ValueError: it has no such marks, or more than one pair.
    """
    text = page.read_text(encoding="utf-8")
    pattern = between(name)
    found = len(pattern.findall(text))
    if found != 1:
        raise ValueError(
            f"{page}: expected one pair of lines <!-- {name} --> and <!-- end of {name} -->, found {found}"
        )
    return pattern.sub(lambda _: block, text)


def readme_block(metrics: Metrics) -> str:
    """Returns the results as the README gives them: a line a measure."""
    head = (
        f"{metrics['model']['name']} on {_slices(metrics)}. 95 % intervals, bootstrapped over patients or "
        "groups of near-duplicates; none of these groups is in training."
    )
    lines = [
        {
            "": what,
            "share": percent(share[0]),
            "interval": f"{percent(share[1])} to {percent(share[2])}",
            "slices": share[3],
        }
        for what, where in README_ROWS.items()
        if (share := found(metrics, where)) is not None
    ]
    return f"{head}\n\n{figures.table(lines)}\n"


def card_block(metrics: Metrics, folder: Path) -> str:
    """Returns the results as the model card gives them: targets, breakdowns, pictures, and plots."""
    parts = [f"{metrics['model']['file']}, on {_slices(metrics)}. {INTERVALS}"]
    parts += [
        "### Targets",
        figures.table(rows(metrics)),
        "### All",
        _measures({"all": metrics["all"]}),
        LEGEND,
    ]
    for name, title in BREAKDOWNS.items():
        if metrics.get(name):
            parts += [f"### {title}", _measures(metrics[name])]
    if "pictures" in metrics:
        parts += ["### Pictures that are not brain MRI", _pictures(metrics["pictures"])]
    parts += [f"![{title}]({name})" for name, title in PLOTS.items() if (folder / name).is_file()]
    return "\n\n".join(parts) + "\n"


INTERVALS: Final = (
    "In brackets, 95 % intervals bootstrapped over groups (patients, or near-duplicate images); where all or "
    "none were hit, the rule of three; where there is one group only, 0 to 100 %."
)


def _slices(metrics: Metrics) -> str:
    """Returns what was measured on, when, and on which processor."""
    split = "all splits" if metrics["split"] is None else f"the `{metrics['split']}` split"
    text = f"{split}: {metrics['all']['slices']:,} slices of {len(metrics['by_source'])} collections"
    measured = metrics.get("measured")
    if measured is None:
        return text
    return f"{text}, through the runtime, on {measured['on']} ({measured['processor']})"


def _measures(parts: Mapping[str, Any]) -> str:
    names = [name for name in SHARES if any(part[name] is not None for part in parts.values())]
    lines = [
        {"": title, "slices": part["slices"], **{name: _cell(part[name]) for name in names}}
        for title, part in parts.items()
    ]
    return figures.table(lines)


def _pictures(pictures: Mapping[str, Any]) -> str:
    lines = []
    for title, part in {"all": pictures["all"], **pictures["by_family"]}.items():
        made = [(name, part["decisions"][name]) for name in DECISIONS if name != REJECTED]
        others = ", ".join(f"{count} {name}" for name, count in made if count)
        row = {"": title, "pictures": part["pictures"], "rejected": _cell(part["rejected"])}
        lines.append(row | {"of the others, decided": others or "–"})
    return figures.table(lines)


def _cell(share: Sequence[float] | None) -> str:
    if share is None:
        return "–"
    value, low, high, _ = share
    return f"{percent(value)} [{percent(low)}, {percent(high)}]"


if __name__ == "__main__":
    sys.exit(main())
