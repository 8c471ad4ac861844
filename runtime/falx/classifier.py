"""A model file, ready to answer."""

from __future__ import annotations

import os
import queue
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from falx import decision, engines
from falx.decision import Refusal, Thresholds
from falx.engines import Engine
from falx.errors import FalxWarning, GraphError, ModelError, ModelNotFound, UnreadableImage
from falx.model import attachment
from falx.model import file as model_file
from falx.model.card import Card
from falx.prediction import Failure, Location, Model, Prediction
from falx.reading.source import Source, describe, read
from falx.slices.preprocessing import prepare
from falx.slices.slice import Origin, Part
from falx.timings import Timings
from falx.words import LABELS, RECOMMENDATIONS, REJECTED, band

if TYPE_CHECKING:
    from concurrent.futures import Future

    import numpy.typing as npt

    from falx.reading.series import Gathering
    from falx.slices.reasons import Reason
    from falx.study import Study

__all__ = ["DEFAULT_MODEL", "Answer", "Classifier", "load", "read_model"]

DEFAULT_MODEL: Final = Path(__file__).with_name("default.tflite")
"""The model in the wheel."""

LOOK_AHEAD: Final = 2
"""How many inputs a worker, at most, are read before the caller takes the answers."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a graph answers for one prepared slice.

    Attributes:
        probabilities: of the labels, in their order, each in 0..1.
        heatmap: `(N, N)` float32, 0..1, on the tensor; None where the model makes none.
        familiarity: the probability, 0..1, that the picture is a slice of a brain at all; None where the
            model does not say.
    """

    probabilities: list[float]
    heatmap: npt.NDArray[np.float32] | None
    familiarity: float | None


class Classifier:
    """A model, ready to answer. Safe to share between threads. Made by `falx.load`."""

    def __init__(self, path: str | os.PathLike[str], *, engine: str | None, threads: int | None) -> None:
        """Read a model file, prove it, and start its engine; see `load`."""
        self._path = Path(path)
        self._threads = _positive("threads", 1 if threads is None else threads)
        self._data = read_model(self._path)
        self._card, checksum = model_file.prove(self._data, name=str(self._path))
        if self._card.self_contained:
            raise ModelError(
                f"{self._path}: is self-contained: its graph prepares and decides by itself, for programs "
                "without Falx; give Falx a file exported without --self-contained"
            )
        kind = attachment.detect(self._data)
        assert kind is not None  # noqa: S101 - our own invariant: `prove` refuses anything else
        if self._path.suffix.lower() != f".{kind}":
            raise ModelError(
                f"{self._path}: holds a {kind} model, so its name must end in .{kind}; rename it"
            )
        self._engine = engines.choose(engine, kind)
        self._model = Model(self._card.name, self._card.version, checksum)
        self._reset()
        self._start_engines(1)
        _classifiers.add(self)

    def _reset(self) -> None:
        """Have no engine yet."""
        # Engines serve one thread at a time; who needs one takes it from here and puts it back.
        self._engines: queue.SimpleQueue[Engine] = queue.SimpleQueue()
        self._all: list[Engine] = []
        self._starting = threading.Lock()

    @property
    def card(self) -> Card:
        """What the model file says about itself."""
        return self._card

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
        return self._path

    @property
    def threads(self) -> int:
        """How many threads one inference uses."""
        return self._threads

    def __repr__(self) -> str:
        return f"<falx.Classifier {self._card.name} {self._card.version} on {self._engine}>"

    def predict(
        self,
        source: Source,
        *,
        thresholds: Thresholds | Mapping[str, float] | None = None,
    ) -> Prediction:
        """Classify one slice.

        Args:
            source: a path, bytes of a file, PIL image, array, pydicom Dataset, or a `Part` of a file of
                several slices; see `falx.reading.source.read`.
            thresholds: of every label, instead of the card's.

        Raises:
            UnreadableImage: the input is not one picture, or one of its subclasses says why.
            ThresholdError: a threshold is missing, unknown, or not in (0, 1].
            GraphError: the graph answered what are no probabilities.
        """
        return self._predict(source, self._resolved(thresholds))

    def answer(self, tensor: npt.NDArray[np.uint8]) -> Answer:
        """What the graph itself answers, before anything is rejected or decided.

        Args:
            tensor: `(224, 224)` uint8, from `falx.slices.preprocessing.prepare`.

        Raises:
            GraphError: the graph answered what are no probabilities.
        """
        if not self._all:
            self._start_engines(1)
        engine = self._engines.get()
        try:
            outputs = engine.run(tensor)
        finally:
            self._engines.put(engine)
        familiarity = outputs.get("familiarity")
        return Answer(
            probabilities=self._probable("probabilities", outputs["probabilities"]),
            heatmap=outputs.get("heatmap"),
            familiarity=None if familiarity is None else self._probable("familiarity", familiarity)[0],
        )

    def predict_many(
        self,
        sources: Iterable[Source],
        *,
        workers: int = 1,
        thresholds: Thresholds | Mapping[str, float] | None = None,
    ) -> Iterator[Prediction | Failure]:
        """Classify many slices, in their order, as the answers are taken.

        Args:
            sources: each as for `predict`, or what `falx.reading.files.expand` gives for files, folders and
                files of several slices; read no further ahead than two a worker.
            workers: how many slices are worked on at a time, each on an engine of its own.
            thresholds: of every label, instead of the card's.

        Returns:
            For each source a prediction, or a failure where `predict` would raise UnreadableImage.

        Raises:
            ThresholdError: a threshold is missing, unknown, or not in (0, 1].
            ValueError: `workers` is not a number from 1.
        """
        _positive("workers", workers)
        resolved = self._resolved(thresholds)
        if workers == 1:
            return (self._answer(source, resolved) for source in sources)
        self._start_engines(workers)
        return self._answer_in_threads(sources, workers, resolved)

    def predict_study(
        self,
        source: str | os.PathLike[str] | Iterable[Source] | Gathering,
        *,
        study: str | None = None,
        one_patient: bool = False,
        workers: int = 1,
        thresholds: Thresholds | Mapping[str, float] | None = None,
    ) -> Study:
        """Classify the slices of an examination, series by series, and sum them up.

        Args:
            source: a folder, a DICOM file of several frames, a NIfTI volume, several files, folders and
                pydicom Datasets of one study, or what `falx.reading.series.gather` made of these.
            study: the Study Instance UID of the study that is meant, where there are several.
            one_patient: whether what has no tags is of one patient: pictures in order, and volumes.
            workers: how many slices are worked on at a time, each on an engine of its own.
            thresholds: of every label, instead of the card's.

        Returns:
            The study; a slice that cannot be read is a failure in it, and counts in its decision.

        Raises:
            UnreadableImage: there is not exactly one study, or there are pictures that nothing says to be
                of one patient.
            ThresholdError: a threshold is missing, unknown, or not in (0, 1].
            ValueError: `workers` is not a number from 1.
        """
        # Here: who classifies single slices does not need it.
        from falx.reading.series import Gathering, gather
        from falx.study import sum_up

        started = time.perf_counter()
        found = source
        if not isinstance(found, Gathering):
            found = gather(found, study=study, one_patient=one_patient)
        answers = list(self.predict_many(found.sources, workers=workers, thresholds=thresholds))
        return sum_up(found, answers, elapsed_ms=(time.perf_counter() - started) * 1000)

    def _answer_in_threads(
        self, sources: Iterable[Source], workers: int, thresholds: Thresholds
    ) -> Iterator[Prediction | Failure]:
        # Here: it brings logging and more, which most who load a model never need.
        from concurrent.futures import ThreadPoolExecutor

        waiting: deque[Future[Prediction | Failure]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="falx")
        try:
            for source in sources:
                waiting.append(pool.submit(self._answer, source, thresholds))
                if len(waiting) >= LOOK_AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # Also where the caller stops early: what has not begun is not begun.
            pool.shutdown(cancel_futures=True)

    def _answer(self, source: Source | Failure, thresholds: Thresholds) -> Prediction | Failure:
        if isinstance(source, Failure):
            return source
        try:
            return self._predict(source, thresholds)
        except UnreadableImage as error:
            return Failure(_path_of(source), error, _origin_of(source))

    def _predict(self, source: Source, thresholds: Thresholds) -> Prediction:
        moments = [time.perf_counter_ns()]
        seen = decision.before(lambda: read(source), self._card.rejection)
        moments.append(time.perf_counter_ns())
        if isinstance(seen, Refusal):
            return self._prediction(source, REJECTED, moments, seen.origin, reason=seen.reason)
        tensor, frame = prepare(seen.pixels)
        moments.append(time.perf_counter_ns())
        answer = self.answer(tensor)
        moments.append(time.perf_counter_ns())
        outcome = decision.after(
            answer.probabilities, answer.familiarity, seen.doubt, self._card.rejection, thresholds
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

    def _probable(self, output: str, answered: npt.NDArray[np.float32]) -> list[float]:
        values = [float(p) for p in answered]
        if not all(0 <= p <= 1 for p in values):
            raise GraphError(
                f"{self._path}: the graph answered {output} {values} on engine {self._engine}, expected "
                "probabilities in 0..1; try another engine, or export the model again"
            )
        return values

    def _resolved(self, thresholds: Thresholds | Mapping[str, float] | None) -> Thresholds:
        return self._card.thresholds if thresholds is None else Thresholds.from_mapping(thresholds)

    def _start_engines(self, count: int) -> None:
        with self._starting:
            while len(self._all) < count:
                engine = engines.start(self._engine, self._data, self._card, threads=self._threads)
                self._all.append(engine)
                self._engines.put(engine)


_classifiers: weakref.WeakSet[Classifier] = weakref.WeakSet()
"""All there are in this process."""


def _after_fork() -> None:
    """Let every classifier start engines of its own, in a process that was forked.

    Only the forking thread lives on in it: an engine that another thread was using stays half-way, locks that
    were held stay locked, and the threads of an engine's pool are not there to be waited for. So what is left
    of the parent's is never destroyed either, not even when this process ends.
    """
    import ctypes

    for classifier in list(_classifiers):
        left = (classifier._all, classifier._engines, classifier._starting)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(left))
        classifier._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def load(
    path: str | os.PathLike[str] | None = None, *, engine: str | None = None, threads: int | None = None
) -> Classifier:
    """Read a model file, prove that it is whole, and make it ready to answer.

    Args:
        path: a `.tflite` or `.onnx` file with a card of Falx; None takes the model in the wheel.
        engine: `litert`, `tflite` or `onnx`; None takes the first that is installed for the format.
        threads: how many threads one inference uses; None means one.

    Raises:
        ModelNotFound: there is no such file.
        CardError: its card is missing, foreign or wrong.
        ChecksumError: it is not, byte for byte, the file that was written.
        GraphError: its graph cannot be run, or is not as its card says.
        ModelError: it is no model, or none for this engine. The four above are its subclasses.
        EngineUnavailable: the engine is not installed, or does not work here.
        UnknownEngine: there is no engine of that name.
        ValueError: `threads` is not a number from 1.

    Warns:
        FalxWarning: the engine runs this file, but far slower than another would.
    """
    classifier = Classifier(DEFAULT_MODEL if path is None else path, engine=engine, threads=threads)
    caution = engines.caution(classifier.engine, classifier.card)
    if caution is not None:
        warnings.warn(caution, FalxWarning, stacklevel=2)
    return classifier


def read_model(path: Path) -> bytes:
    """The bytes of a model file.

    Raises:
        ModelNotFound: there is no such file, or this installation came without a model.
        ModelError: it cannot be read.
    """
    if path == DEFAULT_MODEL and not path.exists():
        raise ModelNotFound(
            f"{path}: this installation has no model of its own; install the wheel, or give a model file"
        )
    return model_file.load_bytes(path)


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
