"""A training run: from data to a run folder."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import platform
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Final

import keras
import numpy as np
from scipy.special import expit

from falx._version import __version__
from falx.decision import Thresholds
from falx.words import LABELS, MODEL_NAME, NO_TUMOR
from falx.writing import write_whole
from falx_runs.errors import DataError, RunError
from falx_runs.manifest import UNTYPED, read_records, to_csv
from falx_runs.run_folder import MANIFEST, FinishedRun, is_finished, write_run
from falx_trainer import plots
from falx_trainer.data import tensors
from falx_trainer.data.division import divide
from falx_trainer.data.survey import survey
from falx_trainer.data.tensors import Tensors
from falx_trainer.scores import Scores, confusion_text, report_text, score
from falx_trainer.training import calibration, stages
from falx_trainer.training.checkpoint import Checkpoint
from falx_trainer.training.network import Network, build_for, inference_model
from falx_trainer.training.recipe import PRESETS, Recipe

__all__ = ["run", "write_history"]

PACKAGES: Final = ("keras", "tensorflow", "numpy", "pillow", "scikit-learn", "scipy")
"""Whose versions a run records: those that can change its outcome."""


def run(
    data: Path, folder: Path, recipe: Recipe, *, preset: str, name: str, weights: str, h5: bool = False
) -> Path:
    """Train a model and write its run folder; go on where an earlier call was cut off.

    Args:
        data: a folder a class, or a manifest.
        folder: the run's; created. Holds a checkpoint on the way, and at the end `model.keras`,
            `meta.json`, `recipe.toml`, the survey `data.txt` and the division `data.csv`, the history,
            the confusion matrix and the report.
        recipe: all settings.
        preset: the name of the preset the recipe started from, for the record.
        name: the model's.
        weights: of the ImageNet backbone: a file, or `imagenet` to download them.
        h5: also write `model.h5`.

    Returns:
        The path of the trained model.

    Raises:
        DataError: data that cannot be used.
        RunError: the folder holds a finished run, or one of another recipe or other data; or the
            weights or the name cannot be used.
        DivergedError: the loss is no longer a finite number.
    """
    if MODEL_NAME.fullmatch(name) is None:
        raise RunError(
            f"{name!r}: cannot be a model's name; expected at most 64 letters, digits, '.', '_' and '-', a "
            "letter or digit first; give one with --name"
        )
    if is_finished(folder):
        raise RunError(f"{folder}: holds a finished run; give another --out, or delete it")
    if weights != "imagenet" and not Path(weights).is_file():
        raise RunError(f"{weights}: no such file; expected weights of the backbone, or 'imagenet'")
    origin = weights if weights == "imagenet" else hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    loaded = tensors.load(read_records(data))
    division = divide(loaded.records, loaded.pixels, recipe.seed)
    found = survey(loaded, division, recipe.untyped)
    print(found, flush=True)  # noqa: T201 - the survey is for the person who started the run
    _begin(
        folder,
        {
            "recipe.toml": recipe.to_toml(),
            "data.txt": f"{found}\nfingerprint: {loaded.fingerprint}\n",
            MANIFEST: to_csv(division.records),
        },
    )
    keep = [record.label != UNTYPED or recipe.untyped == "partial" for record in division.records]
    chosen = {
        split: np.flatnonzero(
            [kept and record.split == split for kept, record in zip(keep, division.records, strict=True)]
        )
        for split in ("train", "val")
    }
    chosen["both"] = np.sort(np.concatenate(list(chosen.values())))
    train, val, both = (
        loaded.select(indices, [division.records[index] for index in indices]) for indices in chosen.values()
    )
    del loaded
    _check_kinds(train, "train")
    _check_kinds(val, "val")
    keras.utils.set_random_seed(recipe.seed)
    network = _build(recipe, weights)
    history = stages.train(network, train, val, recipe, folder / "checkpoint")
    calibrated, thresholds, least_familiarity, scores = _calibrate(folder, network, val, recipe, history)
    if recipe.stage3.epochs:
        # In a checkpoint of its own: cut off, it needs once more the weights that val has judged.
        history = history + stages.learn_all(network, both, recipe, folder / "checkpoint-3")
    model = inference_model(network, calibrated)
    for suffix in ("keras", "h5") if h5 else ("keras",):
        model.save(folder / f"model.{suffix}")
    done = FinishedRun(
        folder=folder,
        name=name,
        preset=preset,
        changes=recipe.changes(PRESETS[preset]),
        temperature=round(calibrated.temperature, 6),
        offset=round(calibrated.offset, 6) if recipe.map_weight else None,
        thresholds=thresholds,
        least_familiarity=least_familiarity,
        metrics={"val": scores},
        seed=recipe.seed,
        trainer=__version__,
        data={
            "fingerprint": train.fingerprint,
            "counts": {part: _count(some, "label") for part, some in (("train", train), ("val", val))},
            "sources": _count(train, "source"),
            # The splits whose images the weights were fitted to.
            "fitted": ["train", "val"] if recipe.stage3.epochs else ["train"],
        },
        weights=origin,
        versions=_versions(),
        seconds=round(sum(row["seconds"] for row in history)),
    )
    write_run(done)
    for checkpoint in ("checkpoint", "checkpoint-3"):
        Checkpoint(folder / checkpoint).remove()
    return done.model


def _begin(folder: Path, documents: dict[str, str]) -> None:
    """Write what identifies a run, or find that the folder's is the same."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made the run's folder: {error}") from error
    for name, text in documents.items():
        path = folder / name
        if not path.exists():
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
        raise RunError(
            f"{weights}: expected the weights of MobileNetV2 without its top, alpha 1.0, "
            f"as a file or a download: {error}"
        ) from error


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "backend": str(keras.backend.backend())}
    for package in PACKAGES:
        # Keras runs on other backends too, without TensorFlow.
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _calibrate(
    folder: Path, network: Network, val: Tensors, recipe: Recipe, history: stages.History
) -> tuple[calibration.Calibration, Thresholds, float, Scores]:
    """Calibrates and chooses thresholds and the least familiarity on val; writes what people look at."""
    labels = [record.label for record in val.records]
    outputs = stages.predict(network, val.pixels)
    found, thresholds = calibration.calibrate(outputs, labels, recipe.missed_tumors, recipe.map_weight)
    write_history(folder / "history.csv", history)
    plots.plot_history(folder / "history.png", history)
    scores = score(labels, found.probabilities(outputs))
    table = confusion_text(LABELS, LABELS, scores["confusion"])
    report = f"val split\n\n{report_text(scores)}\n\n{table}\n"
    print("\n" + report, flush=True)  # noqa: T201 - and so is the outcome
    write_whole(folder / "report.txt", report.encode())
    plots.plot_confusion(
        folder / "confusion.png", LABELS, LABELS, scores["confusion"], "val split, typed slices"
    )
    least = 0.0
    if "familiarity" in outputs:
        least = calibration.choose_least_familiarity(expit(outputs["familiarity"][:, 0]))
    return found, thresholds, least, scores


def write_history(path: Path, history: stages.History) -> None:
    """Writes the history as CSV, a row an epoch."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(history[0]) if history else ["stage", "epoch"])
        writer.writeheader()
        writer.writerows(history)


def _count(data: Tensors, field: str) -> dict[str, int]:
    return dict(sorted(Counter(getattr(record, field) for record in data.records).items()))
