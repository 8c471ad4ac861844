from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from falx.prediction import Location
from falx.slices.preprocessing import Frame
from falx.words import LABELS
from falx_runs.manifest import Box
from falx_trainer import plots
from falx_trainer.training.run import write_history

HISTORY = [
    {
        "stage": stage,
        "epoch": epoch,
        "learning_rate": 1e-4,
        "loss": 1 / (epoch + stage),
        "accuracy": 0.5,
        "val_loss": 0.9,
        "val_accuracy": 0.6,
        "seconds": 2.5,
    }
    for stage, epochs in ((1, 2), (2, 3))
    for epoch in range(1, epochs + 1)
]


def test_history_is_written_as_csv(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", HISTORY)
    with (tmp_path / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == HISTORY


@pytest.mark.parametrize("history", [HISTORY, HISTORY[:1], HISTORY[3:], []])
def test_history_is_drawn(history: list[dict[str, float]], tmp_path: Path) -> None:
    plots.plot_history(tmp_path / "history.png", history)
    assert shades(tmp_path / "history.png") > 10


def test_confusion_is_drawn(tmp_path: Path) -> None:
    plots.plot_confusion(
        tmp_path / "c.png", LABELS, (*LABELS, "ambiguous"), np.eye(4, 5, dtype=int).tolist(), "x"
    )
    assert shades(tmp_path / "c.png") > 10


def shades(path: Path) -> int:
    with Image.open(path) as image:
        assert min(image.size) > 200
        return len(np.unique(np.asarray(image.convert("L"))))


def _location(height: int, width: int, cells: npt.NDArray[np.float32]) -> Location:
    return Location(cells, Frame(0, 0, width, height), (height, width))


@pytest.mark.parametrize(("number", "rows"), [(1, 1), (4, 1), (5, 2)])
def test_heatmaps_are_drawn_four_a_row(tmp_path: Path, number: int, rows: int) -> None:
    cells = np.eye(7, dtype=np.float32)
    example = plots.LocatedTumor(
        "glioma", "ambiguous", _location(100, 80, cells), (Box(0.5, 0.5, 0.2, 0.2),), True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.plot_heatmaps(tmp_path / "plot.png", [example] * number)
    with Image.open(tmp_path / "plot.png") as plot:
        assert plot.size == (1104, round(120 * (2.5 * rows + 0.6)))


def test_calibration_and_risk_are_drawn(tmp_path: Path) -> None:
    bins = [{"slices": 3, "confidence": 0.5, "right": 0.4}, {"slices": 90, "confidence": 0.97, "right": 1.0}]
    plots.plot_calibration(tmp_path / "calibration.png", bins, "calibration")
    curve = [{"coverage": 0.5, "risk": 0.0}, {"coverage": 1.0, "risk": 0.1}]
    for decided in ((0.8, 0.05), None):
        plots.plot_risk_coverage(tmp_path / f"{decided is None}.png", curve, decided, "risk")
    sizes = {}
    for name in ("calibration", "False", "True"):
        with Image.open(tmp_path / f"{name}.png") as plot:
            sizes[name] = plot.size
            pixels = np.asarray(plot.convert("RGB"))
        # Blue is the curve, orange the point that is decided.
        assert (pixels == (0, 0x72, 0xB2)).all(axis=-1).any()
        assert (pixels == (0xD5, 0x5E, 0)).all(axis=-1).any() == (name == "False")
    assert sizes == {"calibration": (576, 672), "False": (576, 456), "True": (576, 456)}
