"""Two models on the same slices: differences with their intervals, and McNemar's test."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from falx.words import LABELS, NO_TUMOR
from falx_trainer.evaluation.bootstrap import PERCENTILES, Mask
from falx_trainer.evaluation.measures import AnswerArrays, Document, Pairs


def compare(first: Pairs, second: Pairs) -> Document:
    """Differences of two models on the same slices, JSON-ready; the first less the second.

    `accuracy`, `missed` and `cleared` are as in `measures.shares`; `right` is the share of typed slices that
    are decided as what they are. Each has both values, the difference `[value, low, high, slices]` over
    resampled groups, which pairs the models slice by slice, and how often it holds for one model alone,
    `only_first` and `only_second`; `p` is that of McNemar's exact test on these (McNemar 1947, doi
    10.1007/BF02295996), which takes slices for independent: with many slices a patient it is too small. The
    areas under the ROC curve, of any tumour against none and the mean over the labels, are of the slices both
    models answered.
    """
    one, other = AnswerArrays.of(first), AnswerArrays.of(second)
    return {
        "accuracy": _shares(one, one.typed, one.likeliest == one.labels, other.likeliest == one.labels),
        "right": _shares(one, one.typed, one.decisions == one.labels, other.decisions == one.labels),
        "missed": _shares(one, one.tumor, one.decisions == NO_TUMOR, other.decisions == NO_TUMOR),
        "cleared": _shares(one, ~one.tumor, one.decisions == NO_TUMOR, other.decisions == NO_TUMOR),
        "tumor_auc_roc": _areas(one, other, ["tumor"]),
        "macro_auc_roc": _areas(one, other, [label for label in LABELS if label in one.labels]),
    }


def _shares(
    sample: AnswerArrays, of: Mask, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]
) -> Document | None:
    if not of.any():
        return None
    only_first, only_second = (int((of & x & ~y).sum()) for x, y in ((first, second), (second, first)))
    resampled = sample.groups.sums(np.stack([of & first, of & second, of], axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        differences = (resampled[:, 0] - resampled[:, 1]) / resampled[:, 2]
    either = only_first + only_second
    return {
        "first": float(first[of].mean()),
        "second": float(second[of].mean()),
        "difference": _difference(
            sample, float(first[of].mean()) - float(second[of].mean()), differences, of
        ),
        "only_first": only_first,
        "only_second": only_second,
        "p": float(binomtest(only_first, either).pvalue) if either else 1.0,
    }


def _areas(one: AnswerArrays, other: AnswerArrays, kinds: list[str]) -> Document | None:
    both_answered = one.answered & other.answered
    counted, values, resampled = both_answered, [], []
    for kind in kinds:
        of, positive = one.kinds()[kind]
        counted = of & both_answered
        if not positive[counted].any() or positive[counted].all():
            return None
        scores = [sample.score(kind) for sample in (one, other)]
        values.append([float(roc_auc_score(positive[counted], score[counted])) for score in scores])
        resampled.append([one.groups.ranking(score, positive, counted).area for score in scores])
    if not kinds:
        return None
    first, second = np.mean(values, axis=0)
    differences = np.mean(resampled, axis=0)
    return {
        "first": float(first),
        "second": float(second),
        "difference": _difference(one, float(first - second), differences[0] - differences[1], counted),
    }


def _difference(
    sample: AnswerArrays, value: float, samples: npt.NDArray[np.floating], of: Mask
) -> list[float | int | None]:
    """Returns a difference with its interval; its ends are None where one group tells nothing of others."""
    known = samples[np.isfinite(samples)]
    if len(np.unique(sample.groups.member[of])) < 2 or not len(known):
        return [value, None, None, int(of.sum())]
    low, high = np.quantile(known, PERCENTILES)
    return [value, float(low), float(high), int(of.sum())]
