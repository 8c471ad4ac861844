"""The way through: load a model, and classify one slice, many, or a study."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from falx import decision
from falx.debug import debug
from falx.decision import Refusal, Thresholds
from falx.engines import Inference, OnnxOptions, caution, choose
from falx.engines.pool import Pool, cores, map_in_order
from falx.errors import FalxWarning, ModelError, UnreadableImage
from falx.model import file as model_file
from falx.prediction import Failure, Location, ModelIdentity, Prediction
from falx.progress import Progress, watched
from falx.reading.pixels import PixelArray
from falx.reading.source import Source, path_of, read
from falx.slices.preprocessing import prepare
from falx.slices.slice import Part
from falx.timings import Timings
from falx.words import LABELS, RECOMMENDATIONS, REJECTED, band

if TYPE_CHECKING:
    import numpy.typing as npt

    from falx.reading.series import Gathering
    from falx.slices.reasons import Reason
    from falx.study import Study


class Classifier:
    """A model, ready to answer. Safe to share between threads. Made by `falx.load`.

    Attributes:
        card: what the model file says about itself.
        engine: runs the graph: `litert`, `tflite` or `onnx`.
        model: name, version and checksum of the model file.
        path: of the model file.
        threads: how many threads one inference uses.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        engine: str | None = None,
        threads: int | None = None,
        engines: int | None = None,
        onnx: OnnxOptions | None = None,
    ) -> None:
        """Reads a model file, proves it, and starts the first engine; see `load`."""
        # Absolute: where the classifier arrives, the working folder may be another.
        self._from = None if path is None else str(Path(path).absolute())
        self._settings = {"engine": engine, "threads": threads, "engines": engines, "onnx": onnx}
        self.threads: Final = _positive("threads", 1 if threads is None else threads)
        limit = _positive("engines", cores() if engines is None else engines)
        file = model_file.load(model_file.DEFAULT_MODEL if path is None else Path(path))
        self.card: Final = file.card
        self.path: Final = file.path
        self.engine: Final = choose(engine, file.format)
        self.model: Final = ModelIdentity(file.card.name, file.card.version, file.sha256)
        self._pool = Pool(file, self.engine, threads=self.threads, limit=limit, onnx=onnx)
        debug("model %s %s (SHA-256 %s) is loaded on %s", *astuple(self.model), self.engine)

    def __reduce__(self) -> tuple[Callable[..., Classifier], tuple[object, ...]]:
        """Becomes its file and its settings, and is loaded from that file where it arrives."""
        return _arrived, (self.model.sha256, self._from, self._settings)

    def __repr__(self) -> str:
        return f"<falx.Classifier {self.card.name} {self.card.version} on {self.engine}>"

    def predict(
        self,
        source: Source,
        *,
        window: tuple[float, float] | None = None,
        spacing: tuple[float, float] | None = None,
        axis: int | None = None,
        thresholds: Thresholds | Mapping[str, float] | None = None,
    ) -> Prediction:
        """Classifies one slice.

        Args:
            source: a path, bytes of a file, an open file, PIL image, array, pydicom Dataset, or a `Part` of a
                file of several slices; see `falx.reading.source.read`.
            window: of an array: the centre and width of the values to show; None shows all of them.
            spacing: of an array: the distance of the centres of neighbouring rows, and columns, in mm.
            axis: of an array: the axis of the colour channels; None means the last one.
            thresholds: of every label, instead of the card's.

        Raises:
            UnreadableImage: the input is not one picture, or one of its subclasses says why.
            TypeError: window, spacing or axis is given for something other than an array.
            ValueError: the window shows nothing, the spacing is not two lengths, or there is no such axis.
            ThresholdError: a threshold is missing, unknown, or not in (0, 1].
            GraphError: the graph answered values that are not probabilities.
        """
        if window is not None or spacing is not None or axis is not None:
            source = PixelArray(_array(source), window=window, spacing_mm=spacing, axis=axis)
        return self._predict(source, self._in_force(thresholds))

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
        in_force = self._in_force(thresholds)
        return map_in_order(lambda source: self._answer(source, in_force), sources, workers)

    def predict_study(
        self,
        source: str | os.PathLike[str] | npt.NDArray[np.generic] | Iterable[Source] | Gathering,
        *,
        study: str | None = None,
        one_patient: bool = False,
        spacing: tuple[float, float, float] | None = None,
        axis: int | None = None,
        volume: int = 1,
        progress: Progress | None = None,
        workers: int = 1,
        thresholds: Thresholds | Mapping[str, float] | None = None,
    ) -> Study:
        """Classifies the slices of an examination, series by series, and sums them up.

        Args:
            source: a folder, a DICOM file of several frames, a volume, a zip archive, several files, folders
                and pydicom Datasets of one study, what `falx.reading.series.gather` made of these, or a
                volume as an array of three dimensions.
            study: the Study Instance UID of the study that is meant, where there are several.
            one_patient: whether what has no tags is of one patient: pictures in order, and volumes.
            spacing: of an array: the size of a voxel along each axis, in mm.
            axis: of an array: the axis that the slices are cut across; None takes that of the coarsest
                voxels, else the first. A note of the series says which it was.
            volume: which volume to take of a file that holds several, such as points in time, from 1.
            progress: is called with how many files were found and None while files are opened, then with how
                many slices were answered and how many there are. Where it returns False, the work ends with
                `Cancelled`; what it raises passes on.
            workers: how many threads work on slices; see `engines` of `load`.
            thresholds: of every label, instead of the card's.

        Returns:
            The study; a slice that cannot be read is a failure in it, and counts in its decision.

        Raises:
            ImageNotFound: the path leads to nothing, or there is no image in it.
            DicomUnavailable, VolumeUnavailable: the package that reads these files is not installed.
            UnreadableImage: there is not exactly one study, or there are pictures that nothing says to be
                of one patient, or the array is not a volume.
            Cancelled: `progress` returned False.
            TypeError: spacing or axis is given for something other than an array.
            ThresholdError: a threshold is missing, unknown, or not in (0, 1].
            ValueError: `workers` is not a number from 1, the spacing is not three lengths, or there is no
                such axis.
        """
        # Here: who classifies single slices does not need it.
        from falx.reading.series import Gathering, gather
        from falx.study import sum_up

        started = time.perf_counter()
        if isinstance(source, np.ndarray) or spacing is not None or axis is not None:
            from falx.reading.volume import Volume

            array = Volume.of_array(_array(source), spacing_mm=spacing, axis=axis)
            source = gather([array], progress=progress)
        found = source
        if not isinstance(found, Gathering):
            found = gather(found, study=study, one_patient=one_patient, volume=volume, progress=progress)
        many = self.predict_many(found.sources, workers=workers, thresholds=thresholds)
        answers = list(watched(many, progress, len(found.sources)))
        return sum_up(found, answers, elapsed_ms=(time.perf_counter() - started) * 1000)

    def _answer(self, source: Source, thresholds: Thresholds) -> Prediction | Failure:
        try:
            return self._predict(source, thresholds)
        except UnreadableImage as error:
            _let_go(error)
            origin = source.holder.origin(source.number) if isinstance(source, Part) else None
            return Failure(path_of(source), error, origin)

    def _predict(self, source: Source, thresholds: Thresholds) -> Prediction:
        moments = [time.perf_counter_ns()]
        seen = decision.before(lambda: read(source), self.card.rejection)
        moments.append(time.perf_counter_ns())
        decided, probabilities, location = REJECTED, None, None
        if isinstance(seen, Refusal):
            reason: Reason | None = seen.reason
        else:
            tensor, frame = prepare(seen.pixels)
            moments.append(time.perf_counter_ns())
            found = self._pool.run(tensor)
            moments.append(time.perf_counter_ns())
            outcome = decision.after(
                found.probabilities,
                found.familiarity,
                seen.doubt,
                self.card.rejection,
                thresholds,
                no_brain=found.no_brain,
            )
            moments.append(time.perf_counter_ns())
            decided, reason = outcome.decision, outcome.reason
            if reason is None:
                height, width = seen.pixels.shape
                probabilities = dict(zip(LABELS, found.probabilities, strict=True))
                location = None if found.heatmap is None else Location(found.heatmap, frame, (height, width))
        own = self.card.thresholds
        confidence = None if probabilities is None else probabilities.get(decided)
        prediction = Prediction(
            decision=decided,
            confidence=confidence,
            band=None if confidence is None else band(confidence),
            probabilities=probabilities,
            recommendation=RECOMMENDATIONS[decided],
            thresholds=thresholds,
            thresholds_changed=tuple(label for label in LABELS if thresholds[label] != own[label]),
            reason=reason,
            elapsed_ms=(time.perf_counter_ns() - moments[0]) / 1e6,
            model=self.model,
            path=path_of(source),
            timings=Timings.between(moments),
            location=location,
            origin=seen.origin,
        )
        debug("slice answered by %s in %.1f ms", self.engine, prediction.elapsed_ms)
        return prediction

    def _in_force(self, given: Thresholds | Mapping[str, float] | None) -> Thresholds:
        return self.card.thresholds if given is None else Thresholds.from_mapping(given)


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    engine: str | None = None,
    threads: int | None = None,
    engines: int | None = None,
    onnx: OnnxOptions | None = None,
) -> Classifier:
    """Reads a model file, proves that it is whole, and makes it ready to answer.

    Args:
        path: a `.tflite` or `.onnx` file with a card of Falx; None takes the model in the wheel.
        engine: `litert`, `tflite` or `onnx`; None takes the first that is installed for the format.
        threads: how many threads one inference uses; None means one.
        engines: how many inferences run at a time, at most, each in a thread of the caller's; None means one
            for every processor core. An engine is started when it is first needed.
        onnx: providers and session options of ONNX Runtime, for engine `onnx` alone; None runs on the CPU.

    Raises:
        ModelNotFound: there is no such file.
        CardError: its card is missing, foreign or wrong.
        ChecksumError: it is not, byte for byte, the file that was written.
        GraphError: its graph cannot be run, or is not as its card says.
        ModelError: it is not a model, or not one for this engine. The four above are its subclasses.
        EngineUnavailable: the engine or a provider is not installed, or does not work here.
        UnknownEngine: there is no engine of that name.
        ValueError: `threads` or `engines` is not a whole number from 1, or `onnx` does not fit.

    Warns:
        FalxWarning: the engine runs this file, but far slower than another would.
    """
    classifier = Classifier(path, engine=engine, threads=threads, engines=engines, onnx=onnx)
    slow = caution(classifier.engine, classifier.card)
    if slow is not None:
        warnings.warn(slow, FalxWarning, stacklevel=2)
    return classifier


def _array(source: object) -> npt.NDArray[np.generic]:
    if not isinstance(source, np.ndarray):
        raise TypeError(f"window, spacing and axis are for arrays, got {type(source).__name__}")
    return source


def _arrived(sha256: str, path: str | None, settings: Mapping[str, Any]) -> Classifier:
    classifier = load(path, **settings)
    if classifier.model.sha256 != sha256:
        raise ModelError(
            f"{classifier.path}: expected the model with SHA-256 {sha256[:16]}..., which this classifier had "
            f"where it was pickled, this file has {classifier.model.sha256[:16]}...; bring the same file"
        )
    return classifier


def _let_go(error: BaseException | None) -> None:
    """Removes the tracebacks of an error that is kept: they hold what its lines held, such as the file."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    return value
