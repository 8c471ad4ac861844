"""Chooses on `val`, after training, the thresholds and what turns logits into probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logsumexp, softmax

from falx.decision import DEFAULT_THRESHOLDS, Thresholds, decide
from falx.words import NO_TUMOR, TUMOR_LABELS
from falx_runs.arrays import Floats
from falx_runs.run_folder import Calibration

TEMPERATURE_RANGE: Final = (0.25, 8.0)
MOST_OFFSET: Final = 4.0
"""The offset is kept from running away where every slice of val is answered right."""

LEAST_NO_TUMOR: Final = 0.75
"""No slice is cleared at a lower probability, however well val goes: on other scanners' slices a
probability means less than on val's."""

MOST_TUMOR: Final = 0.75
"""No threshold of a tumour is raised further: a few odd healthy slices of val must not silence the model."""

MOST_REJECTED: Final = 0.005
"""Share of the val slices that may be rejected as unfamiliar. At most 1 % of real slices is aimed at; half
of that, since of other scanners it may be more."""

MOST_FAMILIARITY: Final = 0.95
"""No more is asked for, however sure of val's slices the model is. Without br35h, over three epochs and with
drawn outliers alone (28 November 2026), 0.95 rejected 96 % of pictures from packages, 0.6 % of val and 0.2 %
of br35h; one half rejected 88 % and none. What a model is shown in earnest is nearer to a head than drawn
outliers are."""


def probabilities(logits: Floats, fitted: Calibration) -> npt.NDArray[np.float64]:
    """Returns calibrated probabilities, `(N, 4)`, of the network's logits."""
    exact = logits.astype(np.float64)
    healthy = expit(_odds(exact) / fitted.temperature + fitted.offset)[:, None]
    kinds = softmax(exact[:, 1:] / fitted.kind_temperature, axis=1)
    return np.concatenate([healthy, (1 - healthy) * kinds], axis=1)


def fit(logits: Floats, targets: Floats) -> Calibration:
    """Returns the calibration of the least negative log-likelihood, its temperatures in 0.25..8.

    Whether there is a tumour and which are two questions, and a network can be too sure of one and not of the
    other. Temperatures: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599. The
    offset (Platt 1999) takes back what training does to the odds, where more tumours are drawn and made
    than there are. `logits` and `targets`, 1 for each label allowed, are `(N, 4)`.
    """
    exact = logits.astype(np.float64)
    odds, healthy = _odds(exact), targets[:, 0] > 0
    signed = np.where(healthy, 1.0, -1.0)

    def answer_loss(chosen: Floats) -> float:
        log_temperature, offset = chosen
        margins = signed * (odds * math.exp(-log_temperature) + offset)
        return float(np.logaddexp(0, -margins).mean())

    typed = (targets.sum(axis=1) == 1) & ~healthy
    kinds, right = exact[typed, 1:], targets[typed, 1:].argmax(axis=1)

    def kind_loss(log_temperature: float) -> float:
        log_p = log_softmax(kinds * math.exp(-log_temperature), axis=1)
        return -float(log_p[np.arange(len(right)), right].mean())

    low, high = map(math.log, TEMPERATURE_RANGE)
    answer = minimize(
        answer_loss, (0.0, 0.0), method="L-BFGS-B", bounds=[(low, high), (-MOST_OFFSET, MOST_OFFSET)]
    ).x
    kind = minimize_scalar(kind_loss, bounds=(low, high), method="bounded").x if typed.any() else 0.0
    return Calibration(math.exp(answer[0]), float(answer[1]), math.exp(kind))


def _odds(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the log-odds of no tumour against any, `(N,)`."""
    return np.asarray(logits[:, 0] - logsumexp(logits[:, 1:], axis=1))


def choose_thresholds(
    probabilities: Floats,
    tumor: npt.NDArray[np.bool_],
    healthy: npt.NDArray[np.bool_],
    *,
    most_missed: float,
    most_alarms: float,
) -> Thresholds:
    """Chooses the thresholds a model is released with.

    `no_tumor` is the lowest threshold, rounded up to a hundredth, at which at most the given share of tumours
    would be decided `no_tumor`. Those of the tumours are the built-in ones, raised to the lowest at which at
    most the given share of healthy slices would be decided a tumour.

    Args:
        probabilities: `(N, 4)`, calibrated.
        tumor: `(N,)`, the slices with a tumour that shows.
        healthy: `(N,)`, the slices without a tumour.
        most_missed: the largest share of the former that may be decided `no_tumor`, 0..1.
        most_alarms: the largest share of the latter that may be decided a tumour, 0..1.
    """
    chosen = DEFAULT_THRESHOLDS.to_dict()
    if tumor.any():
        chosen[NO_TUMOR] = least_threshold(probabilities[tumor, 0], most_missed, LEAST_NO_TUMOR)
    least = _least_tumor(probabilities[healthy], chosen, most_alarms)
    chosen |= {label: max(chosen[label], least) for label in TUMOR_LABELS}
    return Thresholds.from_mapping(chosen)


def _least_tumor(probabilities: Floats, thresholds: Mapping[str, float], most_alarms: float) -> float:
    """Returns the lowest threshold of tumours, in hundredths, that decides few enough healthy slices to be
    one, by the probabilities `(N, 4)` of the healthy slices.
    """
    chosen = Thresholds.from_mapping(thresholds)
    alarms = np.array([decide(row, chosen) in TUMOR_LABELS for row in probabilities], bool)
    likeliest = probabilities[:, 1:].max(axis=1)
    return min(MOST_TUMOR, least_threshold(np.where(alarms, likeliest, 0.0), most_alarms, 0.0))


def least_threshold(scores: Floats, most_reaching: float, lowest: float) -> float:
    """Returns the lowest threshold, rounded up to a hundredth, that few enough slices reach.

    Args:
        scores: `(N,)`, what is compared with it: the probability of `no_tumor` of each tumour, for one.
        most_reaching: the largest share of them that may reach it, 0..1.
        lowest: no threshold below it, 0..1, a hundredth.
    """
    ranked = np.sort(scores)[::-1]
    # The share times the number is a whole number where it should be, but for its binary fraction.
    allowed = math.floor(most_reaching * len(ranked) + 1e-9)
    # The slice of that rank must just not reach it.
    highest = float(ranked[allowed]) if allowed < len(ranked) else 0.0
    hundredths = (step / 100 for step in range(max(1, round(lowest * 100)), 101))
    return next((value for value in hundredths if value > highest), 1.0)


def choose_least_familiarity(familiarity: Floats) -> float:
    """Chooses the familiarity below which a picture is rejected, by those of slices of heads, `(N,)`.

    It is the highest at which at most `MOST_REJECTED` of these would be rejected, rounded down to a
    hundredth, and at most `MOST_FAMILIARITY`.
    """
    allowed = math.floor(MOST_REJECTED * len(familiarity))
    return min(MOST_FAMILIARITY, math.floor(100 * float(np.sort(familiarity)[allowed])) / 100)
