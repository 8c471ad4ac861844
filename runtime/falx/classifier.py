"""The way through: load a model, and classify one slice, many, or a study."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from falx import decision
from falx.debug import debug
from falx.decision import Refusal, Thresholds
from falx.engines import Inference, caution, choose
from falx.engines.pool import Pool, cores, map_in_order
from falx.errors import FalxWarning, UnreadableImage
from falx.model import file as model_file
from falx.model.card import Card
from falx.prediction import Failure, Location, Model, Prediction
from falx.reading.source import Source, describe, read
from falx.slices.preprocessing import prepare
from falx.slices.slice import Origin, Part
from falx.timings import Timings
from falx.words import LABELS, RECOMMENDATIONS, REJECTED, band

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from falx.reading.series import Gathering
    from falx.slices.reasons import Reason
    from falx.study import Study

__all__ = ["Classifier", "load"]


class Classifier:
    """A model, ready to answer. Safe to share between threads. Made by `falx.load`."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        engine: str | None = None,
        threads: int | None = None,
        engines: int | None = None,
    ) -> None:
        """Reads a model file, proves it, and starts the first engine; see `load`."""
        self._threads = _positive("threads", 1 if threads is None else threads)
        limit = _positive("engines", cores() if engines is None else engines)
        self._file = model_file.load(model_file.DEFAULT_MODEL if path is None else Path(path))
        self._engine = choose(engine, self._file.format)
        self._model = Model(self._file.card.name, self._file.card.version, self._file.sha256)
        self._pool = Pool(self._file, self._engine, threads=self._threads, limit=limit)
        debug("model %s %s (SHA-256 %s) is loaded on %s", *astuple(self._model), self._engine)

    @property
    def card(self) -> Card:
        """The card: what the model file says about itself."""
        return self._file.card

    @property
    def engine(self) -> str:
        """The engine that runs the graph: `litert`, `tflite` or `onnx`."""
        return self._engine

    @property
    def model(self) -> Model:
        """Name, version and checksum of the model file."""
        return self._model

    @property
    def path(self) -> Path:
        """The model file."""
        return self._file.path

    @property
    def threads(self) -> int:
        """The number of threads that one inference uses."""
        return self._threads

    def __repr__(self) -> str:
        return f"<falx.Classifier {self._file.card.name} {self._file.card.version} on {self._engine}>"

    def predict(
        self,
        source: Source,
        *,
        thresholds: Thresholds | Mapping[str, float] | None = None,
    ) -> Prediction:
        """Classifies one slice.

        Args:
            source: a path, bytes of a file, PIL image, array, pydicom Dataset, or a `Part` of a file of
                several slices; see `falx.reading.source.read`.
            thresholds: of every label, instead of the card's.

        Raises:
            UnreadableImage: the input is not one picture, or one of its subclasses says why.
            ThresholdError: a threshold is missing, unknown, or not in (0, 1].
            GraphError: the graph answered values that are not probabilities.
        """
        return self._predict(source, self._resolved(thresholds))

    def infer(self, tensor: npt.NDArray[np.uint8]) -> Inference:
        """Returns what the graph answers, before anything is rejected or decided.

        Args:
            tensor: `(224, 224)` uint8, from `falx.slices.preprocessing.prepare`.

        Raises:
            GraphError: the graph answered values that are not probabilities.
        """
        return self._pool.run(tensor)

    def predict_many(
        self,
        sources: Iterable[Source],
        *,
        workers: int = 1,
        thresholds: Thresholds | Mapping[str, float] | None = None,
    ) -> Iterator[Prediction | Failure]:
        """Classifies many slices, in their order, as the answers are taken.

        Args:
            sources: each as for `predict`, or what `falx.reading.files.expand` gives for files, folders and
                files of several slices; read no further ahead than two for each worker.
            workers: how many threads work on slices; see `engines` of `load`.
            thresholds: of every label, instead of the card's.

        Returns:
            For each source a prediction, or a failure where `predict` would raise UnreadableImage.

        Raises:
            ThresholdError: a threshold is missing, unknown, or not in (0, 1].
            ValueError: `workers` is not a number from 1.
        """
        _positive("workers", workers)
        resolved = self._resolved(thresholds)
        return map_in_order(lambda source: self._answer(source, resolved), sources, workers)

    def predict_study(
        self,
        source: str | os.PathLike[str] | Iterable[Source] | Gathering,
        *,
        workers: int = 1,
        thresholds: Thresholds | Mapping[str, float] | None = None,
    ) -> Study:
        """Classifies the slices of an examination, series by series, and sums them up.

        Args:
            source: a folder, a DICOM file of several frames, a NIfTI volume, several files, folders and
                pydicom Datasets of one study, or what `falx.reading.series.gather` made of these.
            workers: how many threads work on slices; see `engines` of `load`.
            thresholds: of every label, instead of the card's.

        Returns:
            The study; a slice that cannot be read is a failure in it, and counts in its decision.

        Raises:
            UnreadableImage: there are slices of more than one study.
            ThresholdError: a threshold is missing, unknown, or not in (0, 1].
            ValueError: `workers` is not a number from 1.
        """
        # Here: who classifies single slices does not need it.
        from falx.reading.series import Gathering, gather
        from falx.study import Series, sum_up

        started = time.perf_counter()
        found = source if isinstance(source, Gathering) else gather(source)
        answers = self.predict_many(found.sources, workers=workers, thresholds=thresholds)
        series = [
            Series(
                results=tuple(islice(answers, len(row.sources))),
                positions_mm=row.positions_mm,
                uid=row.uid,
                plane=row.plane,
                sequence=row.sequence,
                notes=row.notes,
            )
            for row in found.rows
        ]
        elapsed_ms = (time.perf_counter() - started) * 1000
        return sum_up(series, path=found.path, uid=found.uid, elapsed_ms=elapsed_ms)

    def _answer(self, source: Source | Failure, thresholds: Thresholds) -> Prediction | Failure:
        if isinstance(source, Failure):
            return source
        try:
            return self._predict(source, thresholds)
        except UnreadableImage as error:
            return Failure(_path_of(source), error, _origin_of(source))

    def _predict(self, source: Source, thresholds: Thresholds) -> Prediction:
        moments = [time.perf_counter_ns()]
        seen = decision.before(lambda: read(source), self._file.card.rejection)
        moments.append(time.perf_counter_ns())
        if isinstance(seen, Refusal):
            return self._prediction(source, REJECTED, moments, seen.origin, reason=seen.reason)
        tensor, frame = prepare(seen.pixels)
        moments.append(time.perf_counter_ns())
        answer = self._pool.run(tensor)
        moments.append(time.perf_counter_ns())
        outcome = decision.after(
            answer.probabilities, answer.familiarity, seen.doubt, self._file.card.rejection, thresholds
        )
        moments.append(time.perf_counter_ns())
        if outcome.reason is not None:
            return self._prediction(source, REJECTED, moments, seen.origin, reason=outcome.reason)
        height, width = seen.pixels.shape
        location = None if answer.heatmap is None else Location(answer.heatmap, frame, (height, width))
        return self._prediction(
            source,
            outcome.decision,
            moments,
            seen.origin,
            probabilities=answer.probabilities,
            location=location,
        )

    def _prediction(
        self,
        source: Source,
        decided: str,
        moments: list[int],
        origin: Origin | None,
        *,
        reason: Reason | None = None,
        probabilities: list[float] | None = None,
        location: Location | None = None,
    ) -> Prediction:
        by_label = None if probabilities is None else dict(zip(LABELS, probabilities, strict=True))
        confidence = None if by_label is None else by_label.get(decided)
        return Prediction(
            decision=decided,
            confidence=confidence,
            band=None if confidence is None else band(confidence),
            probabilities=None if by_label is None else MappingProxyType(by_label),
            recommendation=RECOMMENDATIONS[decided],
            reason=reason,
            elapsed_ms=(time.perf_counter_ns() - moments[0]) / 1e6,
            model=self._model,
            path=_path_of(source),
            timings=Timings.between(moments),
            location=location,
            origin=origin,
        )

    def _resolved(self, thresholds: Thresholds | Mapping[str, float] | None) -> Thresholds:
        return self._file.card.thresholds if thresholds is None else Thresholds.from_mapping(thresholds)


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    engine: str | None = None,
    threads: int | None = None,
    engines: int | None = None,
) -> Classifier:
    """Reads a model file, proves that it is whole, and makes it ready to answer.

    Args:
        path: a `.tflite` or `.onnx` file with a card of Falx; None takes the model in the wheel.
        engine: `litert`, `tflite` or `onnx`; None takes the first that is installed for the format.
        threads: how many threads one inference uses; None means one.
        engines: how many inferences run at a time, at most, each in a thread of the caller's; None means one
            for every processor core. An engine is started when it is first needed.

    Raises:
        ModelNotFound: there is no such file.
        CardError: its card is missing, foreign or wrong.
        ChecksumError: it is not, byte for byte, the file that was written.
        GraphError: its graph cannot be run, or is not as its card says.
        ModelError: it is not a model, or not one for this engine. The four above are its subclasses.
        EngineUnavailable: the engine is not installed, or does not work here.
        UnknownEngine: there is no engine of that name.
        ValueError: `threads` or `engines` is not a whole number from 1.

    Warns:
        FalxWarning: the engine runs this file, but far slower than another would.
    """
    classifier = Classifier(path, engine=engine, threads=threads, engines=engines)
    slow = caution(classifier.engine, classifier.card)
    if slow is not None:
        warnings.warn(slow, FalxWarning, stacklevel=2)
    return classifier


def _path_of(source: Source) -> str | None:
    if isinstance(source, Part):
        return source.holder.path
    return describe(source) if isinstance(source, str | os.PathLike) else None


def _origin_of(source: Source) -> Origin | None:
    return source.holder.origin(source.number) if isinstance(source, Part) else None


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    return value
