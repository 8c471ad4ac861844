"""Compares an exported file with the Keras model it was made from, slice by slice.

```
python -m falx_export verify FILE --against RUN --data DIR
```

prints a table by label, names every slice whose decision changes, and draws both. The export measures
the same on some hundred slices before it writes anything (`falx_export.export`); this looks at all there
are, of a file that lies there already. Files for programs without Falx (self-contained, for MediaPipe) run in
their engine alone; where they decide, that is compared with Falx's decision on the same probabilities too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from falx import engines
from falx.model import attachment
from falx.model import card as cards
from falx.model import file as model_file
from falx.slices.limits import Limits
from falx.words import LABELS, NO_TUMOR, REJECTED, TUMOR_LABELS, counted, percent
from falx_export.convert.graph import loaded
from falx_export.proof import parity, samples, self_contained_answers
from falx_export.proof.samples import PreparedSlice
from falx_export.proof.self_contained_answers import SelfContainedAnswers
from falx_export.proof.tolerance import Tolerance
from falx_runs.arrays import Float64s
from falx_runs.errors import DataError, RunError
from falx_runs.run_folder import FinishedRun, read_run
from falx_runs.tables import aligned, write_csv

CHUNK: Final = 256
"""The slices in memory at once."""

CLOSE: Final = 0.02
"""A change of decision is told apart where Keras's probability lies this near to a threshold."""

QUANTILES: Final = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedSlice:
    """The answers of Keras and of a file for a slice.

    Attributes:
        expected, got: probabilities of Keras and of the file, `(4,)`, 0..1.
        before, after: the decisions of Keras and of the file. Pictures that the runtime rejects for their
            pixels are judged here as well, and only familiarity, which is the model's, can reject one; but
            not where the file takes pictures, and rejects them itself. Where a file does not say the
            familiarity, as for MediaPipe, it rejects none.
        heatmap: the largest difference of any cell, 0..1; None where the file makes none on the tensor.
        familiarity: the difference of the familiarity, 0..1, or of the probability that there is no brain,
            whichever is larger; None where the file does not say.
        margin: the least distance of what decided in Keras from its threshold, 0..1.
        silent: the file rejects it, and gives no probabilities: `got` is all 0, and not compared.
        contradiction: where the file itself decides otherwise than Falx on the file's own probabilities, in
            words; empty elsewhere.
    """

    path: Path
    label: str
    split: str
    expected: Float64s
    got: Float64s
    before: str
    after: str
    heatmap: float | None
    familiarity: float | None
    margin: float
    silent: bool = False
    contradiction: str = ""

    @property
    def largest(self) -> float:
        """The largest difference of a probability; NaN where the file gives none."""
        return float("nan") if self.silent else float(np.abs(self.got - self.expected).max())

    @property
    def changed(self) -> bool:
        """True where the decision is another one."""
        return self.before != self.after

    @property
    def missed(self) -> bool:
        """True where what Keras decides to be a tumour is `no_tumor` to the file."""
        return self.before in TUMOR_LABELS and self.after == NO_TUMOR


@dataclass(frozen=True, slots=True)
class Verification:
    """A file against Keras, slice by slice in the order of the data."""

    file: str
    engine: str
    quantization: str
    slices: Sequence[VerifiedSlice]

    @property
    def labels(self) -> list[str]:
        """The labels of the slices: those of Falx in their order, then others in alphabetical order."""
        found = {x.label for x in self.slices}
        return [label for label in LABELS if label in found] + sorted(found - set(LABELS))

    @property
    def contradicting(self) -> list[VerifiedSlice]:
        """The slices that the file itself decides otherwise than Falx on its probabilities."""
        return [x for x in self.slices if x.contradiction]

    def beyond(self, tolerance: Tolerance) -> list[str]:
        """Returns what is wrong, in words: past the tolerance, or decided otherwise than Falx would."""
        lines = self.parity().beyond(tolerance)
        if wrong := self.contradicting:
            lines.append(
                f"{self.file}: decides {len(wrong)} of {counted(len(self.slices))} otherwise than Falx on "
                f"its own probabilities; the first: {wrong[0].path}: {wrong[0].contradiction}"
            )
        return lines

    def parity(self) -> parity.Parity:
        """Returns the measures that the export reports, to be held to a tolerance.

        Raises:
            DataError: the file rejects every slice, so that no probability can be compared.
        """
        differences = _differences(self.slices)
        if not len(differences):
            raise DataError(
                f"{self.file}: rejects all of {counted(len(self.slices))}, so that no probability can be "
                "compared; give slices of heads with --data"
            )
        return parity.Parity(
            file=self.file,
            engine=self.engine,
            slices=len(self.slices),
            largest=float(differences.max()),
            mean=float(differences.mean()),
            differing=sum(x.changed for x in self.slices),
            missed=sum(x.missed for x in self.slices),
            heatmap=_largest(x.heatmap for x in self.slices),
            familiarity=_largest(x.familiarity for x in self.slices),
        )


def _differences(slices: Sequence[VerifiedSlice]) -> Float64s:
    """Returns the differences of the probabilities, `(N, 4)`, of the slices that have some."""
    return np.array([np.abs(x.got - x.expected) for x in slices if not x.silent]).reshape(-1, len(LABELS))


def _largest(differences: Iterable[float | None]) -> float | None:
    """Returns the largest; NaN where one is, which must not pass as small; None without any."""
    found = [value for value in differences if value is not None]
    return float(np.max(found)) if found else None


def compare(
    file: Path,
    against: Path,
    data: Path | None,
    *,
    splits: Iterable[str] = samples.SPLITS,
    engine: str | None = None,
) -> Verification:
    """Lets both answer for every slice.

    Args:
        file: a `.tflite` or `.onnx` with its card: for Falx, self-contained, or for MediaPipe.
        against: the run it was exported from.
        data: a manifest, a folder that holds one, or a folder of images (`samples.read`); None
            takes the run's `data.csv`.
        splits: those of the manifest to take.
        engine: what runs the file; None takes the first for its format that is installed. Files for programs
            without Falx run in ONNX Runtime and LiteRT only.

    Raises:
        ModelError, DataError: the file or the data cannot be used.
        RunError: the run cannot be used, or the file was exported from another.
    """
    card, payload = model_file.read(file)
    trained = read_run(against)
    model, checksum = loaded(trained), trained.model_sha256()
    if card.provenance.get("model_sha256") != checksum:
        raise RunError(
            f"{file}: was not exported from {against}: the checksum of model.keras in its card is "
            f"{card.provenance.get('model_sha256')}, there it is {checksum}; "
            "give the run it was exported from, or export it again"
        )
    data = trained.images(data)
    kind = attachment.detect(payload)
    assert kind is not None  # noqa: S101 - `model_file.read` refuses anything else
    if card.self_contained:
        name = self_contained_answers.engine_for(file, engine, kind)
        own = self_contained_answers.starter(payload, card, kind)
    else:
        name = engines.choose(engine, kind)
        started = engines.start(name, payload, card, threads=1)
    found: list[VerifiedSlice] = []
    for chunk in _chunks(samples.prepared(data, frozenset(splits))):
        tensors = np.stack([item.tensor for item in chunk])
        expected = parity.keras_answers(model, tensors)
        if card.self_contained:
            answers = own(chunk)
            found += _compared(chunk, expected, answers.outputs, trained, card, answers)
        else:
            got = parity.engine_answers(started, tensors)
            found += _compared(chunk, expected, got, trained, card)
    return Verification(file.name, name, str(card.quantization["format"]), found)


def _chunks(items: Iterator[PreparedSlice]) -> Iterator[list[PreparedSlice]]:
    while chunk := list(islice(items, CHUNK)):
        yield chunk


def _compared(
    chunk: Sequence[PreparedSlice],
    expected: Mapping[str, parity.Probabilities],
    got: Mapping[str, parity.Probabilities],
    trained: FinishedRun,
    card: cards.Card,
    own: SelfContainedAnswers | None = None,
) -> Iterator[VerifiedSlice]:
    if own is not None:
        # What the file does not say, it can neither be held to nor reject by.
        expected = {name: value for name, value in expected.items() if name in got}
    heatmap, shown = (
        [np.abs(got[name] - expected[name]).reshape(len(chunk), -1) for name in names if name in expected]
        for names in (["heatmap"], parity.SHOWN)
    )
    judges = [
        (expected, trained.thresholds, Limits(least_familiarity=trained.least_familiarity)),
        (got, card.thresholds, card.rejection),
    ]
    for index, item in enumerate(chunk):
        (before, margin), (after, _) = (
            parity.judged({name: values[index] for name, values in answers.items()}, thresholds, limits)
            for answers, thresholds, limits in judges
        )
        if own is not None:
            before = REJECTED if own.refused[index] else before
            after = after if own.decisions is None else own.decisions[index]
        yield VerifiedSlice(
            path=item.record.path,
            label=item.record.label,
            split=item.record.split,
            expected=expected["probabilities"][index].astype(np.float64),
            got=got["probabilities"][index].astype(np.float64),
            before=before,
            after=after,
            heatmap=_largest(float(apart[index].max()) for apart in heatmap),
            familiarity=_largest(float(apart[index].max()) for apart in shown),
            margin=margin,
            silent=own is not None and own.silent[index],
            contradiction="" if own is None else own.contradictions[index],
        )


def table(comparison: Verification) -> str:
    """Lays out a comparison for people: by label, by probability, and every change of a decision."""
    slices, measured = comparison.slices, comparison.parity()
    names = ("largest", "mean", *(percent(quantile, 0) for quantile in QUANTILES))
    by_label: list[Sequence[str]] = [("label", "slices", "changed", "tumour to no_tumor", *names)]
    for label in (*comparison.labels, "all"):
        group = [x for x in slices if label in (x.label, "all")]
        counts = (len(group), sum(x.changed for x in group), sum(x.missed for x in group))
        by_label.append((label, *map(str, counts), *_measures(_differences(group))))
    every = _differences(slices)
    by_probability = [("probability", *names)]
    by_probability += [(f"P({label})", *_measures(every[:, i])) for i, label in enumerate(LABELS)]
    others = [("output", "largest")]
    for name, value in (("heatmap", measured.heatmap), ("familiarity", measured.familiarity)):
        others.append((name, "-" if value is None else f"{value:.5f}"))
    parts = [
        f"{comparison.file} on {comparison.engine} against Keras: {counted(len(slices))}; differences of "
        "probabilities",
        *("\n".join(aligned(rows)) for rows in (by_label, by_probability, others)),
    ]
    if silent := sum(x.silent for x in slices):
        parts.append(f"the file rejects {counted(silent)}, without probabilities to compare")
    if changed := [x for x in slices if x.changed]:
        close, share = sum(x.margin < CLOSE for x in changed), percent(len(changed) / len(slices), 2)
        told = [("slice", "label", "Keras", "file", "margin", "largest")]
        for x in changed:
            largest = "-" if x.silent else f"{x.largest:.4f}"
            told.append((str(x.path), x.label, x.before, x.after, f"{x.margin:.4f}", largest))
        parts.append(
            f"{counted(len(changed), 'decision')} changed ({share}), {close} of them where Keras was within "
            f"{CLOSE} of a threshold:\n" + "\n".join(aligned(told, text=4))
        )
    if wrong := comparison.contradicting:
        lines = [f"the file decides otherwise than Falx on its probabilities for {counted(len(wrong))}:"]
        parts.append("\n".join(lines + [f"{x.path}: {x.contradiction}" for x in wrong]))
    return "\n\n".join(parts)


def _measures(differences: Float64s) -> list[str]:
    """Returns the largest, the mean and quantiles as text; dashes where there are no differences."""
    if not differences.size:
        return ["-"] * (2 + len(QUANTILES))
    values = [differences.max(), differences.mean(), *np.quantile(differences, QUANTILES)]
    return [f"{value:.5f}" for value in values]


def write_slices(path: Path, comparison: Verification) -> None:
    """Writes what both answered as CSV, a row a slice; probabilities that a file does not give are empty."""
    before, after = ([f"{who}_{label}" for label in LABELS] for who in ("keras", "file"))
    head = ("path", "label", "split", *before, "keras_decision", *after, "file_decision", "margin")
    rows = []
    for x in comparison.slices:
        keras, own = ([f"{value:.6g}" for value in values] for values in (x.expected, x.got))
        if x.silent:
            own = [""] * len(LABELS)
        rows.append([x.path, x.label, x.split, *keras, x.before, *own, x.after, f"{x.margin:.6g}"])
    write_csv(path, head, rows)
