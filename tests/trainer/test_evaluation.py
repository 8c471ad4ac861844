from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from falx import card as cards
from falx.card import Card, TensorSpec
from falx.decision import DEFAULT_THRESHOLDS
from falx.phantom import PHANTOMS
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
    assert metrics["model"]["name"] == "tiny"
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
    with pytest.raises(DataError, match="no slices of the split 'test'"):
        evaluate(model, tmp_path, "test", tmp_path / "out")
