"""Drawn studies as DICOM files, and the programs that a node meets: dcmtk's, and `falx listen` itself."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("highdicom", reason="the node and its reports need highdicom: pip install 'falx[dicom]'")
pytest.importorskip("pynetdicom", reason="the node needs pynetdicom: pip install 'falx[dicom]'")

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import generate_uid
from tests.reading.dicom import made
from tests.waiting import PATIENCE_S, until

from falx import phantom
from falx.workstation.node.settings import Destination

SECRET = "ZZYZX"  # noqa: S105 - no password
"""A part of every name, identifier and comment of the patient: it must not turn up where it need not."""

DEADLY = [sys.executable, str(Path(__file__).with_name("deadly.py"))]
"""The process that classifies, which does what the Image Comments of a study say."""

OWN = str(Path(sys.executable).parent)
PLACES = os.pathsep.join(
    [
        "/usr/bin",
        "/usr/sbin",
        *(place for place in os.environ.get("PATH", "").split(os.pathsep) if place != OWN),
    ]
)
"""The system's, and not those of this Python: pynetdicom installs programs with the names of dcmtk's."""


def program(name: str) -> str:
    """Returns the path of a program, or skips the test."""
    found = shutil.which(name, path=PLACES)
    if found is None:
        pytest.skip(f"{name} is not installed; .ci/examples installs it")
    return found


def call(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a program of dcmtk or dicom3tools."""
    command = [program(name), *map(str, arguments)]
    # Names are printed in the character set of their image.
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, check=False
    )


def image(study: str, series: str, number: int, pixels: np.ndarray, **tags: Any) -> Dataset:
    """An MR image of a patient whose every free text holds the secret."""
    data = made.dataset(pixels)
    data.StudyInstanceUID, data.SeriesInstanceUID = study, series
    data.PatientName = f"{SECRET}^Jane"
    data.PatientID = f"ID-{SECRET}"
    data.PatientBirthDate, data.PatientSex = "19700101", "F"
    data.PatientComments = data.ImageComments = data.StudyDescription = f"{SECRET} comments"
    data.OtherPatientNames, data.EthnicGroup = f"{SECRET}^Other", SECRET
    data.InstitutionName, data.ProtocolName = f"Hospital {SECRET}", f"T1 {SECRET}"
    data.StudyDate, data.StudyTime = "20260102", "101500"
    data.StudyID, data.AccessionNumber, data.ReferringPhysicianName = "7", "A-1", f"{SECRET}^Doctor"
    data.BodyPartExamined = "HEAD"
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    data.ScanningSequence, data.SequenceVariant, data.MRAcquisitionType = "SE", "NONE", "2D"
    data.RepetitionTime, data.EchoTime, data.ContrastBolusAgent = "500", "10", "Gd"
    data.InstanceNumber = number
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 6 * number]
    data.PixelSpacing, data.SliceThickness = [0.9, 0.9], 6
    data.FrameOfReferenceUID = series
    private = data.private_block(0x0099, "VENDOR 1", create=True)
    private.add_new(0x01, "LO", f"{SECRET} private")
    for name, value in tags.items():
        setattr(data, name, value)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    return data


@dataclass(frozen=True)
class WrittenStudy:
    """A study on disk."""

    folder: Path
    uid: str
    files: tuple[Path, ...]


def write_study(folder: Path, slices: int = 3, lesion: int | None = 1, **tags: Any) -> WrittenStudy:
    """Writes drawn heads, with a lesion in up to three of them from the one of this index on."""
    study, series = generate_uid(), generate_uid()
    drawn = [phantom.clear()] * slices
    if lesion is not None:
        drawn[lesion : lesion + 3] = [phantom.lesion()] * len(drawn[lesion : lesion + 3])
    images = [image(study, series, n, pixels, **tags) for n, pixels in enumerate(drawn, start=1)]
    return save(folder, study, images)


def write_examination(folder: Path) -> WrittenStudy:
    """Writes what a scanner sends of a healthy head: a localizer, the head, and a phase map of it."""
    study, localizer, head, phase = (generate_uid() for _ in range(4))
    axes = {2: [1, 0, 0, 0, 1, 0], 1: [1, 0, 0, 0, 0, -1], 0: [0, 1, 0, 0, 0, -1]}
    planes = [(axis, orientation, at) for axis, orientation in axes.items() for at in (-20, 0, 20)]
    images = [
        image(
            study,
            localizer,
            number,
            phantom.lesion(),
            # As GE writes it: the three planes alone tell what it is.
            ImageType=["ORIGINAL", "PRIMARY", "OTHER"],
            ImageOrientationPatient=orientation,
            ImagePositionPatient=[at if axis == of else 0 for of in range(3)],
        )
        for number, (axis, orientation, at) in enumerate(planes, start=1)
    ]
    images += [image(study, head, n, phantom.clear(), ImageComments="none") for n in range(1, 25)]
    kind = ["ORIGINAL", "PRIMARY", "P", "ND"]
    images += [image(study, phase, n, phantom.lesion(), ImageType=kind) for n in range(1, 25)]
    return save(folder, study, images)


def save(folder: Path, study: str, images: Sequence[Dataset]) -> WrittenStudy:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:04}.dcm" for number in range(len(images))]
    for file, one in zip(files, images, strict=True):
        one.save_as(file, enforce_file_format=True)
    return WrittenStudy(folder, study, tuple(files))


def found(report: Dataset, meaning: str) -> list[Any]:
    """Returns the values of the content items of a name."""
    values: list[Any] = []
    for item in _items(report):
        if item.ConceptNameCodeSequence[0].CodeMeaning != meaning:
            continue
        if item.ValueType == "CODE":
            code = item.ConceptCodeSequence[0]
            values.append((code.CodeValue, code.CodingSchemeDesignator))
        elif item.ValueType == "NUM":
            values.append(float(item.MeasuredValueSequence[0].NumericValue))
        elif item.ValueType == "TEXT":
            values.append(item.TextValue)
        else:
            values.append(item)
    return values


def _items(data: Dataset) -> Iterator[Dataset]:
    for item in data.get("ContentSequence", []):
        yield item
        yield from _items(item)


@dataclass
class Archive:
    """dcmtk's storescp: takes what is sent to it and writes it to a folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    options: tuple[str, ...] = ()
    title: str = "ARCHIVE"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        options = [*self.options, "-aet", self.title, "-od", str(self.folder), str(self.port)]
        command = [program("storescp"), *options]
        with self.folder.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: listens(self.port), self.process, self.folder.with_suffix(".log"))

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def files(self) -> list[Path]:
        return [file for file in self.folder.iterdir() if not file.name.endswith(".part")]

    def reports(self) -> list[Dataset]:
        found = []
        for file in self.files():
            with contextlib.suppress(InvalidDicomError, EOFError):  # it is being written
                found.append(pydicom.dcmread(file))
        # The last of its attributes: without it, the file is not whole yet.
        return [one for one in found if one.get("Modality") == "SR" and "ContentSequence" in one]

    @property
    def destination(self) -> Destination:
        return Destination(self.title, "127.0.0.1", self.port)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Process:
    """`falx listen` in a process of its own."""

    arguments: list[str]
    log: Path
    port: int = 0
    health: int = 0
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> Process:
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "falx", "listen", *self.arguments], stdout=stream, stderr=stream
            )

        said = rb"listens at 127\.0\.0\.1:(\d+).*?http://127\.0\.0\.1:(\d+)/healthz"
        found = until(
            lambda: re.search(said, self.log.read_bytes()[before:], re.DOTALL), self.process, self.log
        )
        self.port, self.health = map(int, found.groups())
        return self

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/healthz", timeout=10) as answer:
            read: dict[str, Any] = json.load(answer)
        return read

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
