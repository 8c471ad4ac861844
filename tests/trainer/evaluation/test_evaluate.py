from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.finished import finished
from tests.said import Command

import falx
from falx.model import file as model_file
from falx.phantom import PHANTOMS
from falx_runs.errors import DataError
from falx_runs.run_folder import write_run
from falx_trainer.evaluation.answers import ModelAnswer
from falx_trainer.evaluation.evaluate import evaluate
from falx_trainer.evaluation.file_answers import FileModel
from falx_trainer.evaluation.report import document


@pytest.fixture
def model(tiny_model: Path) -> Path:
    return tiny_model


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A folder of data with a single slice, of a glioma."""
    folder = tmp_path / "data"
    (folder / "glioma").mkdir(parents=True)
    Image.fromarray(PHANTOMS["lesion"]()).save(folder / "glioma" / "a.png")
    return folder


def test_an_exported_file_is_measured_through_the_runtime(tmp_path: Path, model: Path) -> None:
    names = {"clear": "no_tumor", "lesion": "glioma"}
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "source", "group", "split", "sequence", "plane", "boxes"])
        for name, label in names.items():
            Image.fromarray(PHANTOMS[name]()).save(tmp_path / f"{name}.png")
            box = "0.6 0.4 0.3 0.3" if label == "glioma" else ""
            sequence = "T1" if label == "glioma" else ""
            writer.writerow([f"{name}.png", label, "drawn", name, "test", sequence, "ax", box])
        (tmp_path / "broken.png").write_bytes(b"no picture")
        writer.writerow(["broken.png", "glioma", "drawn", "broken", "test", "", "ax", ""])
    text = evaluate(model, tmp_path, "test", tmp_path / "out", pictures(tmp_path / "pictures"))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["slices"] == 3
    assert metrics["unreadable"] == 1
    assert metrics["model"] == {
        "name": "tiny",
        "version": "1.2.3",
        "file": "tiny.tflite",
        "engine": "litert",
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "weights_sha256": model_file.read(model)[0].weights_sha256,
    }
    assert {name: list(metrics[name]) for name in metrics if name.startswith("by_")} == {
        "by_source": ["drawn"],
        "by_sequence": ["T1", "not recorded"],
        "by_plane": ["axial"],
        "by_level": [],
        "by_label": ["glioma", "no_tumor"],
        "by_source_and_sequence": ["drawn, T1", "not recorded"],
    }
    assert metrics["by_plane"]["axial"] == metrics["all"]
    assert metrics["by_sequence"]["T1"]["slices"] == 1
    assert metrics["measured"]["falx"] == falx.__version__
    told = metrics["pictures"]["by_family"]
    assert {name: part["pictures"] for name, part in told.items()} == {"blank": 2, "noise": 1}
    assert told["blank"]["rejected"] == [1.0, 0.0, 1.0, 2]
    assert told["blank"]["reasons"] == {"blank": 2}
    assert metrics["pictures"]["all"]["pictures"] == 3
    assert len(metrics["pictures"]["sha256"]) == 64
    assert metrics["all"]["slices"] == 2
    assert (tmp_path / "out" / "metrics.txt").read_text() == text + "\n"
    assert text.splitlines()[0] == "missed tumours: 0.0 % (0.0–100.0 %), 0 of 1 decided no_tumor"
    assert "\n\nwarning: Too few for a sensitivity of 99 %: with none missed it takes 300 patients" in text
    curves = ("decisions", "labels", "calibration", "risk_coverage", "roc", "precision_recall")
    for name in (*curves, "heatmaps"):
        with Image.open(tmp_path / "out" / f"{name}.png") as plot:
            assert plot.size[0] > 300
    assert "\n\nnot brain MRI, %" in text
    others = {"metrics.json", "metrics.txt", "model_card.md", "report.html", "thresholds.json"}
    tables = {f"{name}.csv" for name in (*curves, "measures", "overlap", "slices")}
    written = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".png"}
    assert written == tables | others


def test_the_card_tells_on_one_page_what_was_measured(tmp_path: Path) -> None:
    metrics = {
        "model": {"name": "mine", "version": "1.0.0", "file": "mine-int8.tflite", "sha256": "ab" * 32},
        "measured": {"on": "2026-11-30", "processor": "Some CPU"},
        "split": "test",
        "warnings": ["few slices, so little is known."],
        "all": {
            "slices": 36,
            "missed": [0.05, 0.0, 0.15, 20],
            "cleared": [0.5, 0.3, 0.7, 16],
            "decided": None,
            "right_of_decided": None,
            "peak_in_box": None,
        },
        "by_source": {},
    }
    text = document.card(metrics, "scans", {"no_tumor": 0.9, "glioma": 0.55})
    assert text.startswith("# mine 1.0.0\n\nA model of Falx:")
    assert "Falx is not a medical device" in text
    assert "| measured on | scans, split `test`: 36 slices" in text
    assert "| thresholds | no tumour 0.9, glioma 0.55 |" in text
    assert (
        "| **tumours decided no tumour** | 5.0\N{NO-BREAK SPACE}% | 0.0–15.0\N{NO-BREAK SPACE}% | 20 |"
        in text
    )
    assert "neither ambiguous nor rejected" not in text
    assert "Few slices, so little is known." in text


def pictures(folder: Path) -> Path:
    """Three pictures of two families; hidden folders are passed over."""
    for family, name, pixels in (
        ("blank", "grey1", np.full((90, 90), 128)),
        ("blank", "grey2", np.full((90, 120), 128)),
        ("noise", "noise", np.random.default_rng(1).integers(0, 256, (90, 90))),
        (".packages", "other", np.zeros((9, 9))),
    ):
        (folder / family).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / family / f"{name}.png")
    return folder


def test_data_that_cannot_be_measured_are_an_error(tmp_path: Path, model: Path, one: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no images found; expected .* one folder a kind of picture"):
        evaluate(model, one, None, tmp_path / "out", tmp_path / "empty")
    with pytest.raises(
        DataError, match=r"no slices of the split 'test'; the data\.csv in a run's folder says how"
    ):
        evaluate(model, one, "test", tmp_path / "out")
    (one / "glioma" / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"data: has 1 slice, and none can be read, such as .*a\.png"):
        evaluate(model, one, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_slice_that_goes_while_two_models_are_measured_is_an_error(
    tmp_path: Path, model: Path, one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = FileModel.answers

    def once(self: FileModel, paths: Sequence[Path]) -> list[ModelAnswer | None]:
        answers = asked(self, paths)
        for path in paths:
            path.write_text("no picture")
        return answers

    monkeypatch.setattr(FileModel, "answers", once)
    with pytest.raises(DataError, match=r"^a slice was changed or taken away while it was being measured; "):
        evaluate(model, one, None, tmp_path / "out", compare=model)


def test_a_run_is_measured_as_its_export_would_be(tmp_path: Path) -> None:
    import keras

    image = keras.Input((224, 224, 1), name="image")
    # As bright as the middle of each place; familiar where bright on the whole, otherwise a head.
    cells = keras.layers.Rescaling(1 / 255)(keras.layers.AveragePooling2D(32)(image))
    mean = keras.layers.GlobalAveragePooling2D()(cells)
    always_glioma = keras.layers.Dense(4)
    outputs = {
        "probabilities": keras.layers.Softmax(name="probabilities")(always_glioma(mean)),
        "heatmap": keras.layers.Reshape((7, 7), name="heatmap")(cells),
        "familiarity": keras.layers.Rescaling(1.0, name="familiarity")(mean),
        "no_brain": keras.layers.Rescaling(-1.0, offset=1.0, name="no_brain")(mean),
    }
    always_glioma.set_weights([np.zeros((1, 4)), np.array([0, 0, 5, 0])])
    run = tmp_path / "run"
    run.mkdir()
    keras.Model(image, outputs).save(run / "model.keras")
    (tmp_path / "data" / "glioma").mkdir(parents=True)
    y, x = np.mgrid[0:200, 0:256]
    head = np.where(np.hypot((x - 128) / 100, (y - 100) / 90) < 1, 90 + 20 * np.sin(x / 3) * np.sin(y / 4), 0)
    head[50:80, 150:180] = 255
    Image.fromarray(head.astype(np.uint8)).save(tmp_path / "data" / "glioma" / "a.png")
    (tmp_path / "data" / "manifest.csv").write_text(
        f"path,label,boxes\nglioma/a.png,glioma,{165 / 256} {65 / 200} {30 / 256} {30 / 200}\n"
    )
    for least, decision in ((0.0, "glioma"), (0.99, "rejected")):
        write_run(finished(run, least_familiarity=least))
        evaluate(run, tmp_path / "data", None, tmp_path / "out", pictures(tmp_path / "pictures"))
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert metrics["all"]["decisions"]["glioma"][decision] == 1
        with (tmp_path / "out" / "slices.csv").open(newline="") as file:
            assert [row["reason"] for row in csv.DictReader(file)] == (["no_brain"] if least else [""])
        assert metrics["pictures"]["by_family"]["blank"]["reasons"] == {"blank": 2}
        located = metrics["all"]["peak_in_box"]
        assert located == (None if least else [1.0, 0.0, 1.0, 1])


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (None, "has no meta.json; give the folder that `python -m falx_trainer` wrote"),
        ("[]", "expected a JSON object, got list"),
        ("good", "model.keras: Keras cannot load it: "),
    ],
)
def test_a_folder_that_is_no_run_ends_with_one_line(
    meta: str | None, message: str, tmp_path: Path, one: Path, trainer: Command
) -> None:
    folder, out = tmp_path / "run", tmp_path / "out"
    folder.mkdir()
    (folder / "model.keras").write_text("not a model")
    if meta == "good":
        write_run(finished(folder))
    elif meta is not None:
        (folder / "meta.json").write_text(meta)
    said = trainer("evaluate", folder, "--data", one, "--out", out)
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert said.err.startswith(f"falx_trainer: {folder}")
    assert message in said.err
    assert not out.exists()


def test_an_out_that_cannot_be_written_ends_with_one_line(
    tmp_path: Path, model: Path, one: Path, trainer: Command
) -> None:
    (tmp_path / "out").touch()
    said = trainer("evaluate", model, "--data", one, "--out", tmp_path / "out")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert said.err.startswith("falx_trainer: ")
    assert "File exists" in said.err
