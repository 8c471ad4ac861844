from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from falx import card as cards
from falx.card import Card, TensorSpec
from falx.decision import DEFAULT_THRESHOLDS
from falx.phantom import PHANTOMS
from falx_trainer.__main__ import main
from falx_trainer.evaluation import evaluate
from falx_trainer.records import DataError

TINY = Path(__file__).parents[1] / "runtime" / "data" / "tiny.tflite"
"""A graph of 3 KB: dark slices are `no_tumor`, bright ones `glioma`; the heatmap is the brightness."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    card = Card(
        name="tiny",
        version="1.2.3",
        license="Apache-2.0",
        intended_use="Tests.",
        thresholds=DEFAULT_THRESHOLDS,
        temperature=1.0,
        metrics={},
        provenance={},
        quantization={"format": "float32", "scheme": "none"},
        outputs={
            "probabilities": TensorSpec("probabilities", "float32", (1, 4)),
            "heatmap": TensorSpec("heatmap", "float32", (1, 7, 7)),
        },
    )
    path = tmp_path / "tiny.tflite"
    path.write_bytes(cards.embed(TINY.read_bytes(), card, format="tflite"))
    return path


def test_an_exported_file_is_measured_through_the_runtime(tmp_path: Path, model: Path) -> None:
    names = {"clear": "no_tumor", "lesion": "glioma"}
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "source", "group", "split"])
        for name, label in names.items():
            Image.fromarray(PHANTOMS[name]()).save(tmp_path / f"{name}.png")
            writer.writerow([f"{name}.png", label, "drawn", name, "test"])
        (tmp_path / "broken.png").write_bytes(b"no picture")
        writer.writerow(["broken.png", "glioma", "drawn", "broken", "test"])
    text = evaluate(model, tmp_path, "test", tmp_path / "out")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["slices"] == 3
    assert metrics["unreadable"] == 1
    assert metrics["model"] == {
        "name": "tiny",
        "version": "1.2.3",
        "file": "tiny.tflite",
        "engine": "litert",
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "weights_sha256": cards.read(model)[0].weights_sha256,
    }
    assert list(metrics["by_source"]) == ["drawn"]
    assert metrics["all"]["slices"] == 2
    assert (tmp_path / "out" / "metrics.txt").read_text() == text + "\n"
    assert text.splitlines()[0].split() == [
        "slices",
        "accuracy",
        "decided",
        "right_of_decided",
        "missed",
        "cleared",
        "rejected",
        "peak_in_box",
    ]
    with Image.open(tmp_path / "out" / "decisions.png") as plot:
        assert plot.size[0] > 300


def test_a_split_without_slices_is_an_error(tmp_path: Path, model: Path) -> None:
    (tmp_path / "glioma").mkdir()
    Image.fromarray(PHANTOMS["lesion"]()).save(tmp_path / "glioma" / "a.png")
    with pytest.raises(DataError, match=r"no slices of the split 'test'; .* data\.csv in its folder"):
        evaluate(model, tmp_path, "test", tmp_path / "out")


def test_slices_none_of_which_can_be_read_are_an_error(tmp_path: Path, model: Path) -> None:
    (tmp_path / "glioma").mkdir()
    (tmp_path / "glioma" / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"none of its 1 slices can be read, such as .*a\.png"):
        evaluate(model, tmp_path, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


GOOD = {"name": "x", "thresholds": DEFAULT_THRESHOLDS.to_dict()}


@pytest.mark.parametrize(
    ("meta", "keras", "message"),
    [
        (None, None, "its meta.json: FileNotFoundError"),
        ("{", None, "its meta.json: JSONDecodeError"),
        ("[]", None, "its meta.json: TypeError"),
        ("{}", None, "its meta.json: KeyError: 'name'"),
        (json.dumps({"name": "x", "thresholds": [1]}), None, "its meta.json: "),
        (json.dumps({"name": "x", "thresholds": {"glioma": 2}}), None, "its meta.json: ThresholdError"),
        (json.dumps(GOOD), None, "its model.keras: "),
        (json.dumps(GOOD), "no model", "its model.keras: "),
    ],
)
def test_a_folder_that_is_no_run_ends_with_one_line(
    meta: str | None,
    keras: str | None,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "data" / "glioma").mkdir(parents=True)
    Image.fromarray(PHANTOMS["lesion"]()).save(tmp_path / "data" / "glioma" / "a.png")
    for name, text in (("meta.json", meta), ("model.keras", keras)):
        if text is not None:
            (folder / name).write_text(text)
    out = tmp_path / "out"
    assert main(["evaluate", str(folder), "--data", str(tmp_path / "data"), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"falx_trainer: {folder}: expected the folder of a finished run or an exported file; {message}"
    )
    assert not out.exists()


def test_an_out_that_cannot_be_written_ends_with_one_line(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "glioma").mkdir(parents=True)
    Image.fromarray(PHANTOMS["lesion"]()).save(tmp_path / "data" / "glioma" / "a.png")
    (tmp_path / "out").touch()
    arguments = ["evaluate", str(model), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("falx_trainer: ")
    assert "File exists" in line
