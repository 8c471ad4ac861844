"""The decision about a slice, in the one order that there is.

```
before the model
    the tags of a DICOM object say that it is no slice of a head  -> rejected
    its pixels do                                                 -> rejected
after the model
    familiarity < limits.least_familiarity                        -> rejected, as a head without brain
                                                                     or as anything else
    the tags doubt it, and the model is not sure of it either     -> rejected
    P(no_tumor) >= thresholds.no_tumor                            -> no_tumor
    t = argmax of the three tumour probabilities
    P(t) >= thresholds[t]                                         -> t
    otherwise                                                     -> ambiguous
```

The classifier, the evaluation of a run and the export's parity call `before` and `after`; the self-contained
graphs, which decide by themselves, are proved against them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from falx.errors import NotASlice, ThresholdError
from falx.words import AMBIGUOUS, LABELS, NO_TUMOR, REJECTED, TUMOR_LABELS

if TYPE_CHECKING:
    from falx.slices.limits import Limits
    from falx.slices.reasons import Reason
    from falx.slices.slice import Origin, Slice

__all__ = ["DEFAULT_THRESHOLDS", "Outcome", "Refusal", "Thresholds", "after", "before", "decide"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The least probability at which each label is decided, each in (0, 1].

    Raises:
        ThresholdError: a value is not a number in (0, 1].
    """

    no_tumor: float
    meningioma: float
    glioma: float
    pituitary: float

    def __post_init__(self) -> None:
        for label in LABELS:
            object.__setattr__(self, label, _checked(label, getattr(self, label)))

    def __getitem__(self, label: str) -> float:
        if label not in LABELS:
            raise KeyError(label)
        return float(getattr(self, label))

    def to_dict(self) -> dict[str, float]:
        """Returns the thresholds by label, in the order of the labels."""
        return asdict(self)

    def beside(self, own: Thresholds) -> str:
        """Returns the thresholds as text; one that a caller changed says what the card has.

        Args:
            own: the thresholds of the card.
        """
        return _listed(
            f"{label} {value:g}" + ("" if value == own[label] else f" (changed; the card has {own[label]:g})")
            for label, value in self.to_dict().items()
        )

    @classmethod
    def from_mapping(cls, values: Mapping[str, float] | Thresholds) -> Thresholds:
        """Thresholds from a mapping of every label to its value.

        Raises:
            ThresholdError: a label is missing or unknown, or a value is not in (0, 1].
        """
        if isinstance(values, Thresholds):
            return values
        if not isinstance(values, Mapping):
            raise ThresholdError(
                f"thresholds must be falx.Thresholds or a mapping of every label, not {type(values).__name__}"
            )
        missing = [label for label in LABELS if label not in values]
        if missing:
            raise ThresholdError(
                f"no threshold for {_listed(missing)}; give all of {_listed(LABELS)}, or change some with "
                "dataclasses.replace(classifier.card.thresholds, glioma=0.7)"
            )
        unknown = [label for label in values if label not in LABELS]
        if unknown:
            raise ThresholdError(f"threshold for {_listed(unknown)}, which is none of {_listed(LABELS)}")
        return cls(**{label: values[label] for label in LABELS})


def _checked(label: str, value: object) -> float:
    # bool is an int to Python, but `true` is no threshold.
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise ThresholdError(f"threshold of {label} must be a number in (0, 1], got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    # NaN compares false with everything.
    if not 0 < number <= 1:
        raise ThresholdError(f"threshold of {label} must be in (0, 1], got {value!r}")
    return number


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names)


DEFAULT_THRESHOLDS: Final = Thresholds(no_tumor=0.85, meningioma=0.60, glioma=0.55, pituitary=0.55)
"""The built-in thresholds: missing a tumour costs more than asking a physician once too often."""


def decide(probabilities: Sequence[float], thresholds: Thresholds = DEFAULT_THRESHOLDS) -> str:
    """Decides on a slice.

    Args:
        probabilities: of the four labels, in their order, each 0..1. Compared as doubles, unrounded.
        thresholds: the least probability of each label.

    Returns:
        A label, or `ambiguous`. Where tumour probabilities are equal, the first in order is meant.

    Raises:
        ValueError: not four finite probabilities.
    """
    values = [float(p) for p in probabilities]
    if len(values) != len(LABELS) or not all(0 <= p <= 1 for p in values):
        raise ValueError(f"expected {len(LABELS)} probabilities in 0..1, got {values}")
    by_label = dict(zip(LABELS, values, strict=True))
    if by_label[NO_TUMOR] >= thresholds.no_tumor:
        return NO_TUMOR
    tumor = max(TUMOR_LABELS, key=by_label.__getitem__)
    return tumor if by_label[tumor] >= thresholds[tumor] else AMBIGUOUS


@dataclass(frozen=True, slots=True)
class Refusal:
    """A picture that no model needs to see.

    Attributes:
        reason: why the picture is rejected.
        origin: where in a DICOM object or a volume it stands; None for other pictures.
    """

    reason: Reason
    origin: Origin | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The decision about a slice, made from the answer of a model.

    Attributes:
        decision: a label, `ambiguous` or `rejected`.
        reason: why the slice is rejected; None where it is not.
        margin: the least distance, 0..1, of a value that the decision hangs on from its limit or threshold.
    """

    decision: str
    reason: Reason | None
    margin: float


def before(read: Callable[[], Slice], limits: Limits) -> Slice | Refusal:
    """Reads a picture and says whether a model must be asked about it.

    Args:
        read: returns the slice; a DICOM object whose tags speak against it raises NotASlice.
        limits: of the card.

    Returns:
        The slice to ask about, or why the picture is rejected.

    Raises:
        UnreadableImage: the picture cannot be read.
    """
    # Here and below: who reads a card for its thresholds needs no NumPy.
    from falx.slices.rejection import check

    try:
        image = read()
    except NotASlice as error:
        return Refusal(error.reason, error.origin)
    reason = check(image, limits)
    return image if reason is None else Refusal(reason, image.origin)


def after(
    probabilities: Sequence[float],
    familiarity: float | None,
    doubt: Reason | None,
    limits: Limits,
    thresholds: Thresholds,
    *,
    no_brain: float | None = None,
) -> Outcome:
    """Decides about a slice from what a model answers for it.

    Args:
        probabilities: of the four labels, in their order, each 0..1.
        familiarity: the probability, 0..1, that the picture is a slice of a brain; None where the model does
            not say.
        doubt: what the tags say against the slice; None where they say nothing.
        limits: of the card.
        thresholds: the least probability of each label.
        no_brain: the probability, 0..1, that it is a head without brain; None where the model does not say.

    Raises:
        ValueError: there are not four finite probabilities.
    """
    from falx.slices.rejection import check_doubt, check_familiarity

    reason = check_familiarity(familiarity, limits, no_brain=no_brain) or check_doubt(doubt, familiarity)
    known = 1.0 if familiarity is None else abs(familiarity - limits.least_familiarity)
    if reason is not None:
        return Outcome(REJECTED, reason, known)
    decision = decide(probabilities, thresholds)
    by_label = dict(zip(LABELS, probabilities, strict=True))
    margin = min(known, abs(by_label[NO_TUMOR] - thresholds.no_tumor))
    if decision != NO_TUMOR:
        tumor = max(TUMOR_LABELS, key=by_label.__getitem__)
        margin = min(margin, abs(by_label[tumor] - thresholds[tumor]))
    return Outcome(decision, None, margin)
