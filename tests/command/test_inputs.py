from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.said import Command

import falx
from falx import phantom
from falx.command import inputs
from falx.reading import input_file
from falx.reading.input_file import InputFile


def test_standard_input(predict: Command, monkeypatch: pytest.MonkeyPatch, scan: Path) -> None:
    def given(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    given(scan.read_bytes())
    piped, same = predict("--json", "-", scan).answers
    assert piped["path"] == "-"
    assert piped["probabilities"] == same["probabilities"]
    given(b"none")
    said = predict("--json", "-")
    (failure,) = said.answers
    assert (said.status, failure["path"]) == (1, "-")
    assert failure["error"]["message"].startswith("standard input: expected PNG")
    monkeypatch.setattr(input_file, "MOST_BYTES", 100)
    given(scan.read_bytes())
    predict("--json", "-").refuses("standard input: too large")


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


def test_what_was_passed_over_is_said_in_one_line(predict: Command, scan: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "folder").mkdir()
    scan.rename(folder / "a.png")
    for name in ("a.txt", "b.txt", "c.csv"):
        (folder / name).write_text("none", encoding="utf-8")
    said = predict("--json", folder)
    assert (said.status, said.err) == (0, "falx: passed over in folders: 2 .txt, 1 .csv\n")


def test_one_volume_of_several(predict: Command, command: Command, model: Path, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed (pip install 'falx[nifti]')")
    upright = [slice_[::-1, ::-1].T for slice_ in (phantom.lesion(), phantom.clear())]
    four = np.stack([np.stack([one, one], 2) for one in upright], 3)
    path = tmp_path / "v.nii.gz"
    nibabel.save(nibabel.Nifti1Image(four, np.diag([0.9, 0.9, 5, 1])), path)
    answers = []
    for number in ("1", "2"):
        said = predict("--json", "--volume", number, path)
        assert said.err == (
            f"falx: {path}: The file holds 2 volumes, such as points in time; this is volume {number} "
            "(the option volume takes another).\n"
        )
        answers.append([answer["probabilities"] for answer in said.answers])
    assert answers[0] != answers[1]
    said = command("study", "--json", "--model", model, "--volume", "3", path)
    assert said.status == 1
    assert "expected the number of a volume, from 1 to 2, got 3" in said.out


@pytest.mark.parametrize(
    ("name", "start", "package", "message"),
    [
        ("x.nii.gz", b"\x1f\x8b", "nibabel", "a volume needs the extra nifti: pip install 'falx[nifti]'"),
        ("IM1", bytes(128) + b"DICM", "pydicom", "DICOM needs the extra dicom: pip install 'falx[dicom]'"),
    ],
)
def test_a_study_without_its_reader_is_an_error_and_not_a_doubt(
    command: Command,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    start: bytes,
    package: str,
    message: str,
) -> None:
    for loaded in [key for key in sys.modules if key.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, package, None)
    for path in (first := tmp_path / name, tmp_path / f"y{name}"):
        path.write_bytes(start + bytes(400))
    # A picture beside them would not be used.
    Image.fromarray(phantom.clear()).save(tmp_path / "z.png")
    for given in (first, tmp_path):
        said = command("study", "--model", model, given)
        assert said == (1, "", f"falx: error: {first}: {message}\n")
    (answer,) = command("study", "--json", "--model", model, first).answers
    assert answer["error"]["message"] == f"{first}: {message}"
    with pytest.raises(ImportError, match="pip install"):
        falx.load(model).predict_study([first])
