from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage
from tests.reading.dicom.made import change
from tests.said import Command
from tests.workstation.peers import SECRET, WrittenStudy, call, found, write_study

import falx
from falx import Classifier
from falx.decision import Thresholds
from falx.errors import FalxError
from falx.reading.input_file import InputFile
from falx.reading.series import gather
from falx.words import DISCLAIMER, LABELS
from falx.workstation.objects import headers, study_objects
from falx.workstation.objects.structured_report import Rule

MUST = [
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyInstanceUID"),
]
"""The attributes in which a report names patient and study."""


def made(classifier: Classifier, study: WrittenStudy, *further: str, capture: bool = False) -> list[Dataset]:
    return study_objects.make(classifier, study.files, capture=capture, further=further)[1]


def saved(data: Any, folder: Path) -> Path:
    path = folder / "written.dcm"
    data.save_as(path, enforce_file_format=True)
    return path


def test_a_report_says_what_falx_says(classifier: Classifier, study: WrittenStudy, tmp_path: Path) -> None:
    answer, (report,) = study_objects.make(classifier, study.files, capture=False)
    report = pydicom.dcmread(saved(report, tmp_path))
    lesion = answer.results[1]
    assert isinstance(lesion, falx.Prediction)
    assert lesion.decision == "glioma"
    # What the study comes to depends on the model; the report must say the same.
    codes = {"tumor": ("254935002", "SCT"), "ambiguous": ("82334004", "SCT")}
    assert found(report, "Decision")[0] == codes[answer.decision]
    assert found(report, "Reason") == [answer.verdict.reason]
    at = answer.verdict.carriers.index(1)
    assert found(report, "Decision")[1 + at] == ("393564001", "SCT")
    assert ("393564001", "SCT") in found(report, "Finding")
    assert lesion.probabilities is not None
    assert lesion.confidence is not None
    assert found(report, "Probability of glioma")[at] == pytest.approx(
        lesion.probabilities["glioma"], abs=1e-4
    )
    assert pytest.approx(100 * lesion.confidence, abs=0.01) in found(report, "Certainty of Finding")
    assert found(report, "Comment").count(DISCLAIMER) == 1 + len(answer.verdict.carriers)
    assert set(found(report, "Algorithm Name")) == {f"Falx, model {classifier.model.name}"}
    sources = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in found(report, "Source")]
    assert sources == [pydicom.dcmread(file).SOPInstanceUID for file in study.files]
    of_slices = [
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in found(report, "Source of Measurement")
    ]
    assert of_slices == [sources[index] for index in answer.verdict.carriers]


def test_a_report_is_of_the_study_and_marked_as_research(classifier: Classifier, study: WrittenStudy) -> None:
    (report,) = made(classifier, study)
    source = pydicom.dcmread(study.files[0])
    for name in MUST:
        assert report[name].value == source[name].value, name
    assert report.SeriesInstanceUID != source.SeriesInstanceUID
    told = {"ContentQualification": "RESEARCH", "SeriesDescription": "Falx, for research use only"}
    told |= {"CompletionFlag": "COMPLETE", "VerificationFlag": "UNVERIFIED", "PreliminaryFlag": "PRELIMINARY"}
    assert {name: report[name].value for name in told} == told
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert len(evidence.ReferencedSOPSequence) == len(study.files)


def test_a_report_says_nothing_else_of_the_patient(
    classifier: Classifier, study: WrittenStudy, tmp_path: Path
) -> None:
    for data in made(classifier, study, capture=True):
        data = pydicom.dcmread(saved(data, tmp_path))
        holders = [element.keyword for element in data.iterall() if SECRET in str(element.value)]
        assert set(holders) <= {"PatientName", "PatientID", "ReferringPhysicianName"}
        assert not [element for element in data.iterall() if element.tag.is_private]
        from_patient = {e.keyword for e in data if e.tag.group == 0x0010}
        assert from_patient == {"PatientName", "PatientID", "PatientBirthDate", "PatientSex"}


def test_what_says_how_to_read_an_identity_is_carried(classifier: Classifier, tmp_path: Path) -> None:
    removed = {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand"}
    study = write_study(tmp_path / "study", 2, None, IssuerOfPatientID="HOSPITAL", **removed)
    (report,) = made(classifier, study)
    assert (report.IssuerOfPatientID, report.PatientIdentityRemoved) == ("HOSPITAL", "YES")


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 192", "Müller^Jörg"),
        ("ISO_IR 144", "Люкceмбypг"),
    ],
)
def test_names_in_other_scripts_stay_as_they_are(
    classifier: Classifier, tmp_path: Path, characters: Any, name: str
) -> None:
    study = write_study(tmp_path / "study", 1, SpecificCharacterSet=characters, PatientName=name)
    (report,) = made(classifier, study)
    path = saved(report, tmp_path)
    read = pydicom.dcmread(path)
    assert (read.PatientName, read.SpecificCharacterSet) == (name, characters)
    # Of most character sets dsrdump says that it does not know them, and of nothing else.
    dumped = call("dsrdump", path)
    said = [line for line in dumped.stderr.splitlines() if "Character" not in line]
    assert (dumped.returncode, said) == (0, [])


def test_missing_and_wrong_tags_become_empty_ones(classifier: Classifier, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", 1)
    data = pydicom.dcmread(study.files[0])
    for name in ("PatientBirthDate", "StudyID", "StudyTime", "AccessionNumber", "ReferringPhysicianName"):
        del data[name]
    with pytest.warns(UserWarning, match="Invalid value"):
        data.StudyDate = "yesterday"
    with pytest.warns(UserWarning, match="Invalid value"):
        data.PatientSex = "it's Jane"
    data.save_as(study.files[0], enforce_file_format=True)
    (report,) = made(classifier, study)
    for name in ("PatientBirthDate", "StudyID", "StudyTime", "AccessionNumber", "StudyDate", "PatientSex"):
        assert not report[name].value, name
    dumped = call("dsrdump", saved(report, tmp_path))
    assert (dumped.returncode, dumped.stderr) == (0, "")


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("found", '"Finding")=(393564001,SCT,"Glioma")'),
        ("ambiguous", '"Decision")=(82334004,SCT,"Indeterminate")'),
        ("rejected", '"Reason")="No slice could be classified'),
        ("unread slice", '"Reason")="A region is marked'),
        ("frames", '"Source of Measurement")=(MRe image,,2)'),
    ],
)
def test_dcmtk_and_dicom3tools_find_nothing_wrong(
    classifier: Classifier, tmp_path: Path, case: str, said: str
) -> None:
    tags: Any = {"Modality": "CT"} if "rejected" in case else {}
    study = write_study(tmp_path / "study", 4, **tags)
    thresholds = dict.fromkeys(LABELS, 1.0) if case == "ambiguous" else None
    if case == "unread slice":
        change(study.files[0], PixelData=b"")
    elif case == "frames":
        pixels = b"".join(pydicom.dcmread(file).PixelData for file in study.files)
        change(study.files[0], PixelData=pixels, NumberOfFrames=4, SOPClassUID=EnhancedMRImageStorage)
        study = replace(study, files=study.files[:1])
    gathered = gather(list(map(str, study.files)))
    answer = classifier.predict_study(gathered, thresholds=thresholds)
    word = case.partition(" ")[0]
    assert answer.decision == (word if word in ("ambiguous", "rejected") else "tumor")
    own = classifier.card.thresholds
    rule = Rule(classifier.model, own if thresholds is None else Thresholds(**thresholds), own)
    report, *pictures = study_objects.objects_of(answer, gathered, rule, capture=True)
    path = saved(report, tmp_path)
    dumped = call("dsrdump", "+Pl", path)
    assert (dumped.returncode, dumped.stderr) == (0, "")
    assert said in dumped.stdout
    # Of any private scheme dciodvfy says that it does not know it, and of nothing else.
    checked = re.sub(r"Warning - Unrecognized defined term <99FALX>.*\n", "", call("dciodvfy", path).stderr)
    assert checked == "EnhancedSR\n"
    # What is no MR image by its tags is not read.
    assert len(pictures) == (0 if "rejected" in case else len(answer.verdict.carriers))
    for picture in pictures:
        assert call("dciodvfy", saved(picture, tmp_path)).stderr == "SCImage\n"


def test_the_same_images_give_the_same_objects(classifier: Classifier, study: WrittenStudy) -> None:
    def uids(*further: str) -> list[tuple[str, str]]:
        objects = made(classifier, study, *further, capture=True)
        return [(str(one.SOPInstanceUID), str(one.SeriesInstanceUID)) for one in objects]

    first = uids()
    assert uids() == first
    assert not {uid for pair in uids("again") for uid in pair} & {uid for pair in first for uid in pair}
    assert len({uid for uid, _ in first}) == len(first)
    # One series of the report, one of the pictures.
    assert len({series for _, series in first}) == 2


def test_changed_thresholds_are_marked_and_make_another_report(
    study: WrittenStudy, tmp_path: Path, command: Command, classifier: Classifier
) -> None:
    own, reports = classifier.card.thresholds, []
    model = f"SHA-256 of the model file: {classifier.model.sha256}"
    for options, glioma in (
        ([], f"{own.glioma:g}"),
        (["--threshold", "glioma=0.99"], f"0.99 (changed; the card has {own.glioma:g})"),
    ):
        file = tmp_path / f"{len(options)}.dcm"
        assert command("study", study.folder, "--sr", file, *options).status == 0
        reports.append(pydicom.dcmread(file))
        said = f"Thresholds: no_tumor {own.no_tumor:g}, meningioma {own.meningioma:g}, glioma {glioma}, "
        parameters = {model, f"{said}pituitary {own.pituitary:g}"}
        assert set(found(reports[-1], "Algorithm Parameters")) == parameters
    assert reports[0].SOPInstanceUID != reports[1].SOPInstanceUID


def test_images_of_two_studies_are_no_study(classifier: Classifier, tmp_path: Path) -> None:
    files = [*write_study(tmp_path / "a", 1).files, *write_study(tmp_path / "b", 1).files]
    known = [headers.read(InputFile.at(file)) for file in files]
    with pytest.raises(FalxError, match="a report belongs to one study, and these images are of 2"):
        headers.same_study(known)
    with pytest.raises(FalxError, match="needs DICOM images to refer to, and there are none"):
        headers.same_study([])


def test_a_header_that_cannot_be_read_is_not_quoted(study: WrittenStudy, tmp_path: Path) -> None:
    data = pydicom.dcmread(study.files[0])
    del data.SeriesInstanceUID
    path = tmp_path / "without.dcm"
    data.save_as(path)
    with pytest.raises(FalxError, match="has no SeriesInstanceUID, so no report can refer to it") as error:
        headers.read(InputFile.at(path))
    assert SECRET not in str(error.value)
    path.write_bytes(b"nothing")
    with pytest.raises(FalxError, match="expected a DICOM file, got one whose header cannot be read"):
        headers.read(InputFile.at(path))
