"""Files become a study: order, series, duplicates, what is missing, volumes, and the command line."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from tests.reading.dicom import made
from tests.said import Command

import falx
from falx import Classifier, phantom
from falx.command.text import MOST_UNREAD
from falx.errors import UnreadableImage
from falx.pictures.sheet import TILE, sheet
from falx.reading import dicom, source
from falx.reading.files import expand
from falx.reading.input_file import InputFile
from falx.reading.series import gather, gather_all
from falx.reading.volume import open_volume
from falx.slices.overlay import overlay
from falx.slices.slice import Part, Slice
from falx.words import DERIVED

AXIAL = [1, 0, 0, 0, 1, 0]
SLICES = 14


def series(folder: Path, uid: str = "1.2.3.4", count: int = SLICES, **tags: Any) -> list[Path]:
    """A series of a drawn head, 8 mm apart, the files in an order that says nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for n in range(count):
        plain = {
            "SeriesInstanceUID": uid,
            "SOPInstanceUID": f"{uid}.{n + 1}",
            "InstanceNumber": count - n,
            "ImageOrientationPatient": AXIAL,
            "ImagePositionPatient": [0, 0, -50 + 8 * n],
        }
        part = made.dataset(phantom.lesion() if n in (6, 7) else phantom.clear(), **plain | tags)
        paths.append(folder / f"IM{(7 * n) % 997:03d}")
        paths[-1].write_bytes(made.written(part))
    return paths


def numbers(row: Any) -> list[int]:
    """The last figures of the SOP Instance UIDs of a row's slices."""
    return [int(str(s.holder.origin(s.number).sop_instance_uid).rpartition(".")[2]) for s in row.sources]


@pytest.mark.parametrize("down", [1, -1])
def test_slices_are_in_the_order_of_their_positions(tmp_path: Path, down: int) -> None:
    # They rise towards the head however slices lie.
    series(tmp_path / "exam", ImageOrientationPatient=[1, 0, 0, 0, down, 0])
    found = gather(tmp_path / "exam")
    (row,) = found.series
    assert numbers(row) == list(range(1, SLICES + 1))
    assert row.positions_mm == tuple(-50.0 + 8 * n for n in range(SLICES))
    assert (row.plane, row.uid, found.uid, row.notes) == ("axial", "1.2.3.4", "1.2.3", ())


def test_nothing_of_the_patient_stands_in_a_study(classifier: Classifier, tmp_path: Path) -> None:
    secret = {"FrameOfReferenceUID", "SeriesDescription", "ProtocolName", "StudyDescription", "RescaleType"}
    series(tmp_path / "a", PatientName=made.NAME, StudyDate="19640812", StudyTime="081500")
    for path in series(tmp_path / "b", "1.2.3.9", 3):
        part = pydicom.dcmread(path)
        for keyword in (*secret, "SeriesInstanceUID", "ImageType", "BodyPartExamined"):
            element = pydicom.DataElement(keyword, "LO", "X", already_converted=True)
            element._value = made.NAME
            part[keyword] = element
        part.save_as(path)
    study = classifier.predict_study(tmp_path)
    said = json.dumps(study.to_dict()) + repr(study) + repr(study.series) + repr(study.not_used)
    said = said.lower()
    assert [word for word in ("mustermann", "erika", "19640812", "081500") if word in said] == []


def test_a_study_is_summed_up(classifier: Classifier, tmp_path: Path) -> None:
    series(tmp_path / "exam")
    study = classifier.predict_study(tmp_path / "exam")
    clear, lesion = (classifier.predict(draw()).decision for draw in (phantom.clear, phantom.lesion))
    assert [result.decision for result in study.results if isinstance(result, falx.Prediction)] == [
        lesion if n in (6, 7) else clear for n in range(SLICES)
    ]
    assert study.path == str(tmp_path / "exam")
    assert study.model == classifier.model
    assert (study.decision, study.verdict.carriers) == ("tumor", (6, 7))
    document = study.to_dict()
    assert document["series"][0]["series_instance_uid"] == "1.2.3.4"
    assert [one["origin"]["sop_instance_uid"] for one in document["slices"]] == [
        f"1.2.3.4.{n + 1}" for n in range(SLICES)
    ]


def test_every_series_is_summed_up_apart(classifier: Classifier, tmp_path: Path) -> None:
    series(tmp_path / "a", "1.2.3.4", EchoTime=10, RepetitionTime=500)
    series(tmp_path / "b", "1.2.3.5", EchoTime=100, RepetitionTime=4000)
    series(tmp_path / "scout", "1.2.3.6", 3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    study = classifier.predict_study(tmp_path)
    assert [(one.about.uid, one.about.sequence, len(one.results)) for one in study.series] == [
        ("1.2.3.4", "T1", SLICES),
        ("1.2.3.5", "T2", SLICES),
    ]
    assert [(one.uid, one.slices, one.reason.code) for one in study.not_used] == [("1.2.3.6", 3, "localizer")]
    assert "rejected" not in study.verdict.counts
    assert study.verdict.complete


def test_echoes_and_planes_of_one_series_stand_apart(tmp_path: Path) -> None:
    series(tmp_path / "a", EchoTime=20)
    series(tmp_path / "b", EchoTime=90)
    coronal: dict[str, Any] = {
        "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
        "ImagePositionPatient": [0, 5, 0],
    }
    series(tmp_path / "c", EchoTime=20, **coronal)
    found = [(len(row.sources), row.plane) for row in gather(tmp_path).series]
    assert found == [(SLICES, "axial"), (SLICES, "axial"), (SLICES, "coronal")]


def test_copies_are_left_out(tmp_path: Path) -> None:
    for n, path in enumerate(series(tmp_path / "a", count=5)):
        copy = tmp_path / f"{path.name}-copy"
        copy.write_bytes(path.read_bytes())
        # One place shown again is one place, whether the object is the same or not.
        if n > 1:
            made.change(copy, SOPInstanceUID=f"1.2.9.{n}")
    (row,) = gather(tmp_path).series
    assert (len(row.sources), len(set(row.positions_mm or ()))) == (5, 5)
    assert row.notes == ("5 slices left out: their places are shown already.",)


def test_one_uid_for_all_slices_loses_none_of_them_and_a_missing_one_is_noted(tmp_path: Path) -> None:
    paths = series(tmp_path, SOPInstanceUID="1.2.3.4.1")
    (row,) = gather(tmp_path).series
    assert (len(row.sources), row.notes) == (SLICES, ())
    paths[5].unlink()
    (row,) = gather(tmp_path).series
    assert row.notes == ("Between its slices 1 slice or more seem to be missing.",)


@pytest.mark.parametrize("position", ["", [0, 0, 0]], ids=["empty", "equal"])
def test_without_positions_the_instance_number_orders(tmp_path: Path, position: list[int] | str) -> None:
    series(tmp_path, ImagePositionPatient=position)
    (row,) = gather(tmp_path).series
    assert numbers(row) == list(range(SLICES, 0, -1))
    assert row.positions_mm is None
    assert row.notes == ("The positions of the slices are unknown; they are in the order of their numbers.",)


def test_a_slice_that_cannot_be_read_counts(classifier: Classifier, tmp_path: Path) -> None:
    paths = series(tmp_path)
    data = paths[3].read_bytes()
    paths[3].write_bytes(data[: len(data) // 2])
    (tmp_path / "broken.dcm").write_bytes(b"no DICOM")
    study = classifier.predict_study(tmp_path)
    assert study.verdict.counts["error"] == 2
    assert not study.verdict.complete
    assert study.decision != "no_tumor"


def test_several_studies_are_answered_one_by_one(classifier: Classifier, tmp_path: Path) -> None:
    series(tmp_path / "a")
    series(tmp_path / "b", StudyInstanceUID="1.2.9")
    # The same study UID of another patient is another study.
    series(tmp_path / "c", PatientID="another")
    with pytest.raises(UnreadableImage, match=r"expected one study, got 3: 1\.2\.3, 1\.2\.9, 1\.2\.3; "):
        classifier.predict_study(tmp_path)
    assert [(one.uid, len(one.sources)) for one in gather_all(tmp_path)] == [
        ("1.2.3", SLICES),
        ("1.2.9", SLICES),
        ("1.2.3", SLICES),
    ]
    assert classifier.predict_study(tmp_path, study="1.2.9").uid == "1.2.9"
    with pytest.raises(UnreadableImage, match=r"there is no study 1\.2\.7 in it"):
        gather(tmp_path, study="1.2.7")


def test_a_slice_without_patient_or_study_is_of_the_only_one_there_is(tmp_path: Path) -> None:
    series(tmp_path / "a")
    nobody = dict.fromkeys(("PatientID", "PatientName", "PatientBirthDate"), "")
    series(tmp_path / "b", "1.2.3.5", 3, **nobody)
    series(tmp_path / "c", "1.2.3.6", 3, StudyInstanceUID="")
    assert [len(one.sources) for one in gather(tmp_path).series] == [SLICES, 3, 3]


def test_what_cannot_be_read_may_belong_to_any_of_several_studies(
    classifier: Classifier, tmp_path: Path
) -> None:
    series(tmp_path / "a")
    series(tmp_path / "b", StudyInstanceUID="1.2.9")
    (tmp_path / "broken.dcm").write_bytes(b"")
    *_, last = gather_all(tmp_path)
    assert classifier.predict_study(last).verdict.reason == "The only file could not be read."


def test_pictures_are_of_one_patient_if_the_caller_says_so(
    classifier: Classifier, tmp_path: Path, command: Command
) -> None:
    for n in range(14):
        Image.fromarray(phantom.clear()).save(tmp_path / f"{n:02}.png")
    with pytest.raises(UnreadableImage, match=r"14 pictures without tags .*, say so with one_patient=True$"):
        classifier.predict_study(tmp_path)
    said = command("study", tmp_path)
    assert said.status == 1
    assert said.err.endswith("if they are, and in order, say so with --one-patient\n")
    (failure,) = command("study", tmp_path, "--json").answers
    assert failure["error"]["message"].endswith("say so with --one-patient")
    study = classifier.predict_study(tmp_path, one_patient=True)
    assert [len(one.results) for one in study.series] == [14]
    (answer,) = command("study", tmp_path, "--one-patient", "--json").answers
    assert answer["decision"] == study.decision
    assert len(classifier.predict_study(tmp_path / "03.png").results) == 1


def test_pictures_beside_dicom_are_not_of_the_study_unless_the_caller_says_so(
    classifier: Classifier, tmp_path: Path
) -> None:
    series(tmp_path, count=3)
    Image.fromarray(phantom.clear()).save(tmp_path / "a.png")
    study = classifier.predict_study(tmp_path)
    assert [len(one.results) for one in study.series] == [3]
    assert [(one.slices, one.reason.code) for one in study.not_used] == [(1, "pictures")]
    together = classifier.predict_study(tmp_path, one_patient=True)
    assert [len(one.results) for one in together.series] == [3, 1]
    assert classifier.predict_study([]).decision == "rejected"


def test_volumes_are_studies_of_their_own_unless_the_caller_says_otherwise(tmp_path: Path) -> None:
    cells = np.zeros((40, 40, 13), np.uint8)
    for name in "ab":
        volume(tmp_path / f"{name}.nii", cells, np.diag([1.0, 1.0, 10.0, 1.0]))
    assert [one.path for one in gather_all(tmp_path)] == [str(tmp_path / f"{name}.nii") for name in "ab"]
    assert [len(one.sources) for one in gather(tmp_path, one_patient=True).series] == [13, 13]


def test_what_is_passed_over_is_counted_by_kind_and_not_named(tmp_path: Path) -> None:
    series(tmp_path, count=2)
    for name in ("Mustermann.txt", "b.TXT", "DICOMDIR", ".hidden", "Erika.Mustermann", "notes"):
        (tmp_path / name).write_text("words")
    assert gather(tmp_path).notes == (
        "Passed over in the folder: 2 without suffix, 2 .txt, 1 hidden, 1 DICOMDIR.",
    )


@pytest.mark.parametrize("level", ["StudyInstanceUID", "SeriesInstanceUID", "both"])
def test_fresh_uids_for_each_file_do_not_break_a_study(tmp_path: Path, level: str) -> None:
    names = ("StudyInstanceUID", "SeriesInstanceUID") if level == "both" else (level,)
    for folder, echo in (("a", 10), ("b", 100)):
        for n, path in enumerate(series(tmp_path / folder, EchoTime=echo, PixelSpacing=[1, 1])):
            made.change(path, **dict.fromkeys(names, f"1.2.840.{100 * echo + n}"))
    found = gather(tmp_path)
    assert [len(one.sources) for one in found.series] == [SLICES, SLICES]
    assert found.notes == ("Files with UIDs of their own were put together by patient, day and geometry.",)
    # Another patient's slice is not put together with them, nor is one that lies elsewhere.
    stray = tmp_path / "stray"
    stray.write_bytes(path.read_bytes())
    made.change(stray, SeriesInstanceUID="1.2.840.7", StudyInstanceUID="1.2.999", PatientID="another")
    assert [len(one.sources) for one in gather_all(tmp_path)] == [1, 2 * SLICES]


def test_loose_slices_of_different_heads_are_not_put_together(tmp_path: Path) -> None:
    for n, path in enumerate(series(tmp_path, count=5, PatientID="")):
        uids = {"StudyInstanceUID": f"1.2.840.{n}", "SeriesInstanceUID": f"1.2.841.{n}"}
        made.change(path, ImagePositionPatient=[9 * n, 0, 8 * n], **uids)
    assert len(list(gather_all(tmp_path))) == 5


@pytest.mark.parametrize("step", [0.0, 0.001, 0.04])
def test_echo_times_with_jitter_are_one_series(tmp_path: Path, step: float) -> None:
    for n, path in enumerate(series(tmp_path)):
        made.change(path, EchoTime=2.98 + step * (n % 5))
    (one,) = gather(tmp_path).series
    assert len(one.sources) == SLICES


def volume(path: Path, cells: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> Path:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed (pip install 'falx[nifti]')")
    nibabel.save(nibabel.Nifti1Image(cells, affine), path)
    return path


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_volume_is_shown_as_a_radiologist_sees_it(
    tmp_path: Path, flips: tuple[int, int, int], order: tuple[int, int, int]
) -> None:
    # Towards the right, the front, the head: bright at the right, brighter at the front.
    cells = np.zeros((40, 50, 12), np.float32)
    cells[30:38, 20:30] = 100
    cells[15:25, 40:48] = 200
    cells *= np.arange(1, 13, dtype=np.float32) / 12
    affine = np.diag([3.0, 3.0, 15.0, 1.0])
    stored = cells
    for axis, flip in enumerate(flips):
        if flip < 0:
            stored = np.flip(stored, axis)
            affine[:3, 3] += affine[:3, axis] * (cells.shape[axis] - 1)
            affine[:3, axis] *= -1
    stored, affine = stored.transpose(order), affine[:, [*order, 3]]
    opened = open_volume(InputFile.at(volume(tmp_path / "v.nii.gz", stored, affine)))
    assert (opened.plane, opened.frames) == ("axial", 12)
    assert opened.positions_mm == tuple(15.0 * number for number in range(12))
    assert opened.layout[2].position_mm == pytest.approx(30)
    for found, wanted in (("corner", (-117, -147, 30)), ("right", (120, 0, 0)), ("down", (0, 150, 0))):
        assert getattr(opened.layout[2], found) == pytest.approx(wanted)
    last = opened.read(12)
    assert last.pixels.shape == (50, 40)
    assert last.origin is not None
    assert (last.origin.format, last.origin.frame, last.origin.plane) == ("nifti", 12, "axial")
    # The nose is up; the patient's right is on the left.
    rows, columns = np.nonzero(last.pixels > 200)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 9, 15, 24)
    rows, columns = np.nonzero((last.pixels > 100) & (last.pixels < 150))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 29, 2, 9)
    assert opened.read(1).pixels.max() < last.pixels.max() / 8


def test_a_volume_is_a_study(classifier: Classifier, tmp_path: Path) -> None:
    cells = np.stack([phantom.lesion()[::-1, ::-1].T.astype(np.int16)] * 13, axis=2)
    path = volume(tmp_path / "v.nii", cells, np.diag([1.0, 1.0, 10.0, 1.0]))
    study = classifier.predict_study(path)
    (one,) = study.series
    at = one.about.positions_mm or ()
    assert (len(one.results), one.about.plane, at[-1]) == (13, "axial", 120.0)
    alone = classifier.predict(source.read(cells[::-1, ::-1, 0].T.astype(np.int32)).pixels)
    assert study.results[5].to_dict()["decision"] == alone.decision
    # Fuzzed: a file that claims no voxels was answered by nothing, or by an IndexError.
    for number, shape in enumerate([(0, 64, 3), (64, 0, -32768)]):
        claimed = bytearray(path.read_bytes())
        claimed[42:48] = struct.pack("<3h", *shape)
        (tmp_path / f"{number}.nii").write_bytes(claimed)
        (part,) = expand([str(tmp_path / f"{number}.nii")])
        with pytest.raises(UnreadableImage, match=re.escape(f"the volume is damaged: it has {shape} voxels")):
            source.read(part)
    message = r"v\.nii: expected one slice, got a NIfTI volume; give it as a study$"
    with pytest.raises(UnreadableImage, match=message):
        source.read(path)
    (tmp_path / "x.nii").write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UnreadableImage, match="the volume is damaged: it ends too early"):
        open_volume(InputFile.at(tmp_path / "x.nii"))
    assert next(iter(classifier.predict_study(tmp_path / "x.nii").verdict.counts)) == "error"


def test_the_command_line(tmp_path: Path, command: Command, classifier: Classifier) -> None:
    exam, sheets = tmp_path / "exam", tmp_path / "sheets"
    series(exam, count=8)
    (document,) = command("study", exam, "--json", "--sheets", sheets).answers
    expected = classifier.predict_study(exam)
    assert document["decision"] == expected.decision
    assert document["carriers"] == list(expected.verdict.carriers)
    (picture,) = sheets.iterdir()
    assert picture.name == "study-1-series-1.png"
    with Image.open(picture) as page:
        assert page.width > 8 * TILE
    said = command("study", exam)
    assert said.status == 0
    assert expected.decision in said.out
    assert "not a medical device" in said.out
    assert made.NAME not in said.out
    series(exam / "another", StudyInstanceUID="1.2.9", count=1)
    both = command("study", exam, "--json").answers
    assert [one["study_instance_uid"] for one in both] == ["1.2.3", "1.2.9"]
    (one,) = command("study", exam, "--study", "1.2.9", "--json").answers
    assert one["study_instance_uid"] == "1.2.9"


def test_what_is_not_there_is_a_failure_of_one_line(
    tmp_path: Path, command: Command, classifier: Classifier
) -> None:
    absent, nothing = tmp_path / "absent", tmp_path / "nothing"
    nothing.mkdir()
    said = command("study", absent, "--json")
    assert (said.status, said.answers[0]["error"]["type"]) == (1, "ImageNotFound")
    assert command("study", absent) == (1, "", f"falx: error: {absent}: no such file\n")
    assert command("study", nothing) == (1, "", f"falx: error: {nothing}: no image in this folder or below\n")
    with pytest.raises(falx.ImageNotFound, match="no such file"):
        classifier.predict_study(absent)


def test_what_could_not_be_read_is_named(tmp_path: Path, command: Command) -> None:
    for number in range(MOST_UNREAD + 2):
        (tmp_path / f"{number:02}.png").write_text("no picture")
    said = command("study", tmp_path, "--one-patient")
    assert (said.status, said.out.count("expected PNG")) == (1, MOST_UNREAD)
    assert "09.png" in said.out
    assert "10.png" not in said.out
    assert "2 more; --json names each" in said.out


def test_heatmaps_of_a_study(tmp_path: Path, command: Command, classifier: Classifier) -> None:
    # Named after the patient, as some archives do; one slice is no picture, another is of no head.
    exam, maps = tmp_path / made.NAME, tmp_path / "maps"
    for path in series(exam, count=4):
        path.rename(path.with_name(f"{made.NAME}-{path.name}"))
    series(exam / "scout", "1.2.3.6", 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (exam / "broken.dcm").write_bytes(b"no DICOM")
    said = command("study", exam, "--json", "--heatmaps", maps)
    assert (said.status, said.answers[0]["not_used"][0]["code"]) == (1, "localizer")
    names = [f"study-1-series-1-slice-{n:03}.png" for n in (1, 2, 3, 4)]
    assert [path.name for path in sorted(maps.iterdir())] == names
    (first, *_), _ = (row.sources for row in gather(exam).series)
    heatmap = classifier.predict(first).heatmap
    assert heatmap is not None
    with Image.open(maps / names[0]) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(overlay(source.read(first).pixels, heatmap)))


def test_heatmaps_of_a_study_by_a_model_without(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falx.model.card.Card.has_heatmap", False)
    sheets, maps = tmp_path / "sheets", tmp_path / "maps"
    command("study", tmp_path, "--sheets", sheets, "--heatmaps", maps).refuses(
        "--heatmaps: the model falx-6 makes no heatmaps"
    )
    assert not sheets.exists()
    assert not maps.exists()


def test_a_sheet_frames_the_slices_that_carry_the_decision(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series(tmp_path, count=8)
    found = gather(tmp_path)
    study = classifier.predict_study(found)
    drawn = sheet(study, 0, found.series[0].sources)
    assert drawn.info["Software"] == DERIVED
    page = np.asarray(drawn)
    assert sum(row.sum() >= TILE for row in (page == 255).all(axis=2)) > 0
    # A slice that changed meanwhile is an empty tile. Frames may be white, but no tile is.
    other = Slice(np.full((10, 10), 255, np.uint8))
    monkeypatch.setattr("falx.pictures.sheet.read", lambda _: other)
    changed = np.asarray(sheet(study, 0, found.series[0].sources))
    assert changed.shape == page.shape
    assert (changed.min(axis=2) == 255).sum() < TILE**2 / 2


def test_a_sheet_of_a_rejected_slice_can_be_drawn(classifier: Classifier) -> None:
    rejected = [Part(dicom.open_dataset(made.dataset(phantom.clear(), BurnedInAnnotation="YES")), 1)]
    assert np.asarray(sheet(classifier.predict_study(rejected), 0, rejected)).shape[2] == 3
