"""Proof that an installation works: the file, known inputs, and how fast this machine is."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from falx import phantom
from falx.classifier import Classifier
from falx.errors import ModelError
from falx.model import file as model_file
from falx.model.card import SelfTest
from falx.reading.source import read
from falx.slices import rejection
from falx.slices.preprocessing import prepare
from falx.words import percent

BUDGET_MS: Final = 100.0
"""The budget of a slice from file to decision, in milliseconds: 99 of 100 runs must stay below."""

TOLERANCES: Final[Mapping[str, float]] = {"int8": 0.15, "float16": 0.01, "float32": 0.01}
"""The greatest distance of a probability from the stored one, by quantization.

The exporter stores what one engine on one processor answers for the phantoms. Others round int8 graphs
otherwise: there by up to 0.025 (docs/raspberry-pi.md), on slices by up to 0.286 (docs/performance.md, with
weights of 8 bits in ONNX); float graphs answer the phantoms alike, to four places, on all three engines. The
weights themselves are proved by their checksum."""

BUSY: Final = 0.8
"""A machine is busy where less of the runs' time is processor time: they wait for nothing else."""

RUNS: Final = 100
WARM_UP: Final = 5
SIDE: Final = 512
"""The latency is that of a PNG file of this height and width, which most scanners write."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was checked, what was found, and whether it is as it should be; None where unknown."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Latency:
    """The time from a PNG file in memory to the decision, as percentiles; `p99_ms` must keep to the budget.

    The runs had the processor for a share, 0..1, of their time.
    """

    p50_ms: float
    p99_ms: float
    runs: int
    budget_ms: float
    processor_share: float


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check; `latency` is None where it was not measured."""

    steps: tuple[Step, ...]
    latency: Latency | None

    @property
    def ok(self) -> bool:
        """True where everything that could be checked is as it should be."""
        return all(step.ok is not False for step in self.steps)

    def to_dict(self) -> dict[str, object]:
        """Returns the report as plain JSON values."""
        return {
            "ok": self.ok,
            "steps": [asdict(step) for step in self.steps],
            "latency": None if self.latency is None else asdict(self.latency),
        }


def run(classifier: Classifier, *, latency: bool = True) -> Report:
    """Checks a classifier on this machine, in about a second; an emulated one tells nothing of `latency`."""
    measured = _measure(classifier) if latency else None
    return Report((_file(classifier), _known_inputs(classifier), _fast(measured)), measured)


def answers(infer: Callable[[npt.NDArray[np.uint8]], Sequence[float]]) -> tuple[SelfTest, ...]:
    """Returns what a model answers for every phantom, to be stored in its card.

    `infer` takes a tensor, `(224, 224)` uint8, to the probabilities of the four labels.
    """
    return tuple(
        SelfTest(name, tuple(float(p) for p in infer(prepare(draw())[0])))
        for name, draw in phantom.PHANTOMS.items()
    )


def _fast(latency: Latency | None) -> Step:
    if latency is None:
        return Step("latency", None, f"not measured, as asked for; the budget is {BUDGET_MS:g} ms")
    busy = ""
    if latency.processor_share < BUSY:
        busy = (
            "; this machine is busy: the runs had the processor for "
            f"{percent(latency.processor_share, 0)} of their time, so check again when it is idle"
        )
    return Step(
        "latency",
        latency.p99_ms <= BUDGET_MS,
        f"p50 {latency.p50_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms of {latency.runs} runs; "
        f"the budget is {BUDGET_MS:g} ms{busy}",
    )


def _file(classifier: Classifier) -> Step:
    """Checks that the file is still the one that was loaded, and every byte of it as it was written."""
    path = classifier.path
    try:
        data = model_file.load_bytes(path)
        _, found = model_file.prove(data, name=path.name)
    except ModelError as error:
        return Step("file", False, str(error))
    if found != classifier.model.sha256:
        return Step("file", False, f"{path.name} is no longer the file that was loaded; load it again")
    return Step(
        "file",
        True,
        f"{path.name}: weights and card have the checksums they were written with; SHA-256 {found}",
    )


def _known_inputs(classifier: Classifier) -> Step:
    tests = classifier.card.self_test
    if not tests:
        return Step("known inputs", None, "this model's card stores no answers to compare with")
    allowed = TOLERANCES[classifier.card.quantization["format"]]
    worst = 0.0
    for test in tests:
        if test.phantom not in phantom.PHANTOMS:
            return Step(
                "known inputs", False, f"this Falx cannot draw the phantom {test.phantom!r}; update it"
            )
        pixels = phantom.PHANTOMS[test.phantom]()
        if rejection.check(read(pixels), classifier.card.rejection) is not None:
            return Step(
                "known inputs", False, f"the phantom {test.phantom} is rejected by the card's parameters"
            )
        # Not `predict`: a model may well say that a drawing is unfamiliar, and must still answer the same.
        got = classifier.infer(prepare(pixels)[0]).probabilities
        worst = max(worst, *(abs(a - b) for a, b in zip(got, test.probabilities, strict=True)))
    return Step(
        "known inputs",
        worst <= allowed,
        f"{len(tests)} phantoms, largest difference of a probability {worst:.4f}; "
        f"at most {allowed} is allowed",
    )


def _measure(classifier: Classifier) -> Latency:
    buffer = io.BytesIO()
    drawn = Image.fromarray(phantom.lesion()).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    drawn.save(buffer, "PNG")
    for _ in range(WARM_UP):
        classifier.predict(buffer.getvalue())
    processor, clock = time.process_time(), time.perf_counter()
    times = [classifier.predict(buffer.getvalue()).elapsed_ms for _ in range(RUNS)]
    share = (time.process_time() - processor) / (time.perf_counter() - clock)
    p50, p99 = np.percentile(times, [50, 99])
    return Latency(round(float(p50), 2), round(float(p99), 2), RUNS, BUDGET_MS, round(min(1.0, share), 2))
