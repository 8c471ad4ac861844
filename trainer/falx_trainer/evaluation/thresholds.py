"""Thresholds from an evaluation: for a stated sensitivity, and where Youden's index is greatest."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from falx.decision import Thresholds, decide
from falx.words import LABELS, NO_TUMOR
from falx_trainer.evaluation.bootstrap import PERCENTILES, Mask
from falx_trainer.evaluation.measures import AnswerArrays, Document, Pairs, shares
from falx_trainer.training.calibration import least_threshold

FEWEST_GROUPS: Final = 30
"""With fewer groups of a kind a threshold says more about these patients than about others: our own limit."""

WIDEST: Final = 0.2
"""A threshold whose interval is wider is not fixed by the data: our own limit too."""


def choose(pairs: Pairs, current: Thresholds, sensitivity: float) -> Document:
    """Chooses thresholds, with the counts behind them and what would be decided by them.

    Args:
        pairs: labelled slices and what the model says of them.
        current: the model's own thresholds, which stay where the data choose none.
        sensitivity: the share of tumours, 0..1, that must not be decided `no_tumor`.

    Returns:
        JSON-ready: `thresholds`, those of the stated sensitivity; `choices`, with `current`, `sensitivity`
        and `youden`, each with its `thresholds` and the `measured` shares; and `warnings`, sentences. All
        is measured on the slices that chose it, so other slices do a little worse.
    """
    sample = AnswerArrays.of(pairs)
    warnings: list[str] = []
    stated, found = _for_sensitivity(sample, current, sensitivity, warnings)
    youden = {label: _youden(sample, label, warnings) for label in LABELS}
    balanced = {
        label: current[label] if chosen is None else chosen["threshold"] for label, chosen in youden.items()
    }
    choices: Document = {
        "current": {"thresholds": current.to_dict()},
        "sensitivity": {"stated": sensitivity, "thresholds": stated, NO_TUMOR: found},
        "youden": {"thresholds": balanced, "classes": youden},
    }
    for choice in choices.values():
        choice["measured"] = _measured(pairs, choice["thresholds"])
    _warn_missed(choices, warnings)
    return {"thresholds": stated, "choices": choices, "warnings": warnings}


def _for_sensitivity(
    sample: AnswerArrays, current: Thresholds, sensitivity: float, warnings: list[str]
) -> tuple[dict[str, float], Document | None]:
    """Returns the threshold of `no_tumor` that misses no more tumours than stated; the others stay."""
    stated = current.to_dict()
    if not sample.tumor.any():
        warnings.append("No slice has a tumour, so no threshold keeps a sensitivity; no_tumor stays.")
        return stated, None
    # What is rejected is not missed, whatever the threshold.
    scores = np.where(sample.answered, sample.probabilities[:, 0], 0.0)
    tumors = scores[sample.tumor]
    threshold = least_threshold(tumors, 1 - sensitivity, 0)
    groups = _groups(sample, sample.tumor)
    needed = math.ceil(3 / (1 - sensitivity) - 1e-9) if sensitivity < 1 else None
    interval = _interval(
        sample.groups.highest_allowed(scores, sample.tumor, 1 - sensitivity), groups, just_above=True
    )
    if needed is None:
        warnings.append("No number of slices shows that no tumour at all is missed.")
    elif groups < needed:
        warnings.append(
            f"Too few for a sensitivity of {_percent(sensitivity)}: with none missed it takes {needed:,} "
            f"patients (or other groups) with a tumour to show it, by the rule of three; here are {groups:,}."
        )
    if _wide(interval):
        warnings.append(f"The threshold for it is not fixed by these data{_drawn_again(interval)}.")
    missed = int((tumors >= threshold).sum())
    return stated | {NO_TUMOR: threshold}, {
        "threshold": threshold,
        "interval": interval,
        "reached": 1 - missed / len(tumors),
        "tumors": len(tumors),
        "tumor_groups": groups,
        "missed": missed,
        "groups_needed": needed,
    }


def _youden(sample: AnswerArrays, label: str, warnings: list[str]) -> Document | None:
    """Returns the threshold of a label with the greatest sensitivity + specificity - 1; None where it cannot
    be.

    Youden 1950, doi 10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3. For `no_tumor` untyped
    tumours count among the others; for the tumours they may be of the label, and count nowhere.
    """
    counted = sample.answered if label == NO_TUMOR else sample.answered & sample.typed
    positive = sample.labels == label
    hits, others = counted & positive, counted & ~positive
    if not hits.any() or not others.any():
        kind = "other slices" if hits.any() else "slices"
        warnings.append(f"No {kind} of {label}, so Youden's index chooses no threshold; {label} stays.")
        return None
    scores = sample.score(label)
    levels = np.unique(scores[counted])
    # Of equal ones the highest, as in the resamples.
    gains = _shares_above(scores[hits], levels) - _shares_above(scores[others], levels)
    best = len(levels) - 1 - int(gains[::-1].argmax())
    # At the lowest level all are called so, and the index is 0.
    if gains[best] <= 0:
        warnings.append(f"No threshold of {label} is better than chance by Youden's index; {label} stays.")
        return None
    threshold = between(float(levels[best - 1]), float(levels[best]))
    hit_groups, other_groups = _groups(sample, hits), _groups(sample, others)
    drawn = sample.groups.youden(scores, positive, counted)
    interval = _interval(_between_levels(drawn, levels), min(hit_groups, other_groups))
    if min(hit_groups, other_groups) < FEWEST_GROUPS or _wide(interval):
        warnings.append(
            f"The threshold of {label} by Youden's index is not fixed by these data: {hit_groups:,} patients "
            f"(or other groups) with it and {other_groups:,} without{_drawn_again(interval)}."
        )
    found, cleared = (scores[hits] >= threshold).mean(), (scores[others] < threshold).mean()
    return {
        "threshold": threshold,
        "interval": interval,
        "index": float(found + cleared - 1),
        "sensitivity": float(found),
        "specificity": float(cleared),
        "slices": int(hits.sum()),
        "groups": hit_groups,
        "other_slices": int(others.sum()),
        "other_groups": other_groups,
    }


def between(low: float, high: float) -> float:
    """Returns the number with the fewest decimals, from two on, that is above `low` and at most `high`."""
    for decimals in range(2, 17):
        step = 10.0**-decimals
        value = round(math.floor((low + high) / 2 / step + 0.5) * step, decimals)
        if low < value <= high:
            return value
    return high


def _between_levels(
    samples: npt.NDArray[np.floating], levels: npt.NDArray[np.float64]
) -> npt.NDArray[np.floating]:
    """Returns for each sample the number that stands for its level, as the threshold does for its own.
    Without this an interval need not hold its threshold.
    """
    lower = np.concatenate([levels[:1], levels[:-1]])
    standing = np.array([between(float(low), float(high)) for low, high in zip(lower, levels, strict=True)])
    found = np.minimum(np.searchsorted(levels, samples), len(levels) - 1)
    return np.where(np.isfinite(samples), standing[found], np.nan)


def _measured(pairs: Pairs, thresholds: Mapping[str, float]) -> Document:
    chosen = Thresholds.from_mapping(thresholds)
    decided = [
        (
            record,
            answer
            if answer.probabilities is None
            else dataclasses.replace(answer, decision=decide(answer.probabilities, chosen)),
        )
        for record, answer in pairs
    ]
    names = ("missed", "cleared", "decided", "right_of_decided", "ambiguous")
    found = shares(decided)
    return {name: found[name] for name in names}


def _shares_above(
    scores: npt.NDArray[np.float64], levels: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.asarray(1 - np.searchsorted(np.sort(scores), levels, side="left") / len(scores))


def _groups(sample: AnswerArrays, of: Mask) -> int:
    return len(np.unique(sample.groups.member[of]))


def _interval(
    samples: npt.NDArray[np.floating], groups: int, *, just_above: bool = False
) -> list[float] | None:
    """Returns the interval of a threshold; None where one group alone tells nothing of others."""
    known = samples[np.isfinite(samples)]
    if groups < 2 or not len(known):
        return None
    if just_above:
        known = np.floor(known * 100 + 1) / 100
    low, high = np.quantile(known, PERCENTILES)
    return [float(low), min(float(high), 1.0)]


def _wide(interval: list[float] | None) -> bool:
    return interval is not None and interval[1] - interval[0] > WIDEST


def _drawn_again(interval: list[float] | None) -> str:
    if interval is None:
        return ""
    return f"; drawn again, they put it between {interval[0]:.2f} and {interval[1]:.2f}"


def _warn_missed(choices: Document, warnings: list[str]) -> None:
    now, then = (choices[name]["measured"]["missed"] for name in ("current", "youden"))
    if now is not None and then[0] > now[0]:
        warnings.append(
            "Youden's index counts a missed tumour and a false alarm as equally bad: by its thresholds "
            f"{_percent(then[0])} of the tumours here are decided no_tumor, now {_percent(now[0])}."
        )


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"
