from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from pydicom.uid import UID
from tests.workstation.peers import SECRET, WrittenStudy, found, write_examination, write_study

from falx import phantom
from falx.command.main import main
from falx.reading.transfer_syntaxes import TRANSFER_SYNTAXES
from falx.workstation.node.association import IMAGES
from falx.workstation.node.spool import IDENTIFIER

PAGE = Path(__file__).parents[2] / "docs" / "workstation.md"


def test_a_study_is_written_as_report_and_pictures(
    study: WrittenStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, pictures = tmp_path / "report.dcm", tmp_path / "pictures"
    arguments = ["study", str(study.folder), "--json", "--sr", str(report), "--sc", str(pictures)]
    assert main(arguments) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    written = pydicom.dcmread(report)
    assert (written.Modality, written.StudyInstanceUID) == ("SR", study.uid)
    assert len(list(pictures.iterdir())) == len(answer["carriers"]) >= 1
    for file in (report, *pictures.iterdir()):
        assert IDENTIFIER.fullmatch(pydicom.dcmread(file).SOPInstanceUID)
    assert SECRET not in said.out + said.err
    # People are told what was written, a program that reads JSON is not.
    assert said.err == ""
    text = ["study", str(study.folder), "--sr", f"{report}2", "--sc", f"{pictures}2"]
    maps, sheets = tmp_path / "maps", tmp_path / "sheets"
    assert main([*text, "--heatmaps", str(maps), "--sheets", str(sheets)]) == 0
    count = len(answer["carriers"])
    assert capsys.readouterr().out.splitlines()[-4:] == [
        f"Report written to {report}2.",
        f"{count} {'picture' if count == 1 else 'pictures'} written to {pictures}2.",
        f"{len(answer['series'])} {'sheet' if len(answer['series']) == 1 else 'sheets'} written to {sheets}.",
        f"{len(list(maps.iterdir()))} heatmaps written to {maps}.",
    ]
    # What is there is not replaced, and that is said before anything is classified.
    assert main(arguments) == 2
    assert (
        "report.dcm: expected a new file, but this one exists; give another name" in capsys.readouterr().err
    )


def test_series_that_are_not_used_are_in_the_report_too(tmp_path: Path) -> None:
    examination = write_examination(tmp_path / "study")
    assert main(["study", str(examination.folder), "--sr", str(tmp_path / "report.dcm")]) == 0
    report = pydicom.dcmread(tmp_path / "report.dcm")
    assert len(found(report, "Source")) == len(examination.files) == 57
    assert sum(text.startswith("Not used, ") for text in found(report, "Comment")) == 2

    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", examination.folder)
    assert main(["study", archive, "--sr", str(tmp_path / "zipped.dcm"), "--sc", str(tmp_path / "sc")]) == 0
    zipped = pydicom.dcmread(tmp_path / "zipped.dcm")
    assert zipped.SOPInstanceUID == report.SOPInstanceUID
    assert len(list((tmp_path / "sc").iterdir())) == 1

    tomography = write_study(tmp_path / "ct", 3, Modality="CT")
    assert main(["study", str(tomography.folder), "--sr", str(tmp_path / "ct.dcm")]) == 0
    report = pydicom.dcmread(tmp_path / "ct.dcm")
    assert found(report, "Decision") == [("REJECTED", "99FALX")]
    assert len(found(report, "Source")) == 3


def test_one_study_at_a_time(study: WrittenStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", str(study.folder), str(study.folder), "--sr", "x.dcm"]) == 2
    assert "--sr and --sc write the report of one study; give one PATH" in capsys.readouterr().err


def test_pictures_that_are_no_dicom_have_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(phantom.clear()).save(tmp_path / "slice.png")
    assert main(["study", str(tmp_path), "--sr", str(tmp_path / "report.dcm")]) == 2
    assert "a DICOM report needs DICOM images to refer to, and there are none" in capsys.readouterr().err


def test_a_folder_that_is_not_there_gets_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.dcm"
    assert main(["study", str(tmp_path / "none"), "--sr", str(report)]) != 0
    assert not report.exists()


def test_the_page_names_every_class_and_syntax() -> None:
    rows = PAGE.read_text(encoding="utf-8").splitlines()
    for uid in IMAGES:
        name = UID(uid).name.removesuffix(" Storage")
        assert sum(row.startswith(f"| {name} | {uid} |") for row in rows) == 1, name
    for uid, syntax in TRANSFER_SYNTAXES.items():
        assert f"| {syntax.name} | {uid} |" in rows


def test_the_pages_diagram_has_no_semicolon() -> None:
    """To Mermaid that is the end of a statement, and what follows it an error instead of the diagram."""
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert ";" not in diagram
