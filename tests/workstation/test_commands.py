from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from pydicom.uid import UID
from tests.said import Command
from tests.workstation.peers import SECRET, WrittenStudy, found, write_examination, write_study

from falx import phantom
from falx.reading.decoders import PLUGINS
from falx.workstation.node.association import IMAGES
from falx.workstation.node.spool import IDENTIFIER

PAGE = Path(__file__).parents[2] / "docs" / "workstation.md"


def test_a_study_is_written_as_report_and_pictures(
    study: WrittenStudy, tmp_path: Path, command: Command
) -> None:
    report, pictures, maps, sheets = (tmp_path / name for name in ("report.dcm", "sc", "maps", "sheets"))
    arguments = ("study", study.folder, "--json", "--sr", report, "--sc", pictures)
    said = command(*arguments)
    (answer,) = said.answers
    written = pydicom.dcmread(report)
    assert (said.status, written.Modality, written.StudyInstanceUID) == (0, "SR", study.uid)
    count = len(answer["carriers"])
    assert len(list(pictures.iterdir())) == count >= 1
    for file in (report, *pictures.iterdir()):
        assert IDENTIFIER.fullmatch(pydicom.dcmread(file).SOPInstanceUID)
    assert SECRET not in said.out
    # People are told what was written, a program that reads JSON is not.
    assert said.err == ""
    more = ("--heatmaps", maps, "--sheets", sheets)
    told = command("study", study.folder, "--sr", f"{report}2", "--sc", f"{pictures}2", *more)
    assert told.out.splitlines()[-4:] == [
        f"Report written to {report}2.",
        f"{count} {'picture' if count == 1 else 'pictures'} written to {pictures}2.",
        f"{len(answer['series'])} {'sheet' if len(answer['series']) == 1 else 'sheets'} written to {sheets}.",
        f"{len(list(maps.iterdir()))} heatmaps written to {maps}.",
    ]
    # What is there is not replaced, and that is said before anything is classified.
    again = command(*arguments)
    assert again.status == 2
    assert "report.dcm: expected a new file, but this one exists; give another name" in again.err


def test_a_report_that_cannot_be_written_whole_is_not_written(
    study: WrittenStudy, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    report = tmp_path / "report.dcm"
    command("study", study.folder, "--sr", report).refuses(
        f"{report}: cannot be written: {os.strerror(errno.ENOSPC)}"
    )
    assert not list(tmp_path.glob("*report*"))


def test_series_that_are_not_used_are_in_the_report_too(tmp_path: Path, command: Command) -> None:
    def reported(folder: Path | str, *more: object) -> pydicom.Dataset:
        file = tmp_path / f"{Path(folder).name}.dcm"
        assert command("study", folder, "--sr", file, *more).status == 0
        return pydicom.dcmread(file)

    examination = write_examination(tmp_path / "study")
    report = reported(examination.folder)
    assert len(found(report, "Source")) == len(examination.files) == 57
    assert sum(text.startswith("Not used, ") for text in found(report, "Comment")) == 2

    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", examination.folder)
    assert reported(archive, "--sc", tmp_path / "sc").SOPInstanceUID == report.SOPInstanceUID
    assert len(list((tmp_path / "sc").iterdir())) == 1

    report = reported(write_study(tmp_path / "ct", 3, Modality="CT").folder)
    assert found(report, "Decision") == [("REJECTED", "99FALX")]
    assert len(found(report, "Source")) == 3


def test_what_gets_no_report(study: WrittenStudy, tmp_path: Path, command: Command) -> None:
    report, pictures = tmp_path / "report.dcm", tmp_path / "pictures"
    command("study", study.folder, study.folder, "--sr", report).refuses(
        "--sr and --sc write the report of one study; give one PATH"
    )
    pictures.mkdir()
    Image.fromarray(phantom.clear()).save(pictures / "slice.png")
    command("study", pictures, "--sr", report).refuses(
        "a DICOM report needs DICOM images to refer to, and there are none"
    )
    assert command("study", tmp_path / "none", "--sr", report).status != 0
    assert not report.exists()


def test_the_page_names_every_class_and_syntax() -> None:
    rows = PAGE.read_text(encoding="utf-8").splitlines()
    for uid in IMAGES:
        name = UID(uid).name.removesuffix(" Storage")
        assert sum(row.startswith(f"| {name} | {uid} |") for row in rows) == 1, name
    for uid in PLUGINS:
        assert sum(row.endswith(f" | {uid} |") for row in rows) == 1, UID(uid).name


def test_the_pages_diagram_has_no_semicolon() -> None:
    # To Mermaid that is the end of a statement, and what follows it an error instead of the diagram.
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert ";" not in diagram
