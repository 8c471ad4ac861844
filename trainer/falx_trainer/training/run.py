"""A training run: from data to a run folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import shutil
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from scipy.special import softmax

from falx import preprocessing
from falx._version import __version__
from falx.decision import DEFAULT_THRESHOLDS, Thresholds
from falx.words import LABELS, MODEL_NAME, NO_TUMOR
from falx.writing import write_whole
from falx_runs.errors import DataError, RunError
from falx_runs.manifest import UNTYPED, Record, read_outliers, read_records, to_csv
from falx_trainer.data import tensors
from falx_trainer.data.division import Division, divide
from falx_trainer.data.survey import survey
from falx_trainer.data.tensors import Tensors
from falx_trainer.training import calibration, results, stages
from falx_trainer.training.checkpoint import Checkpoint
from falx_trainer.training.network import BRAIN, Network, build_for, inference_model
from falx_trainer.training.recipe import PRESETS, Recipe, read_toml
from falx_trainer.training.sampling import find_doubtful

__all__ = ["run", "write_manifest"]

META_SCHEMA: Final = 1

PACKAGES: Final = ("keras", "tensorflow", "numpy", "pillow", "scikit-learn", "scipy")
"""Whose versions a run records: those that can change its outcome."""


def run(
    data: Path,
    folder: Path,
    recipe: Recipe,
    *,
    preset: str,
    name: str,
    weights: str,
    outliers: Path | None = None,
    cache: Path | None = None,
    h5: bool = False,
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
        outliers: a folder or manifest of pictures that are no slice of a brain; those of `train`, and those
            of no split, are learned.
        cache: where prepared images are kept for other runs; None keeps them in the run folder until its end.
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
    if (folder / "meta.json").exists():
        raise RunError(f"{folder}: holds a finished run; give another --out, or delete it")
    if weights != "imagenet" and not Path(weights).is_file():
        raise RunError(f"{weights}: no such file; expected weights of the backbone, or 'imagenet'")
    origin = weights if weights == "imagenet" else hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    if recipe.real_outliers and outliers is None:
        raise RunError("real_outliers: expected --outliers with pictures to show; or set real_outliers = 0")
    prepared = cache or folder / "prepared"
    loaded, division = _divided(data, recipe, prepared)
    others = None if outliers is None else _load_outliers(outliers, prepared)
    found = survey(loaded, division, recipe.untyped)
    print(found, flush=True)  # noqa: T201 - the survey is for the person who started the run
    _begin(
        folder,
        {
            "recipe.toml": recipe.to_toml(),
            "data.txt": f"{found}\n{_signed(loaded)}\n"
            + (f"outliers: {others.fingerprint}\n" if others else ""),
            "data.csv": to_csv(division.records),
        },
    )
    left_out = set(filter(None, recipe.without.split(",")))
    if unknown := left_out - {record.source for record in division.records}:
        raise RunError(f"without: no such collection in {data}: {', '.join(sorted(unknown))}")

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
    network = _build(recipe, weights)
    history = stages.train(network, train, val, recipe, folder / "checkpoint", others)
    calibrated, outcome = _calibrate(folder, network, val, foreign, recipe, history)
    model = inference_model(network, calibrated)
    for suffix in ("keras", "h5") if h5 else ("keras",):
        model.save(folder / f"model.{suffix}")
    meta = {
        "schema": META_SCHEMA,
        "name": name,
        "preset": preset,
        "changes": recipe.changes(PRESETS[preset]),
        "labels": LABELS,
        "preprocessing": preprocessing.NAME,
        **outcome,
        "seed": recipe.seed,
        "trainer": __version__,
        "data": {
            "fingerprint": train.fingerprint,
            "counts": {part: _count(some, "label") for part, some in (("train", train), ("val", val))},
            "sources": _count(train, "source"),
        },
        # Of the backbone, as it began.
        "weights": origin,
        "versions": _versions(),
        "seconds": round(sum(row["seconds"] for row in history)),
    }
    # Last: a folder with a meta.json is a finished run.
    _write(folder / "meta.json", json.dumps(meta, indent=1) + "\n")
    Checkpoint(folder / "checkpoint").remove()
    shutil.rmtree(folder / "prepared", ignore_errors=True)
    return folder / "model.keras"


def write_manifest(folder: Path, data: Path) -> Path:
    """Write the `data.csv` of a run whose folder has none.

    Args:
        folder: the run's; its recipe and data fingerprint are read.
        data: what the run was trained on.

    Returns:
        The path of the manifest: the run's readable images, and in which split it had each.

    Raises:
        DataError: data that cannot be used.
        RunError: these are not the run's data, or it has another `data.csv`.
    """
    loaded, division = _divided(data, Recipe().override(read_toml(folder / "recipe.toml")))
    if _signed(loaded) not in (folder / "data.txt").read_text(encoding="utf-8").splitlines():
        raise RunError(f"{data}: expected the data of the run in {folder}; the images or labels are others")
    _begin(folder, {"data.csv": to_csv(division.records)})
    return folder / "data.csv"


def _load_outliers(data: Path, cache: Path) -> Tensors:
    """The pictures that are learned, their kinds as labels."""
    learned = [
        Record(one.path, one.kind, one.source, one.group)
        for one in read_outliers(data)
        if one.split in ("train", "")
    ]
    if not learned:
        raise DataError(f"{data}: expected pictures of the split train, or of no split; found none")
    return tensors.load(learned, cache)


def _divided(data: Path, recipe: Recipe, cache: Path | None = None) -> tuple[Tensors, Division]:
    loaded = tensors.load(read_records(data), cache)
    return loaded, divide(loaded.records, loaded.pixels, recipe.seed)


def _signed(loaded: Tensors) -> str:
    """The line of `data.txt` that tells these images and labels from others."""
    return f"fingerprint: {loaded.fingerprint}"


def _begin(folder: Path, documents: dict[str, str]) -> None:
    """Write what identifies a run, or find that the folder's is the same."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made the run's folder: {error}") from error
    for name, text in documents.items():
        path = folder / name
        if not path.exists():
            _write(path, text)
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
    folder: Path,
    network: Network,
    val: Tensors,
    foreign: Tensors | None,
    recipe: Recipe,
    history: stages.History,
) -> tuple[calibration.Calibration, dict[str, Any]]:
    """Calibrate on val, choose thresholds and save what people look at; the facts for `meta.json`.

    The threshold of `no_tumor` is chosen on collections left out, where there are some: val is of
    collections that are known. Slices whose tumour does not show choose none.
    """
    labels = [record.label for record in val.records]
    outputs = stages.predict(network, val.pixels)
    judging, shown = (outputs, val) if foreign is None else (stages.predict(network, foreign.pixels), foreign)
    tumor = np.array([record.label != NO_TUMOR for record in shown.records]) & ~find_doubtful(shown)
    found = calibration.calibrate(outputs, labels, recipe.map_weight)
    probabilities = found.probabilities(judging)
    thresholds = (
        Thresholds.from_mapping(DEFAULT_THRESHOLDS.to_dict() | {NO_TUMOR: recipe.no_tumor})
        if recipe.no_tumor
        else calibration.choose_thresholds(probabilities, tumor, recipe.missed_tumors)
    )
    results.write_history(folder / "history.csv", history)
    results.plot_history(folder / "history.png", history)
    scores = results.score(labels, found.probabilities(outputs))
    table = results.confusion_text(LABELS, LABELS, scores["confusion"])
    report = f"val split\n\n{results.report_text(scores)}\n\n{table}\n"
    print("\n" + report, flush=True)  # noqa: T201 - and so is the outcome
    _write(folder / "report.txt", report)
    results.plot_confusion(
        folder / "confusion.png", LABELS, LABELS, scores["confusion"], "val split, typed slices"
    )
    return found, {
        "temperature": round(found.temperature, 6),
        **({"offset": round(found.offset, 6)} if recipe.map_weight else {}),
        "thresholds": thresholds.to_dict(),
        **(
            {
                "least_familiarity": calibration.choose_least_familiarity(
                    softmax(outputs["familiarity"], axis=1)[:, BRAIN]
                )
            }
            if "familiarity" in outputs
            else {}
        ),
        "metrics": {"val": scores}
        | (
            {}
            if foreign is None
            else {"left_out": results.score([record.label for record in foreign.records], probabilities)}
        ),
    }


def _count(data: Tensors, field: str) -> dict[str, int]:
    return dict(sorted(Counter(getattr(record, field) for record in data.records).items()))


def _write(path: Path, text: str) -> None:
    write_whole(path, text.encode())
