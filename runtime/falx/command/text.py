"""Results, cards and pictures as text for people."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeGuard

import numpy as np
from PIL import Image

from falx import words
from falx.command.console import Table, pairs, paragraph, say, use_colour, width
from falx.prediction import Failure, Prediction
from falx.slices.reasons import REASONS, TAG_REASONS
from falx.words import DECISIONS, ERROR, STEPS, percent, plain

if TYPE_CHECKING:
    import numpy.typing as npt

    from falx.classifier import Classifier
    from falx.decision import Thresholds
    from falx.model.card import Card
    from falx.study import Study, Verdict
    from falx.timings import Timings

SHADES: Final = " .:-=+*#%@"
"""Letters from black to white, for pictures made of them."""

COLOURS: Final = {words.NO_TUMOR: "green", words.AMBIGUOUS: "yellow", words.REJECTED: "dim", ERROR: "red"}
"""The colours of decisions; a tumour's is `TUMOR_COLOUR`."""

TUMOR_COLOUR: Final = "red"
NONE: Final = "-"

DECISION_WIDTH: Final = len("meningioma")
REST_WIDTH: Final = 28
"""Columns that the confidence or a note has at least beside a long file name."""

STEP_WIDTH: Final = len("prepare")

MOST_ERRORS: Final = 5
"""The most different errors that the summary tells."""

MOST_UNREAD: Final = 10
"""The most inputs of a study that could not be read and are told; `falx study --json` has all."""

MAXIMUM_LEAVES: Final = 12
"""Lines that metrics, or provenance, of a shape unknown here may take; `falx info --json` has all."""

PROVENANCE: Final = ("preset", "seed", "trainer")
"""The parts of the provenance that are shown as they stand, beside the sources of the data."""


class Results:
    """One line for each answer, printed as they come, and a summary of them all.

    A line is never wider than the terminal. An answer has a note only where somebody must act; the summary
    says once what to do about each decision.
    """

    def __init__(
        self, names: Sequence[str], thresholds: Thresholds, card: Card, *, timings: bool = False
    ) -> None:
        """Prints the headings of a table of these inputs.

        Where the thresholds in force are not the card's, the summary says so. With `timings` a line tells the
        time of each step, in milliseconds, instead of the confidence.
        """
        self._thresholds = thresholds
        self._card = card
        self._timings = timings
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._whole: set[str] = set()
        self._times: list[float] = []
        self._steps: list[Timings] = []
        headings = [*(step.rjust(STEP_WIDTH) for step in STEPS), "ms in all"] if timings else ["confidence"]
        rest = 2 + len("  ".join(headings)) if timings else REST_WIDTH
        longest = max((len(plain(name)) for name in names), default=0)
        room = width() - 2 - DECISION_WIDTH - rest
        self._table = Table([max(len("file"), min(longest, room)), DECISION_WIDTH], sys.stdout)
        self._table.row(["file", "decision", "  ".join(headings)], "bold", 0)

    def add(self, result: Prediction | Failure, name: str | None = None) -> None:
        """Prints the line of an answer, under another name than the path of its input where one is given."""
        path = name or result.path or NONE
        if isinstance(result, Failure):
            self._counts[ERROR] += 1
            # Without the path before it, which has a column of its own.
            message = str(result.error)
            for known in (result.path or path, Path(result.path or path)):
                message = message.removeprefix(f"{known}: ")
            self._errors[message] += 1
            if self._table.row([path, ERROR, message], COLOURS[ERROR]):
                self._whole.add(message)
            return
        self._counts[result.decision] += 1
        self._times.append(result.elapsed_ms)
        if result.reason is not None:
            self._reasons[result.reason.code] += 1
        if self._timings:
            self._steps.append(result.timings)
            steps = [f"{spent:{STEP_WIDTH}.2f}" for spent in result.timings.to_dict().values()]
            last = "  ".join([*steps, f"{result.elapsed_ms:.2f}"])
        else:
            last = _note(result)
        self._table.row([path, result.decision, last], COLOURS.get(result.decision, TUMOR_COLOUR))

    def close(self, classifier: Classifier) -> None:
        """Prints how many there are of each, by which thresholds, and what to do about each."""
        counts = [f"{self._counts[name]} {name}" for name in (*DECISIONS, ERROR) if self._counts[name]]
        speed = f", median {_median(self._times):.1f} ms" if self._times else ""
        model = classifier.model
        say()
        say(paragraph(f"{', '.join(counts)}; {model.name} {model.version} on {classifier.engine}{speed}."))
        if self._steps:
            steps = zip(*(timings.to_dict().values() for timings in self._steps), strict=True)
            medians = (f"{step} {_median(spent):.2f}" for step, spent in zip(STEPS, steps, strict=True))
            say(paragraph(f"Medians, ms: {', '.join(medians)}."))
        if self._times:
            say(paragraph(f"Thresholds: {self._thresholds.beside(self._card.thresholds)}."))
        for decision in DECISIONS:
            if self._counts[decision]:
                say(paragraph(f"{decision}: {words.RECOMMENDATIONS[decision]}", "  "))
        for code in self._reasons:
            why = TAG_REASONS.get(code) or REASONS[code]
            say(paragraph(f"{words.REJECTED}, {code.replace('_', ' ')}: {why}", "  "))
        self._say_errors()
        say(paragraph(words.DISCLAIMER))

    def _say_errors(self) -> None:
        """Prints each error once, with how many inputs have it; not one that its line has told."""
        errors = Counter({text: n for text, n in self._errors.items() if n > 1 or text not in self._whole})
        for message, count in errors.most_common(MOST_ERRORS):
            say(paragraph(f"{ERROR}: {f'{count} inputs: ' if count > 1 else ''}{plain(message)}", "  "))
        if len(errors) > MOST_ERRORS:
            say(paragraph(f"{ERROR}: {len(errors) - MOST_ERRORS} other messages; --json prints each.", "  "))


def _median(values: Sequence[float]) -> float:
    # Not of `statistics`, which brings fractions, decimals and random numbers.
    ranked = sorted(values)
    half = len(ranked) // 2
    return (ranked[half] + ranked[-1 - half]) / 2


def study_text(study: Study) -> str:
    """Returns a study as text for people."""
    # Here: the other commands do not need it.
    from falx.study import CLEAR_MM, TUMOR, TUMOR_MM

    verdict = study.verdict
    rows = {
        "study": plain(study.path or NONE),
        "decision": _study_decision(verdict),
        "reason": verdict.reason,
    }
    if verdict.decision in (TUMOR, words.AMBIGUOUS) and verdict.strength_mm >= CLEAR_MM:
        # Rounded down, as the reason is.
        strength = math.floor(10 * verdict.strength_mm) / 10
        rows["strength"] = (
            f"{strength:g} mm: how far the region reaches through neighbouring slices, times how surely it "
            f"is marked. A tumour has {TUMOR_MM:g} mm or more, a clear study less than {CLEAR_MM:g} mm."
        )
    rows["recommendation"] = verdict.recommendation
    if study.notes:
        rows["notes"] = " ".join(study.notes)
    for number, one in enumerate(study.series, start=1):
        size = words.counted(len(one.results))
        own = f": {_study_decision(one.verdict)}. {one.verdict.reason}"
        # What a study of one series says, the series need not say again.
        about = f"{one.about.name or 'unknown'}, {size}{own if len(study.series) > 1 else '.'}"
        rows[f"series {number}"] = " ".join([about, *one.about.notes])
    for number, unused in enumerate(study.not_used, start=1):
        rows[f"not used {number}"] = f"{words.counted(unused.slices)}: {unused.reason.message}"
    counts = [f"{count} {name}" for name, count in verdict.counts.items()]
    rows["slices"] = ", ".join(counts) or "none"
    unread = [str(result.error) for result in study.results if isinstance(result, Failure)]
    for number, message in enumerate(unread[:MOST_UNREAD], start=1):
        rows[f"not read {number}"] = message
    if len(unread) > MOST_UNREAD:
        rows["not read"] = f"{len(unread) - MOST_UNREAD} more; --json names each"
    if study.model is not None:
        rows["model"] = f"{study.model.name} {study.model.version}, {study.elapsed_ms:.0f} ms"
    return f"{pairs(rows)}\n{paragraph(words.DISCLAIMER)}"


def _study_decision(verdict: Verdict) -> str:
    """Returns a decision with its label and confidence, as far as it has them."""
    parts = [verdict.decision]
    if verdict.confidence is not None:
        parts.append(f"{percent(verdict.confidence)} {verdict.band}")
    if verdict.label is not None:
        # The confidence is that of a tumour, not of its kind.
        parts.append(f"(likeliest {verdict.label})")
    return " ".join(parts)


def card_text(card: Card, name: str) -> str:
    """Returns a card as text for people."""
    earlier = "; ".join(_listed(setting.thresholds) for setting in card.history)
    rows = {
        "model": f"{card.name} {card.version}",
        "file": name,
        "licence": card.license,
        "intended use": card.intended_use,
        "disclaimer": card.disclaimer,
        "labels": ", ".join(card.labels),
        "thresholds": _listed(card.thresholds),
        **({"earlier thresholds": earlier} if earlier else {}),
        "heatmap": "yes" if card.has_heatmap else "no",
        "familiarity": f"rejected below {card.rejection.least_familiarity:g}"
        + (", heads without brain told apart" if "no_brain" in card.outputs else "")
        if card.has_familiarity
        else "no",
        "self-contained": "yes" if card.self_contained else "no",
        "preprocessing": f"{card.preprocessing['name']}, {card.preprocessing['height']} x "
        f"{card.preprocessing['width']}",
        "quantization": f"{card.quantization['format']}, {card.quantization['scheme']}",
        "temperature": f"{card.temperature:g}",
        **_metrics(card.metrics),
        **_provenance(card.provenance),
        "weights SHA-256": card.weights_sha256,
    }
    return pairs(rows)


def _listed(thresholds: Thresholds) -> str:
    return ", ".join(f"{label} {value:g}" for label, value in thresholds.to_dict().items())


def picture(pixels: npt.NDArray[np.uint8], columns: int) -> list[str]:
    """Returns a slice as lines of characters, each of which is twice as high as it is wide.

    Half blocks in two greys each where standard output shows colours, letters elsewhere.
    """
    height, across = pixels.shape
    rows = max(1, round(columns * height / across / 2))
    if use_colour(sys.stdout):
        halves = np.asarray(Image.fromarray(pixels).resize((columns, 2 * rows), Image.Resampling.BOX))
        return [_half_blocks(halves[row], halves[row + 1]) for row in range(0, 2 * rows, 2)]
    small = np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BOX))
    shades = np.frombuffer(SHADES.encode(), np.uint8)[small.astype(int) * len(SHADES) // 256]
    return [bytes(row).decode() for row in shades]


def _half_blocks(upper: npt.NDArray[np.uint8], lower: npt.NDArray[np.uint8]) -> str:
    cells = zip(upper.tolist(), lower.tolist(), strict=True)
    return (
        "".join(f"\x1b[38;2;{a};{a};{a};48;2;{b};{b};{b}m\N{UPPER HALF BLOCK}" for a, b in cells) + "\x1b[0m"
    )


def _note(result: Prediction) -> str:
    """Returns the confidence of a decision, or what is to be known where none was made."""
    if result.reason is not None:
        return result.reason.code.replace("_", " ")
    if result.confidence is None and result.probabilities is not None:
        ranked = sorted(result.probabilities.items(), key=lambda item: -item[1])[:2]
        return " or ".join(f"{label} {percent(p, 0)}" for label, p in ranked)
    return NONE if result.confidence is None else f"{percent(result.confidence)} {result.band}"


def _metrics(metrics: Mapping[str, object]) -> dict[str, str]:
    """Returns a line for every split that the trainer measured, and anything else by its path."""
    rows: dict[str, str] = {}
    unknown: dict[str, object] = {}
    for name, value in metrics.items():
        summary = _split(value) if isinstance(value, Mapping) else ""
        if summary:
            rows[f"metrics, {name}"] = summary
        else:
            unknown[name] = value
    return rows | _limited("metrics", unknown)


def _split(scores: Mapping[str, object]) -> str:
    """Returns accuracy, slices, AUC-ROC and recall of a split, if it has them; empty without accuracy."""
    accuracy = scores.get("accuracy")
    if not _is_number(accuracy):
        return ""
    parts = [f"accuracy {accuracy:.3f}"]
    if _is_number(scores.get("slices")):
        parts[0] += f" over {scores['slices']} slices"
    area = _at(scores, "auc_roc", "macro")
    if _is_number(area):
        parts.append(f"AUC-ROC {area:.3f}")
    recalls = {label: _at(scores, "report", label, "recall") for label in words.LABELS}
    known = [f"{label} {recall:.3f}" for label, recall in recalls.items() if _is_number(recall)]
    if known:
        parts.append(f"recall: {', '.join(known)}")
    return "; ".join(parts)


def _provenance(provenance: Mapping[str, object]) -> dict[str, str]:
    """Returns preset, seed, trainer and sources, or everything by its path where none of these is there."""
    parts = [f"{name} {provenance[name]}" for name in PROVENANCE if name in provenance]
    sources = _at(provenance, "data", "sources")
    rows = {"trained with": ", ".join(parts)} if parts else {}
    if isinstance(sources, Mapping) and sources:
        rows["trained on"] = ", ".join(f"{name} {count}" for name, count in sources.items())
    return rows or _limited("provenance", provenance)


def _at(values: object, *path: str) -> object:
    """Returns the value at a path in nested JSON; None where there is none."""
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _limited(prefix: str, values: Mapping[str, object]) -> dict[str, str]:
    """Returns the first leaves of nested JSON, each by its path, and how many more there are."""
    rows = _flat(prefix, values)
    if len(rows) <= MAXIMUM_LEAVES:
        return rows
    kept = dict(list(rows.items())[:MAXIMUM_LEAVES])
    return kept | {f"{prefix}, more": f"{len(rows) - MAXIMUM_LEAVES} values; --json prints all"}


def _flat(prefix: str, values: Mapping[str, object]) -> dict[str, str]:
    """Returns nested JSON as one text a leaf, by its path."""
    rows: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            rows.update(_flat(name, value))
        elif isinstance(value, list):
            rows[name] = ", ".join(map(str, value))
        else:
            rows[name] = f"{value:g}" if isinstance(value, float) else str(value)
    return rows
