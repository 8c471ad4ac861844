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
from falx_trainer.evaluation import Answer, evaluate, measure
from falx_trainer.records import Box, DataError, Record

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


def record(label: str, group: str = "", boxes: tuple[Box, ...] = ()) -> Record:
    return Record(Path(f"{label}-{group}.png"), label, source="here", group=group, split="test", boxes=boxes)


def answer(decision: str, *probabilities: float, peak: tuple[float, float] | None = None) -> Answer:
    return Answer(decision, probabilities or None, peak)


def test_measures_of_hand_made_answers() -> None:
    pairs = [
        (record("no_tumor", "a"), answer("no_tumor", 0.9, 0.05, 0.03, 0.02)),
        (record("no_tumor", "b"), answer("ambiguous", 0.6, 0.2, 0.1, 0.1)),
        (record("no_tumor", "c"), answer("rejected")),
        (record("glioma", "d"), answer("no_tumor", 0.95, 0.01, 0.03, 0.01)),
        (record("glioma", "e"), answer("glioma", 0.1, 0.1, 0.7, 0.1)),
        (record("tumor_untyped", "f"), answer("meningioma", 0.1, 0.8, 0.05, 0.05)),
    ]
    measured = measure(pairs)
    first = {
        name: measured[name] and measured[name][0] for name in ("accuracy", "decided", "right_of_decided")
    }
    assert first == {"accuracy": 0.6, "decided": 0.6, "right_of_decided": 0.6667}
    assert measured["missed"][0] == pytest.approx(1 / 3, abs=1e-4)
    assert measured["missed"][3] == 3
    assert measured["cleared"][0] == pytest.approx(1 / 3, abs=1e-4)
    assert measured["rejected"][0] == pytest.approx(1 / 6, abs=1e-4)
    assert measured["peak_in_box"] is None
    assert measured["decisions"]["glioma"] == {
        "no_tumor": 1,
        "meningioma": 0,
        "glioma": 1,
        "pituitary": 0,
        "ambiguous": 0,
        "rejected": 0,
    }


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    sure_and_right = [(record("glioma", str(i)), answer("glioma", 0.0, 0.0, 0.9, 0.1)) for i in range(3)]
    sure_and_wrong = [(record("pituitary", "x"), answer("glioma", 0.0, 0.0, 0.9, 0.1))]
    unsure = [(record("glioma", "y"), answer("ambiguous", 0.3, 0.2, 0.5, 0.0))]
    # Two bins: 4 slices at 0.9, 3 right; 1 slice at 0.5, right.
    expected = (abs(3 - 4 * 0.9) + abs(1 - 0.5)) / 5
    assert measure(sure_and_right + sure_and_wrong + unsure)["calibration_error"] == pytest.approx(expected)


def test_the_interval_is_over_groups_not_slices() -> None:
    # Ten slices of one patient missed, ten of another not: two independent observations, not twenty.
    pairs = [(record("glioma", "a"), answer("no_tumor", 1.0, 0.0, 0.0, 0.0))] * 10
    pairs += [(record("glioma", "b"), answer("glioma", 0.0, 0.0, 1.0, 0.0))] * 10
    assert measure(pairs)["missed"] == [0.5, 0.0, 1.0, 20]


@pytest.mark.parametrize(
    ("decision", "expected"), [("glioma", [0.0, 0.0, 0.3, 10]), ("no_tumor", [1.0, 0.7, 1.0, 10])]
)
def test_none_or_all_of_ten_groups_still_has_an_interval(decision: str, expected: list[float]) -> None:
    pairs = [(record("glioma", str(i)), answer(decision, 0.1, 0.1, 0.7, 0.1)) for i in range(10)]
    assert measure(pairs)["missed"] == pytest.approx(expected)


def test_the_peak_counts_for_decided_tumors_with_a_box() -> None:
    box = (Box(0.5, 0.5, 0.2, 0.1),)
    pairs = [
        (record("glioma", "a", box), answer("glioma", 0, 0, 1, 0, peak=(0.59, 0.46))),
        (record("glioma", "b", box), answer("glioma", 0, 0, 1, 0, peak=(0.5, 0.56))),
        (record("glioma", "c", box), answer("ambiguous", 0.4, 0, 0.6, 0, peak=(0.5, 0.5))),
        (record("glioma", "d"), answer("glioma", 0, 0, 1, 0, peak=(0.5, 0.5))),
    ]
    measured = measure(pairs)["peak_in_box"]
    assert (measured[0], measured[3]) == (0.5, 2)


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
