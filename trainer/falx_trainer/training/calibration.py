"""What is chosen on `val` after training: what makes logits probabilities, and the thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax

from falx.decision import DEFAULT_THRESHOLDS, Thresholds
from falx_runs.manifest import targets

__all__ = [
    "Calibration",
    "calibrate",
    "choose_least_familiarity",
    "choose_thresholds",
    "fit_temperature",
    "fit_temperature_and_offset",
    "least_no_tumor",
]

Floats = npt.NDArray[np.floating]

TEMPERATURE_RANGE: Final = (0.25, 8.0)
OFFSET_RANGE: Final = (-20.0, 20.0)
LEAST_NO_TUMOR: Final = 0.75
"""No slice is cleared at a lower probability, however well val goes: on other scanners' slices a
probability means less than on val's."""

MOST_REJECTED: Final = 0.005
"""Share of the val slices that may be rejected as unfamiliar. At most 1 % of real slices is aimed at; half
of that, since of other scanners it may be more."""

MOST_FAMILIARITY: Final = 0.95
"""No more is asked for, however sure of val's slices the model is. Without br35h, over three epochs (28
November 2026), 0.95 rejected 96 % of the pictures of `tools.pictures`, 0.6 % of val and 0.2 % of br35h;
one half rejected 88 % and none. The outliers of training are drawn, and what a model is shown in earnest is
nearer to a head than they are."""


@dataclass(frozen=True)
class Calibration:
    """What a network's outputs become probabilities by.

    The head's log-odds of a tumour and the map's are added, as independent witnesses' would be (a
    logarithmic opinion pool; Hinton 2002, doi 10.1162/089976602760128018). The head has seen that some
    collections are of tumours alone, and so is the surer of the two on `val`; the map was only ever asked
    where the lesion is, and is the better judge on a collection that neither has seen.

    Attributes:
        temperature: the logits are divided by it before the softmax (Guo et al. 2017, arXiv:1706.04599).
        map_weight: the map's log-odds of a tumour, times this, are taken from the logit of `no_tumor`.
        offset: added to the logit of `no_tumor`: the map is held to places, not to slices, and its
            log-odds of a slice lie off by a constant.
    """

    temperature: float
    map_weight: float = 0.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.offset and not self.map_weight:
            raise ValueError(f"offset {self.offset:g} without a map_weight; expected none")

    def probabilities(self, outputs: Mapping[str, Floats]) -> npt.NDArray[np.float64]:
        """Calibrated probabilities.

        Args:
            outputs: `logits` `(N, 4)` of the network's head, and `seen` `(N, 1)` where the map has a weight.
        """
        logits = _pooled(outputs, self.map_weight)
        logits[:, 0] += self.offset
        probabilities: npt.NDArray[np.float64] = softmax(logits / self.temperature, axis=1)
        return probabilities


def calibrate(outputs: Mapping[str, Floats], labels: Sequence[str], map_weight: float = 0.0) -> Calibration:
    """Finds what makes a network's outputs probabilities.

    Args:
        outputs: the network's, of the val slices; as of `Calibration.probabilities`.
        labels: theirs.
        map_weight: of `Calibration`; without one there is no offset either.
    """
    logits, wanted = _pooled(outputs, map_weight), np.array(targets(labels))
    if map_weight:
        temperature, offset = fit_temperature_and_offset(logits, wanted)
    else:
        temperature, offset = fit_temperature(logits, wanted), 0.0
    return Calibration(temperature, map_weight, offset)


def _pooled(outputs: Mapping[str, Floats], map_weight: float) -> npt.NDArray[np.float64]:
    """The head's logits, with the map's log-odds of a tumour taken from that of `no_tumor`."""
    logits = outputs["logits"].astype(np.float64)
    if map_weight:
        logits[:, 0] -= map_weight * outputs["seen"][:, 0]
    return logits


def fit_temperature(logits: Floats, targets: Floats) -> float:
    """The temperature that makes probabilities honest: the one with the least negative log-likelihood.

    Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599.

    Args:
        logits: `(N, 4)`, before any temperature.
        targets: `(N, 4)`, 1 for each label allowed.

    Returns:
        A temperature in 0.25..8; above 1 it makes the model less sure.
    """

    def loss(log_temperature: float) -> float:
        return _likelihood_loss(logits / math.exp(log_temperature), targets)

    low, high = map(math.log, TEMPERATURE_RANGE)
    return math.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x)


def fit_temperature_and_offset(logits: Floats, targets: Floats) -> tuple[float, float]:
    """The temperature, and what to add to the first logit, at which the labels allowed are likeliest.

    As of `fit_temperature`; Platt 1999 (Probabilistic Outputs for Support Vector Machines) fits the two for
    two classes.

    Args:
        logits: `(N, 4)`, before either.
        targets: `(N, 4)`, 1 for each label allowed.

    Returns:
        A temperature in 0.25..8, and an offset in -20..20, in logits before the temperature.
    """

    def loss(parameters: Floats) -> float:
        shifted = logits + parameters[1] * np.eye(logits.shape[1])[0]
        return _likelihood_loss(shifted / math.exp(parameters[0]), targets)

    low, high = map(math.log, TEMPERATURE_RANGE)
    found = minimize(loss, [0.0, 0.0], bounds=[(low, high), OFFSET_RANGE], method="L-BFGS-B")
    if not found.success:
        raise ArithmeticError(f"no temperature and offset were found for these logits: {found.message}")
    return math.exp(found.x[0]), float(found.x[1])


def _likelihood_loss(logits: Floats, targets: Floats) -> float:
    """The mean of minus the logarithm of the probability of all the labels allowed."""
    log_p = log_softmax(logits, axis=1)
    return float(-logsumexp(np.where(targets > 0, log_p, -np.inf), axis=1).mean())


def choose_thresholds(probabilities: Floats, tumor: npt.NDArray[np.bool_], most_missed: float) -> Thresholds:
    """The thresholds a model is released with.

    `no_tumor` is the lowest threshold, rounded up to a hundredth, at which at most the given
    share of tumours would be decided `no_tumor`; the three others are the built-in ones.

    Args:
        probabilities: `(N, 4)`, calibrated.
        tumor: `(N,)`, whether there is a tumour that shows.
        most_missed: the largest share of tumours missed, 0..1.
    """
    if not tumor.any():  # nothing to measure on
        return DEFAULT_THRESHOLDS
    least = least_no_tumor(probabilities[tumor, 0], most_missed, LEAST_NO_TUMOR)
    return Thresholds.from_mapping(DEFAULT_THRESHOLDS.to_dict() | {"no_tumor": least})


def least_no_tumor(missed: Floats, most_missed: float, lowest: float) -> float:
    """The lowest threshold, rounded up to a hundredth, at which few enough tumours are decided `no_tumor`.

    Args:
        missed: `(N,)`, the probability of `no_tumor` of each tumour; at least one.
        most_missed: the largest share of them that may be decided so, 0..1.
        lowest: no threshold below it, 0..1, a hundredth.
    """
    ranked = np.sort(missed)[::-1]
    # The share times the number is a whole number where it should be, but for its binary fraction.
    allowed = math.floor(most_missed * len(ranked) + 1e-9)
    # The tumour of that rank must just not be cleared.
    highest = float(ranked[allowed]) if allowed < len(ranked) else 0.0
    hundredths = (step / 100 for step in range(max(1, round(lowest * 100)), 101))
    return next((value for value in hundredths if value > highest), 1.0)


def choose_least_familiarity(familiarity: Floats) -> float:
    """The familiarity below which a picture is rejected.

    Args:
        familiarity: `(N,)`, 0..1, of slices of heads.

    Returns:
        The highest at which at most `MOST_REJECTED` of these would be rejected, rounded down to a
        hundredth, and at most `MOST_FAMILIARITY`.
    """
    allowed = math.floor(MOST_REJECTED * len(familiarity))
    return min(MOST_FAMILIARITY, math.floor(100 * float(np.sort(familiarity)[allowed])) / 100)
