from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from falx import phantom
from falx.command import inputs
from falx.command.main import main
from falx.reading.input_file import InputFile


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(phantom.lesion()).save(buffer, "PNG")
    return buffer.getvalue()


def test_standard_input(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "same.png").write_bytes(png())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(png())))
    assert main(["predict", "--json", "--model", str(model), "-", str(tmp_path / "same.png")]) == 0
    piped, same = map(json.loads, capsys.readouterr().out.splitlines())
    assert piped["path"] == "-"
    assert piped["probabilities"] == same["probabilities"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"none")))
    assert main(["predict", "--json", "--model", str(model), "-"]) == 1
    (failure,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert failure["path"] == "-"
    assert failure["error"]["message"].startswith("standard input: expected PNG")
    monkeypatch.setattr(inputs, "MOST_BYTES", 100)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(png())))
    assert main(["predict", "--json", "--model", str(model), "-"]) == 2
    assert "standard input: too large" in capsys.readouterr().err


def test_patterns_are_expanded_where_the_shell_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("b.png", "a.png", "[1].png", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert inputs.given(["*.png", "[1].png"]) == ["*.png", "[1].png"]
    monkeypatch.setattr(inputs, "WINDOWS", True)
    assert inputs.given(["*.png", "[1].png", "x*", "c.txt"]) == [
        *("[1].png", "a.png", "b.png"),
        *("[1].png", "x*", "c.txt"),
    ]
    assert all(isinstance(one, str | InputFile) for one in inputs.given(["*"]))


def test_what_was_passed_over_is_said_in_one_line(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.png").write_bytes(png())
    for name in ("a.txt", "b.txt", "c.csv"):
        (folder / name).write_text("none", encoding="utf-8")
    assert main(["predict", "--json", "--model", str(model), str(folder)]) == 0
    assert capsys.readouterr().err == "falx: passed over in folders: 2 .txt, 1 .csv\n"


def test_one_volume_of_several(model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed (pip install 'falx[nifti]')")
    upright = [slice_[::-1, ::-1].T for slice_ in (phantom.lesion(), phantom.clear())]
    four = np.stack([np.stack([one, one], 2) for one in upright], 3)
    path = tmp_path / "v.nii.gz"
    nibabel.save(nibabel.Nifti1Image(four, np.diag([0.9, 0.9, 5, 1])), path)
    answers = []
    for number in ("1", "2"):
        assert main(["predict", "--json", "--model", str(model), "--volume", number, str(path)]) == 0
        said = capsys.readouterr()
        assert said.err == (
            f"falx: {path}: The file holds 2 volumes, such as points in time; this is volume {number} "
            "(--volume N or volume=N takes another).\n"
        )
        answers.append([json.loads(line)["probabilities"] for line in said.out.splitlines()])
    assert answers[0] != answers[1]
    assert main(["study", "--json", "--model", str(model), "--volume", "3", str(path)]) == 1
    assert "expected the number of a volume, from 1 to 2, got 3" in capsys.readouterr().out
