"""The command line, from data to a run folder."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from PIL import Image
from tests.said import Command, Said, python

from falx.decision import DEFAULT_THRESHOLDS, Thresholds
from falx.words import LABELS, MODEL_NAME
from falx_runs.errors import RunError
from falx_runs.manifest import read_records, to_csv
from falx_trainer.data import tensors
from falx_trainer.training.calibration import LEAST_NO_TUMOR, least_threshold
from falx_trainer.training.recipe import PRESETS, Recipe, read_toml
from falx_trainer.training.run import run

CHANGES = {
    "batch": 8,
    "stage1.epochs": 1,
    "size": 96,
    "stage2.full": 0,
    "stage2.epochs": 1,
    "stage2.layers": 6,
}
SMALL = [text for name, value in CHANGES.items() for text in (f"--{name}", str(value)) if name != "batch"]


Fails = Callable[..., str]


class Trained(NamedTuple):
    """A run folder that `python -m falx_trainer train` wrote, and what it printed."""

    folder: Path
    printed: str

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.folder / "meta.json").read_text())
        return facts


def trained(*arguments: object) -> Said:
    """Trains in a process of its own."""
    path = os.pathsep.join(sys.path)
    return python("-m", "falx_trainer", "train", *arguments, "--batch", 8, *SMALL, PYTHONPATH=path)


@pytest.fixture(scope="module")
def finished(manifest: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("runs") / "small"
    more = ("--h5", "--tensorboard", folder.with_name("board"))
    done = trained("--data", manifest, "--out", folder, "--weights", random_weights, *more)
    # Not a word of TensorFlow, which logs before it can be told not to.
    assert (done.status, done.err) == (0, "")
    return Trained(folder, done.out)


@pytest.fixture
def fails(trainer: Command) -> Fails:
    """Returns the one line that a training ends with when it fails."""

    def run(*arguments: object) -> str:
        said = trainer("train", *arguments)
        *_, line = said.err.splitlines()
        assert (said.status, "Traceback" in said.err) == (2, False)
        assert line.startswith("falx_trainer: ")
        return line

    return run


def test_the_run_folder_holds_every_file(finished: Trained) -> None:
    assert {path.name for path in finished.folder.iterdir()} == {
        *("confusion.png", "data.csv", "data.txt", "history.csv", "history.png", "meta.json", "model.h5"),
        *("model.keras", "recipe.toml", "report.txt"),
    }
    assert all(path.stat().st_size > 0 for path in finished.folder.iterdir())


def test_what_it_prints(finished: Trained) -> None:
    folder, text = finished
    survey, report = (folder / "data.txt").read_text(), (folder / "report.txt").read_text()
    found, _, fingerprint = survey.rpartition("fingerprint: ")
    assert found in text
    assert report in text
    assert finished.facts()["data"]["fingerprint"] == fingerprint.strip()
    # The survey comes before any training.
    assert text.index("expected accuracy from 19 training images: poor") < text.index("stage 1, epoch 1 of 1")
    assert re.search(r"^\d+ slices a second$", text, re.MULTILINE)
    assert text.rstrip().endswith(f"wrote {folder / 'model.keras'}")


def test_meta(finished: tuple[Path, str], random_weights: Path) -> None:
    meta = json.loads((finished[0] / "meta.json").read_text())
    assert (meta["schema"], meta["name"], meta["preset"], meta["seed"]) == (2, "small", "default", 7)
    assert meta["labels"] == list(LABELS)
    assert meta["preprocessing"] == "falx-head-1"
    calibration = meta["calibration"]
    assert 0.25 <= calibration["temperature"] <= 8
    assert 0.25 <= calibration["kind_temperature"] <= 8
    assert -4 <= calibration["offset"] <= 4
    assert Thresholds.from_mapping(meta["thresholds"]).to_dict() == meta["thresholds"]
    typed = {"glioma": 4, "meningioma": 4, "no_tumor": 4, "pituitary": 4}
    assert meta["data"]["counts"]["train"] == typed | {"tumor_untyped": 3}
    assert meta["data"]["counts"]["val"] == dict.fromkeys(typed, 2) | {"tumor_untyped": 1}
    assert sum(meta["data"]["sources"].values()) == 19
    assert meta["metrics"]["val"]["slices"] == 8
    assert meta["versions"]["keras"] == keras.__version__
    assert meta["versions"].keys() >= {"python", "backend", "numpy", "pillow", "scikit-learn", "scipy"}
    assert meta["seconds"] >= 0
    assert meta["weights"] == hashlib.sha256(random_weights.read_bytes()).hexdigest()
    assert meta["changes"] == CHANGES
    assert "data_path" not in meta


@pytest.fixture(scope="module")
def foreign(
    manifest: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A run without the collection `b`, with pictures that are no slice of a brain, and its `meta.json`."""
    folder, pictures = tmp_path_factory.mktemp("foreign"), tmp_path_factory.mktemp("pictures")
    for kind in ("head_end", "photo"):
        (pictures / kind).mkdir()
        Image.effect_noise((64, 64), 60).save(pictures / kind / "a.png")
    changes = CHANGES | {"real_outliers": 0.3, "without": "b", "missed_tumors": 0.5}
    train = partial(run, preset="default", name="foreign", weights=str(random_weights))
    recipe = PRESETS["default"].override(changes)
    # What is given in two parts is learned as one.
    records, parts = read_records(manifest), [folder / "first.csv", folder / "second.csv"]
    for part, half in zip(parts, (records[::2], records[1::2]), strict=True):
        part.write_text(to_csv(half))
    train(parts, folder / "run", recipe, outliers=pictures, cache=folder / "cache")
    return folder, json.loads((folder / "run" / "meta.json").read_text())


def test_a_collection_left_out_is_not_learned_and_chooses_the_threshold(
    foreign: tuple[Path, dict[str, Any]], manifest: Path
) -> None:
    folder, meta = foreign
    assert meta["data"]["sources"] == {"a": 10}
    assert sum(meta["data"]["counts"]["val"].values()) == 4
    # All of its slices with one of the four labels, of train and val.
    left_out = [r for r in read_records(manifest) if r.source == "b" and r.label in LABELS]
    assert meta["metrics"]["left_out"]["slices"] == len(left_out) == 12
    model = keras.models.load_model(folder / "run" / "model.keras", compile=False)
    tumors = [r for r in read_records(manifest) if r.source == "b" and r.label != "no_tumor"]
    pixels = tensors.load(tumors).pixels[..., None].astype(np.float32)
    # Each slice counts as it is and mirrored.
    shown = np.concatenate([pixels, pixels[:, :, ::-1]])
    healthy = model.predict_on_batch(shown)["probabilities"][:, 0]
    assert meta["thresholds"]["no_tumor"] == least_threshold(healthy, 0.5, LEAST_NO_TUMOR)


def test_prepared_images_are_kept_where_asked(foreign: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = foreign
    kept = Counter(path.name for path in (folder / "cache").glob("*/*"))
    assert kept == {"frames.npy": 2, "pixels.npy": 2}
    assert "outliers: " in (folder / "run" / "data.txt").read_text()


def test_a_collection_that_is_not_there_cannot_be_left_out(
    manifest: Path, random_weights: Path, tmp_path: Path
) -> None:
    recipe = PRESETS["default"].override(CHANGES | {"without": "b,x"})
    with pytest.raises(RunError, match=r"^without: no such collection in .*: x$"):
        run([manifest], tmp_path, recipe, preset="default", name="x", weights=str(random_weights))


UNTRAINED = CHANGES | {"stage1.epochs": 0, "stage2.epochs": 0, "dense": 256}


def test_a_run_may_start_from_a_trained_model(finished: Trained, manifest: Path, tmp_path: Path) -> None:
    recipe = PRESETS["own"].override(UNTRAINED)
    run([manifest], tmp_path, recipe, preset="own", name="x", weights="imagenet", start_from=finished.folder)
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["weights"] == hashlib.sha256((finished[0] / "model.keras").read_bytes()).hexdigest()
    # Nothing was learned: it is the same network, calibrated and judged anew on the same slices.
    first = json.loads((finished[0] / "meta.json").read_text())
    assert meta["metrics"]["val"]["accuracy"] == first["metrics"]["val"]["accuracy"]
    assert meta["calibration"] == pytest.approx(first["calibration"], rel=1e-3)
    # So few slices do not show that a lower threshold is safe.
    assert meta["thresholds"]["no_tumor"] >= first["thresholds"]["no_tumor"]
    assert (tmp_path / "history.csv").read_text().splitlines() == ["stage,epoch"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.keras", r"model\.keras: expected a trained model of Falx whose head is .*dense = 9\): "),
        ("meta.json", r"meta\.json: expected a trained model of Falx"),
        ("none", r"none: no such file; expected a trained model\.keras"),
    ],
)
def test_another_model_is_no_start(
    name: str, message: str, finished: Trained, manifest: Path, tmp_path: Path
) -> None:
    recipe = PRESETS["own"].override(CHANGES | {"dense": 9})
    start = finished[0] / name
    with pytest.raises(RunError, match=message):
        run([manifest], tmp_path, recipe, preset="own", name="x", weights="imagenet", start_from=start)


def test_weights_that_cannot_be_downloaded(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("URL fetch failure on https://example.org/weights.h5")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", refuse)
    message = r"on another machine, and give it with --weights FILE: URL .* https://example\.org/weights\.h5$"
    with pytest.raises(RunError, match=message):
        run([manifest], tmp_path, Recipe(), preset="classic", name="x", weights="imagenet")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_train_too(backend: str, manifest: Path, random_weights: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}: pip install --group {backend}")
    where = ("--data", manifest, "--out", tmp_path, "--weights", random_weights)
    done = trained("--backend", backend, *where, "--name", "x")
    assert done.status == 0, done.err
    assert Trained(tmp_path, "").facts()["versions"]["backend"] == backend
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3
    # What it made is a model for any backend.
    model = keras.models.load_model(tmp_path / "model.keras", compile=False)
    answer = model.predict_on_batch(np.zeros((1, 224, 224, 1), np.float32))
    assert answer["probabilities"].sum() == pytest.approx(1, abs=1e-5)


def test_a_threshold_chosen_elsewhere_is_taken(finished: Trained, manifest: Path, tmp_path: Path) -> None:
    recipe, start = PRESETS["own"].override(UNTRAINED | {"no_tumor": 0.83}), finished.folder / "model.keras"
    run([manifest], tmp_path, recipe, preset="own", name="x", weights="imagenet", start_from=start)
    meta = Trained(tmp_path, "").facts()
    assert meta["thresholds"] == DEFAULT_THRESHOLDS.to_dict() | {"no_tumor": 0.83}
    # The start may be the file too.
    assert meta["weights"] == hashlib.sha256(start.read_bytes()).hexdigest()


def test_tensorboard_is_told_of_every_epoch(finished: Trained) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.folder.with_name("board")))
    events.Reload()
    losses = [float(row["val_loss"]) for row in table(finished.folder / "history.csv")]
    told = events.Tensors("val/loss")
    assert [event.step for event in told] == [*range(1, len(losses) + 1)]
    assert [event.tensor_proto.float_val[0] for event in told] == pytest.approx(losses, abs=1e-4)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_manifest_is_the_division(finished: Trained, manifest: Path) -> None:
    expected = [dataclasses.replace(r, path=r.path.resolve()) for r in read_records(manifest)]
    assert read_records(finished.folder / "data.csv") == expected


def test_the_val_split_of_a_run_is_measured(finished: Trained, tmp_path: Path, trainer: Command) -> None:
    folder, data = finished.folder, finished.folder / "data.csv"
    said = trainer("evaluate", folder, "--data", data, "--split", "val", "--out", tmp_path)
    assert said.status == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["slices"], metrics["unreadable"]) == (9, 0)
    assert metrics["model"] == {
        "name": "small",
        "file": "model.keras",
        "sha256": hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest(),
    }
    printed, wrote = said.out.rstrip("\n").rsplit("\n", 1)
    assert printed.rstrip("\n") == (tmp_path / "metrics.txt").read_text().rstrip("\n")
    assert wrote == f"wrote {tmp_path / 'report.html'}"


@pytest.mark.parametrize("column", ["source", "group", "split", "sequence", "plane", "boxes"])
def test_a_run_notices_changed_records(
    column: str, finished: Trained, manifest: Path, random_weights: Path, tmp_path: Path, fails: Fails
) -> None:
    for name in ("recipe.toml", "data.csv"):
        (tmp_path / name).write_bytes((finished.folder / name).read_bytes())
    # A run that saved no epoch would give way to another.
    (tmp_path / "checkpoint" / "000000").mkdir(parents=True)
    rows = table(manifest)
    other = {"source": "c", "group": "new", "split": "test", "sequence": "T1", "plane": "", "boxes": ""}
    row = next(row for row in rows if row["label"] == "glioma")
    assert row[column] != other[column]
    row[column] = other[column]
    changed = manifest.with_name(f"{column}.csv")
    with changed.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    options = ("--data", changed, "--out", tmp_path, "--weights", random_weights, "--batch", 8, *SMALL)
    assert "data.csv: an unfinished run of another recipe or other data is here" in fails(*options)


@pytest.mark.parametrize("name", ["my model", "-x", "", "a" * 65, "größe"])
def test_a_name_that_the_export_refuses_is_refused(
    name: str, manifest: Path, tmp_path: Path, fails: Fails
) -> None:
    assert MODEL_NAME.fullmatch(name) is None
    out = tmp_path / "out"
    with pytest.raises(RunError, match=r"cannot be a model's name; .*; give one with --name$"):
        run([manifest], out, PRESETS["classic"], preset="classic", name=name, weights="imagenet")
    assert not out.exists()
    message = fails("--data", manifest, "--out", tmp_path / "my runs")
    assert "'my runs': cannot be a model's name" in message


def test_the_recipe_is_the_resolved_one(finished: Trained) -> None:
    written = Recipe().override(read_toml(finished.folder / "recipe.toml"))
    assert written == PRESETS["default"].override(CHANGES)


def test_history_has_a_row_an_epoch(finished: Trained) -> None:
    rows = table(finished.folder / "history.csv")
    assert [(row["stage"], row["epoch"]) for row in rows] == [("1", "1"), ("2", "1")]
    for row in rows:
        assert row.keys() >= {"learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
        assert all(np.isfinite(float(value)) for value in row.values())
        assert 0 <= float(row["val_accuracy"]) <= 1


def test_both_models_answer_alike(finished: Trained) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 1)).astype(np.float32)
    first, second = (
        keras.models.load_model(finished.folder / f"model.{suffix}", compile=False).predict_on_batch(images)
        for suffix in ("keras", "h5")
    )
    assert first.keys() == {"probabilities", "heatmap", "familiarity", "no_brain"}
    assert first["probabilities"].shape == (2, 4)
    np.testing.assert_allclose(first["probabilities"].sum(axis=1), 1, atol=1e-5)
    assert ((first["heatmap"] >= 0) & (first["heatmap"] <= 1)).all()
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, atol=1e-6)


def test_a_finished_run_is_not_overwritten(finished: Trained, manifest: Path, fails: Fails) -> None:
    model = finished.folder / "model.keras"
    before = model.stat().st_mtime_ns
    message = fails("--data", manifest, "--out", finished.folder)
    assert message.endswith("small: holds a finished run; give another --out, or delete it")
    assert model.stat().st_mtime_ns == before
    with pytest.raises(RunError, match="holds a finished run") as caught:
        run([manifest], finished.folder, Recipe(), preset="classic", name="x", weights="imagenet")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("name", "text"),
    [("recipe.toml", "seed = 8\n"), ("data.txt", "other data\n"), ("data.csv", "path,label\n")],
)
def test_a_run_of_another_recipe_or_other_data_is_not_gone_on_with(
    name: str, text: str, manifest: Path, random_weights: Path, tmp_path: Path, fails: Fails
) -> None:
    (tmp_path / name).write_text(text)
    # An epoch of it is saved.
    (tmp_path / "checkpoint" / "000000").mkdir(parents=True)
    message = fails("--data", manifest, "--out", tmp_path, "--weights", random_weights)
    assert f"{name}: an unfinished run of another recipe or other data is here" in message
    assert (tmp_path / name).read_text() == text


def test_a_run_that_failed_before_its_first_epoch_does_not_block_its_folder(tmp_path: Path) -> None:
    from falx_trainer.training import run

    run._begin(tmp_path, {"recipe.toml": "seed = 1\n"})
    run._begin(tmp_path, {"recipe.toml": "seed = 2\n"})
    assert (tmp_path / "recipe.toml").read_text() == "seed = 2\n"


def test_bad_data_end_with_one_line(random_weights: Path, tmp_path: Path, fails: Fails) -> None:
    out, data = tmp_path / "out", tmp_path / "data"
    options = ("--out", out, "--weights", random_weights, "--data")
    assert "expected a manifest (CSV) or a folder" in fails(*options, tmp_path / "x")
    (data / "glioma").mkdir(parents=True)
    assert "no images found" in fails(*options, data)
    (data / "glioma" / "a.png").write_text("no image")
    assert "no image could be read" in fails(*options, data)
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (64, 1))).save(data / "glioma" / "a.png")
    assert "glioma: 1 different images or patients; at least 7" in fails(*options, data)
    assert not (out / "recipe.toml").exists()


def test_one_kind_of_image_is_not_trained_on(
    manifest: Path, random_weights: Path, tmp_path: Path, fails: Fails
) -> None:
    lines = manifest.read_text().splitlines()
    some = [line for line in lines if line.startswith(("path,", "glioma", "pituitary"))]
    path = manifest.with_name("tumors.csv")
    path.write_text("\n".join(some) + "\n")
    message = fails("--data", path, "--out", tmp_path / "out", "--weights", random_weights)
    assert "train: 8 images of labels this recipe uses, 0 of them no_tumor" in message


def test_bad_weights_end_with_one_line(manifest: Path, tmp_path: Path, fails: Fails) -> None:
    options = ("--data", manifest, "--out", tmp_path / "out", "--weights")
    message = fails(*options, tmp_path / "nowhere.h5")
    assert "nowhere.h5: no such file; expected weights of the backbone" in message
    bad = tmp_path / "bad.weights.h5"
    bad.write_bytes(b"no weights")
    assert "expected the weights of MobileNetV2 without its top" in fails(*options, bad)


def test_an_out_that_is_a_file_is_refused(
    manifest: Path, random_weights: Path, tmp_path: Path, fails: Fails
) -> None:
    (tmp_path / "out").touch()
    message = fails("--data", manifest, "--out", tmp_path / "out", "--weights", random_weights)
    assert "out: cannot be made the run's folder" in message


def test_data_and_out_are_needed(trainer: Command) -> None:
    trainer("train").refuses("--data and --out are needed")
