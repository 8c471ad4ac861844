"""A training run: from data to a run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import keras
import numpy as np
from scipy.special import softmax

from falx._version import __version__
from falx.decision import Thresholds
from falx.errors import FalxError
from falx.optional import needs
from falx.words import LABELS, MODEL_NAME, NO_TUMOR
from falx.writing import write_whole
from falx_runs.arrays import Float32s
from falx_runs.errors import DataError, RunError
from falx_runs.manifest import LEARNED, UNTYPED, Record, read_outliers, read_records, targets, to_csv
from falx_runs.run_folder import MANIFEST, MODEL, Calibration, FinishedRun, is_finished, read_run, write_run
from falx_runs.tables import write_csv
from falx_trainer import plots
from falx_trainer.data import tensors
from falx_trainer.data.division import divide
from falx_trainer.data.survey import survey
from falx_trainer.data.tensors import Tensors
from falx_trainer.scores import confusion_text, measure, report_text, score
from falx_trainer.training import calibration, stages
from falx_trainer.training.checkpoint import Checkpoint
from falx_trainer.training.network import BRAIN, Network, build_for, inference_model, take_weights
from falx_trainer.training.recipe import PRESETS, Recipe
from falx_trainer.training.sampling import shows_tumor

FEWEST: Final = 200
"""With fewer slices of val a trained model keeps the calibration that it began with. A temperature fitted on
24 slices of feltrin came to the lower end of its range, and every probability to nearly 0 or 1 (30 November
2026)."""

PACKAGES: Final = ("keras", "tensorflow", "numpy", "pillow", "scikit-learn", "scipy")
"""A run records the versions of these packages, which can change its outcome."""


def run(
    data: Sequence[Path],
    folder: Path,
    recipe: Recipe,
    *,
    preset: str,
    name: str,
    weights: str,
    outliers: Path | None = None,
    cache: Path | None = None,
    start_from: Path | None = None,
    tensorboard: Path | None = None,
    h5: bool = False,
) -> Path:
    """Trains a model and writes its run folder; goes on where an earlier call was cut off.

    Args:
        data: folders with a folder a class, or manifests.
        folder: the run's; created. Holds a checkpoint on the way, and at the end `model.keras`,
            `meta.json`, `recipe.toml`, the survey `data.txt` and the division `data.csv`, the history,
            the confusion matrix and the report.
        recipe: all settings.
        preset: the name of the preset the recipe started from, for the record.
        name: the model's.
        weights: of the ImageNet backbone: a file, or `imagenet` to download them.
        outliers: a folder or manifest of pictures that are no slice of a brain; those of `train`, and those
            of no split, are learned.
        cache: where prepared images are kept for other runs; None keeps them in the run folder until its end.
        start_from: a trained model to go on from, in place of `weights`: its `model.keras`, or the folder of
            a run or a release that holds one.
        tensorboard: a folder for the measures of each epoch, as TensorBoard reads them.
        h5: also write `model.h5`.

    Raises:
        DataError: the data cannot be used.
        RunError: the folder holds a finished run, or one of another recipe or other data; or the weights or
            the name cannot be used.
        DivergedError: the loss is no longer a finite number.
    """
    if MODEL_NAME.fullmatch(name) is None:
        raise RunError(
            f"{name!r}: cannot be a model's name; expected at most 64 letters, digits, '.', '_' and '-', a "
            "letter or digit first; give one with --name"
        )
    if is_finished(folder):
        raise RunError(f"{folder}: holds a finished run; give another --out, or delete it")
    begun = None
    if start_from is not None:
        if start_from.is_dir() and is_finished(start_from):
            begun = read_run(start_from)
        weights = str(start_from / MODEL if start_from.is_dir() else start_from)
    if weights != "imagenet" and not Path(weights).is_file():
        expected = "weights of the backbone, or 'imagenet'" if start_from is None else "a trained model.keras"
        raise RunError(f"{weights}: no such file; expected {expected}")
    origin = weights if weights == "imagenet" else hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    records = [record for one in data for record in read_records(one)]
    _begin(folder, {})
    prepared = cache or folder / "prepared"
    loaded = tensors.load(records, prepared)
    others = None if outliers is None else _load_outliers(outliers, prepared)
    division = divide(loaded.records, loaded.pixels, recipe.seed)
    found = survey(loaded, division, recipe.untyped)
    print(found, flush=True)  # noqa: T201 - the survey is for the person who started the run
    _begin(
        folder,
        {
            "recipe.toml": recipe.to_toml(),
            "data.txt": f"{found}\nfingerprint: {loaded.fingerprint}\n"
            + (f"outliers: {others.fingerprint}\n" if others else ""),
            MANIFEST: to_csv(division.records),
        },
    )
    left_out = set(filter(None, recipe.without.split(",")))
    if unknown := left_out - {record.source for record in division.records}:
        raise RunError(
            f"without: no such collection in {', '.join(map(str, data))}: {', '.join(sorted(unknown))}"
        )

    def part(split: str, *, foreign: bool = False) -> Tensors:
        indices = [
            index
            for index, record in enumerate(division.records)
            if (record.source in left_out) == foreign
            and (record.split == split if split else record.split != "test")
            and (foreign or record.label != UNTYPED or recipe.untyped == "partial")
        ]
        return loaded.select(np.array(indices, np.intp), [division.records[index] for index in indices])

    train, val = part("train"), part("val")
    foreign = part("", foreign=True) if left_out else None
    _check_kinds(train, "train")
    _check_kinds(val, "val")
    keras.utils.set_random_seed(recipe.seed)
    network = _build(recipe, weights) if start_from is None else _build_from(recipe, Path(weights))
    told = None if tensorboard is None else _scalars(tensorboard)
    history = stages.train(network, train, val, recipe, folder / "checkpoint", others, told)
    fitted, thresholds, least_familiarity, metrics = _calibrate(
        folder, network, val, foreign, recipe, history, begun
    )
    model = inference_model(network, fitted)
    for suffix in ("keras", "h5") if h5 else ("keras",):
        model.save(folder / f"model.{suffix}")
    done = FinishedRun(
        folder=folder,
        name=name,
        preset=preset,
        changes=recipe.changes(PRESETS[preset]),
        calibration=fitted,
        thresholds=thresholds,
        least_familiarity=least_familiarity,
        metrics=metrics,
        seed=recipe.seed,
        trainer=__version__,
        data={
            "fingerprint": train.fingerprint,
            "counts": {part: _count(some, "label") for part, some in (("train", train), ("val", val))},
            "sources": _count(train, "source"),
        },
        weights=origin,
        versions=_versions(),
        seconds=round(sum(row["seconds"] for row in history)),
    )
    write_run(done)
    Checkpoint(folder / "checkpoint").remove()
    shutil.rmtree(folder / "prepared", ignore_errors=True)
    return done.model


class TensorBoardUnavailable(FalxError, ImportError):  # noqa: N818 - the name says what is wrong
    """TensorBoard is to be told of the training, and is not installed."""


def _scalars(folder: Path) -> Callable[[int, dict[str, float]], None]:
    """Returns a function that tells TensorBoard the measures of an epoch."""
    with needs("--tensorboard", "tensorboard", TensorBoardUnavailable):
        from tensorboard.summary import Writer
    writer = Writer(str(folder))

    def told(epoch: int, row: dict[str, float]) -> None:
        for name, value in row.items():
            part = "val" if name.startswith("val_") else "train"
            writer.add_scalar(f"{part}/{name.removeprefix('val_')}", value, epoch)
        writer.flush()

    return told


def _load_outliers(data: Path, cache: Path) -> Tensors:
    """Reads the pictures that are learned, their kinds as labels."""
    learned = [
        Record(one.path, one.kind, one.source, one.group)
        for one in read_outliers(data)
        if one.split in LEARNED
    ]
    if not learned:
        raise DataError(f"{data}: expected pictures of the split train, or of no split; found none")
    return tensors.load(learned, cache)


def _begin(folder: Path, documents: dict[str, str]) -> None:
    """Writes what identifies a run, or finds that the folder's is the same.

    Until a first epoch is saved nothing is lost with a run, so another one may take its folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made the run's folder: {error}") from error
    for name, text in documents.items():
        path = folder / name
        if not path.exists() or Checkpoint(folder / "checkpoint").is_empty:
            write_whole(path, text.encode())
        elif path.read_text(encoding="utf-8") != text:
            raise RunError(
                f"{path}: an unfinished run of another recipe or other data is here; "
                "go on with its own settings, give another --out, or delete the folder"
            )


def _check_kinds(data: Tensors, split: str) -> None:
    healthy = sum(record.label == NO_TUMOR for record in data.records)
    if not 0 < healthy < len(data.records):
        raise DataError(
            f"{split}: {len(data.records)} images of labels this recipe uses, {healthy} of them no_tumor; "
            "images with a tumour and without one are needed"
        )


def _build(recipe: Recipe, weights: str) -> Network:
    try:
        return build_for(recipe, weights)
    except Exception as error:  # Keras and h5py raise anything on a file of another kind
        if weights == "imagenet":
            raise RunError(
                "the ImageNet weights cannot be downloaded; fetch the file on another machine, and give it "
                f"with --weights FILE: {error}"
            ) from error
        raise RunError(
            f"{weights}: expected the weights of MobileNetV2 without its top, alpha 1.0: {error}"
        ) from error


def _build_from(recipe: Recipe, path: Path) -> Network:
    """Builds the recipe's network with the weights of a trained model."""
    network = build_for(recipe, None)
    try:
        take_weights(network, keras.models.load_model(path, compile=False, safe_mode=True))
    except Exception as error:  # Keras, zipfile and h5py raise anything on a file of another kind
        raise RunError(
            f"{path}: expected a trained model of Falx whose head is that of this recipe "
            f"(head = {recipe.head!r}, dense = {recipe.dense}): {error}"
        ) from error
    return network


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "backend": str(keras.backend.backend())}
    for package in PACKAGES:
        # Keras runs on other backends too, without TensorFlow.
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _calibrate(
    folder: Path,
    network: Network,
    val: Tensors,
    foreign: Tensors | None,
    recipe: Recipe,
    history: stages.History,
    begun: FinishedRun | None,
) -> tuple[Calibration, Thresholds, float, dict[str, object]]:
    """Calibrates on val, chooses thresholds and the least familiarity; writes what people look at.

    The thresholds are chosen on collections left out, where there are some: val is of collections that are
    known. Slices whose tumour does not show choose none. Each slice counts as it is and mirrored: a handful
    of tumours decides, and twice the answers are half the luck.
    """
    labels = [record.label for record in val.records]
    outputs, logits = _answers(network, val)
    fitted = calibration.fit(logits, np.tile(targets(labels), (2, 1)))
    if begun is not None and len(val.records) < FEWEST:
        fitted = begun.calibration
    judged = {"val": (val, outputs)}
    judging = val
    if foreign is not None:
        judging = foreign
        theirs, logits = _answers(network, foreign)
        judged["left_out"] = foreign, theirs
    thresholds = calibration.choose_thresholds(
        calibration.probabilities(logits, fitted),
        np.tile(shows_tumor(judging), 2),
        np.tile([record.label == NO_TUMOR for record in judging.records], 2),
        most_missed=recipe.missed_tumors,
        most_alarms=recipe.false_alarms,
    )
    if begun is not None:
        least = max(thresholds.no_tumor, begun.thresholds.no_tumor)
        thresholds = dataclasses.replace(thresholds, no_tumor=least)
    if recipe.no_tumor:
        thresholds = dataclasses.replace(thresholds, no_tumor=recipe.no_tumor)
    write_history(folder / "history.csv", history)
    plots.plot_history(folder / "history.png", history)
    scores = {}
    metrics: dict[str, object] = {}
    for name, (data, said) in judged.items():
        answers = calibration.probabilities(said["logits"], fitted)
        labels = [record.label for record in data.records]
        scores[name] = score(labels, answers)
        measured = measure(labels, data.boxes, answers, said.get("evidence"), thresholds)
        metrics[name] = {**scores[name], **measured}
    table = confusion_text(LABELS, LABELS, scores["val"]["confusion"])
    report = f"val split\n\n{report_text(scores['val'])}\n\n{table}\n"
    if foreign is not None:
        report += f"\nleft out: {recipe.without}\n\n{report_text(scores['left_out'])}\n"
    print("\n" + report, flush=True)  # noqa: T201 - and so is the outcome
    write_whole(folder / "report.txt", report.encode())
    plots.plot_confusion(
        folder / "confusion.png", LABELS, LABELS, scores["val"]["confusion"], "val split, typed slices"
    )
    least = 0.0
    if "familiarity" in outputs:
        least = calibration.choose_least_familiarity(softmax(outputs["familiarity"], axis=1)[:, BRAIN])
    return fitted, thresholds, least, metrics


def _answers(network: Network, data: Tensors) -> tuple[dict[str, Float32s], Float32s]:
    """Returns what the network says of slices, and the logits of these and of their mirror images."""
    outputs = stages.predict(network, data.pixels)
    mirrored = stages.predict(network, data.pixels[:, :, ::-1])
    return outputs, np.concatenate([outputs["logits"], mirrored["logits"]])


def write_history(path: Path, history: stages.History) -> None:
    """Writes the history as CSV, a row an epoch."""
    head = list(history[0]) if history else ["stage", "epoch"]
    write_csv(path, head, ([row[name] for name in head] for row in history))


def _count(data: Tensors, field: str) -> dict[str, int]:
    return dict(sorted(Counter(getattr(record, field) for record in data.records).items()))
