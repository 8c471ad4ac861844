"""From files to a study: order, series, duplicates, what is missing, volumes, and the command line."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.reading.dicom import made

import falx
from falx import phantom
from falx.command import main
from falx.command.text import MOST_UNREAD
from falx.errors import UnreadableImage
from falx.pictures.overlay import overlay
from falx.pictures.sheet import TILE, sheet
from falx.reading import source
from falx.reading.files import expand
from falx.reading.input_file import InputFile
from falx.reading.pixels import DERIVED
from falx.reading.series import gather
from falx.reading.volume import open_volume
from falx.slices.slice import Part, Slice

Pixels = npt.NDArray[np.uint8]
AXIAL = [1, 0, 0, 0, 1, 0]
SLICES = 14


def series(folder: Path, uid: str = "1.2.3.4", count: int = SLICES, **tags: Any) -> list[Path]:
    """A series of a drawn head, 8 mm apart, the files in an order that says nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for n in range(count):
        part = made.dataset(
            phantom.lesion() if n == 6 else phantom.clear(),
            SeriesInstanceUID=uid,
            SOPInstanceUID=f"{uid}.{n + 1}",
            InstanceNumber=count - n,
            ImageOrientationPatient=AXIAL,
            ImagePositionPatient=[0, 0, -50 + 8 * n],
        )
        for keyword, value in tags.items():
            setattr(part, keyword, value)
        path = folder / f"IM{(7 * n) % 997:03d}"
        path.write_bytes(made.written(part))
        paths.append(path)
    return paths


def numbers(row: Any) -> list[int]:
    """The last figures of the SOP Instance UIDs of a row's slices."""
    return [int(str(s.holder.origin(s.number).sop_instance_uid).rpartition(".")[2]) for s in row.sources]


def test_slices_are_in_the_order_of_their_positions(tmp_path: Path) -> None:
    series(tmp_path / "exam")
    found = gather(tmp_path / "exam")
    (row,) = found.rows
    assert numbers(row) == list(range(1, SLICES + 1))
    assert row.positions_mm == tuple(-50.0 + 8 * n for n in range(SLICES))
    assert (row.plane, row.uid, found.uid, row.notes) == ("axial", "1.2.3.4", "1.2.3", ())


def test_a_study_is_summed_up(classifier: falx.Classifier, tmp_path: Path) -> None:
    series(tmp_path / "exam")
    study = classifier.predict_study(tmp_path / "exam")
    clear, lesion = (classifier.predict(draw()).decision for draw in (phantom.clear, phantom.lesion))
    assert [result.decision for result in study.results if isinstance(result, falx.Prediction)] == [
        lesion if n == 6 else clear for n in range(SLICES)
    ]
    assert study.path == str(tmp_path / "exam")
    assert study.model == classifier.model
    assert 6 in study.carriers
    document = study.to_dict()
    assert document["series"][0]["series_instance_uid"] == "1.2.3.4"
    assert [one["origin"]["sop_instance_uid"] for one in document["slices"]] == [
        f"1.2.3.4.{n + 1}" for n in range(SLICES)
    ]


def test_every_series_is_summed_up_apart(classifier: falx.Classifier, tmp_path: Path) -> None:
    series(tmp_path / "a", "1.2.3.4", EchoTime=10, RepetitionTime=500)
    series(tmp_path / "b", "1.2.3.5", EchoTime=100, RepetitionTime=4000)
    series(tmp_path / "scout", "1.2.3.6", 3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    study = classifier.predict_study(tmp_path)
    assert [(one.uid, one.sequence, len(one.results)) for one in study.series] == [
        ("1.2.3.4", "T1", SLICES),
        ("1.2.3.5", "T2", SLICES),
        ("1.2.3.6", None, 3),
    ]
    assert study.verdicts[2].reason == "No slice could be classified (3 localizer)."
    assert study.counts["rejected"] == 3
    assert study.complete


def test_echoes_and_planes_of_one_series_stand_apart(tmp_path: Path) -> None:
    series(tmp_path / "a", EchoTime=20)
    series(tmp_path / "b", EchoTime=90)
    series(
        tmp_path / "c",
        EchoTime=20,
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
        ImagePositionPatient=[0, 5, 0],
    )
    assert [(len(row.sources), row.plane) for row in gather(tmp_path).rows] == [
        (SLICES, "axial"),
        (SLICES, "axial"),
        (SLICES, "coronal"),
    ]


def test_copies_are_left_out(tmp_path: Path) -> None:
    for path in series(tmp_path / "a", count=5)[:2]:
        (tmp_path / f"{path.name}-copy").write_bytes(path.read_bytes())
    (row,) = gather(tmp_path).rows
    assert len(row.sources) == 5
    assert row.notes == ("2 slices left out: it is there twice.",)


def test_one_uid_for_all_slices_loses_none_of_them(tmp_path: Path) -> None:
    series(tmp_path, SOPInstanceUID="1.2.3.4.1")
    (row,) = gather(tmp_path).rows
    assert len(row.sources) == SLICES


def test_a_missing_slice_is_noted(tmp_path: Path) -> None:
    paths = series(tmp_path)
    paths[5].unlink()
    (row,) = gather(tmp_path).rows
    assert row.notes == ("Between its slices 1 slice or more seem to be missing.",)


@pytest.mark.parametrize("position", [None, [0, 0, 0]])
def test_without_positions_the_instance_number_orders(tmp_path: Path, position: list[int] | None) -> None:
    series(tmp_path, ImagePositionPatient=position)
    (row,) = gather(tmp_path).rows
    assert numbers(row) == list(range(SLICES, 0, -1))
    assert row.positions_mm is None
    assert row.notes == ("The positions of the slices are unknown; they are in the order of their numbers.",)


def test_a_slice_that_cannot_be_read_counts(classifier: falx.Classifier, tmp_path: Path) -> None:
    paths = series(tmp_path)
    data = paths[3].read_bytes()
    paths[3].write_bytes(data[: len(data) // 2])
    (tmp_path / "broken.dcm").write_bytes(b"no DICOM")
    study = classifier.predict_study(tmp_path)
    assert study.counts["error"] == 2
    assert not study.complete
    assert study.decision != "no_tumor"


def test_two_studies_are_not_one(classifier: falx.Classifier, tmp_path: Path) -> None:
    series(tmp_path / "a")
    series(tmp_path / "b", StudyInstanceUID="1.2.9")
    with pytest.raises(UnreadableImage, match=r"expected one study, got 2; give each study by itself"):
        classifier.predict_study(tmp_path)


def test_data_sets_and_pictures(classifier: falx.Classifier, head: Pixels, tmp_path: Path) -> None:
    Image.fromarray(head).save(tmp_path / "a.png")
    study = classifier.predict_study([made.dataset(head), tmp_path / "a.png"])
    assert len(study.series) == 2
    assert len({result.decision for result in study.results if isinstance(result, falx.Prediction)}) == 1
    assert classifier.predict_study([]).decision == "rejected"


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


def test_a_volume_is_a_study(classifier: falx.Classifier, tmp_path: Path) -> None:
    head = phantom.lesion()
    cells = np.stack([head[::-1, ::-1].T.astype(np.int16)] * 13, axis=2)
    path = volume(tmp_path / "v.nii", cells, np.diag([1.0, 1.0, 10.0, 1.0]))
    study = classifier.predict_study(path)
    (one,) = study.series
    assert (len(one.results), one.plane, one.positions_mm and one.positions_mm[-1]) == (13, "axial", 120.0)
    alone = classifier.predict(source.read(cells[::-1, ::-1, 0].T.astype(np.int32)).pixels)
    assert study.results[5].to_dict()["decision"] == alone.decision
    # Fuzzed: a file that claims no voxels was answered by nothing, or by an IndexError.
    for number, shape in enumerate([(0, 64, 3), (64, 0, -32768)]):
        claimed = bytearray(path.read_bytes())
        claimed[42:48] = struct.pack("<3h", *shape)
        (tmp_path / f"{number}.nii").write_bytes(claimed)
        (part,) = expand([str(tmp_path / f"{number}.nii")])
        message = re.escape(f"the volume is damaged: it has {shape} voxels")
        with pytest.raises(UnreadableImage, match=message):
            source.read(part)
    with pytest.raises(
        UnreadableImage, match=r"v\.nii: expected one slice, got a NIfTI volume; `falx\.reading\.files"
    ):
        source.read(path)
    (tmp_path / "x.nii").write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UnreadableImage, match="the volume is damaged: it ends too early"):
        open_volume(InputFile.at(tmp_path / "x.nii"))
    assert next(iter(classifier.predict_study(tmp_path / "x.nii").counts)) == "error"


def test_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], classifier: falx.Classifier
) -> None:
    series(tmp_path / "exam", count=8)
    sheets = tmp_path / "sheets"
    assert main.main(["study", str(tmp_path / "exam"), "--json", "--sheets", str(sheets)]) == 0
    document = json.loads(capsys.readouterr().out)
    expected = classifier.predict_study(tmp_path / "exam")
    assert document["decision"] == expected.decision
    assert document["carriers"] == list(expected.carriers)
    (picture,) = sheets.iterdir()
    assert picture.name == "study-1-series-1.png"
    with Image.open(picture) as page:
        assert page.width > 8 * TILE
    assert main.main(["study", str(tmp_path / "exam")]) == 0
    shown = capsys.readouterr().out
    assert expected.decision in shown
    assert "not a medical device" in shown
    assert made.NAME not in shown
    assert main.main(["study", str(tmp_path / "absent"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["counts"] == {"error": 1}
    assert main.main(["study", str(tmp_path / "absent")]) == 1
    assert f"not read 1      {tmp_path / 'absent'}: no such file" in capsys.readouterr().out
    series(tmp_path / "exam" / "another", StudyInstanceUID="1.2.9", count=1)
    assert main.main(["study", str(tmp_path / "exam")]) == 1
    assert capsys.readouterr().out.split() == (
        f"{tmp_path / 'exam'}: expected one study, got 2; give each study by itself".split()
    )


def test_what_could_not_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(MOST_UNREAD + 2):
        (tmp_path / f"{number:02}.png").write_text("no picture")
    assert main.main(["study", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert shown.count("expected PNG") == MOST_UNREAD
    assert "09.png" in shown
    assert "10.png" not in shown
    assert "2 more; --json names each" in shown


def test_heatmaps_of_a_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], classifier: falx.Classifier
) -> None:
    # Named after the patient, as some archives do; one slice is no picture, another is of no head.
    for path in series(tmp_path / made.NAME, count=4):
        path.rename(path.with_name(f"{made.NAME}-{path.name}"))
    series(tmp_path / made.NAME / "scout", "1.2.3.6", 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (tmp_path / made.NAME / "broken.dcm").write_bytes(b"no DICOM")
    maps = tmp_path / "maps"
    assert main.main(["study", str(tmp_path / made.NAME), "--json", "--heatmaps", str(maps)]) == 1
    assert json.loads(capsys.readouterr().out)["counts"]["rejected"] == 1
    assert [path.name for path in sorted(maps.iterdir())] == [
        f"study-1-series-1-slice-{n:03}.png" for n in (1, 2, 3, 4)
    ]
    (first, *_), _, _ = (row.sources for row in gather(tmp_path / made.NAME).rows)
    heatmap = classifier.predict(first).heatmap
    assert heatmap is not None
    with Image.open(maps / "study-1-series-1-slice-001.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(overlay(source.read(first).pixels, heatmap)))


def test_heatmaps_of_a_study_by_a_model_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falx.model.card.Card.has_heatmap", False)
    sheets, maps = tmp_path / "sheets", tmp_path / "maps"
    arguments = ["study", str(tmp_path), "--sheets", str(sheets), "--heatmaps", str(maps)]
    assert main.main(arguments) == 2
    assert "--heatmaps: the model falx-5 makes no heatmaps" in capsys.readouterr().err
    assert not sheets.exists()
    assert not maps.exists()


def test_a_sheet_frames_the_slices_that_carry_the_decision(
    classifier: falx.Classifier, tmp_path: Path
) -> None:
    series(tmp_path, count=8)
    found = gather(tmp_path)
    study = classifier.predict_study(found)
    drawn = sheet(study, 0, found.rows[0].sources)
    assert drawn.info["Software"] == DERIVED
    page = np.asarray(drawn)
    white = (page == 255).all(axis=2)
    framed = sum(row.sum() >= TILE for row in white)
    assert framed > 0
    rejected = [Part(made_object(phantom.clear()), 1)]
    empty = classifier.predict_study(rejected)
    assert np.asarray(sheet(empty, 0, rejected)).shape[2] == 3


def made_object(pixels: Pixels) -> Any:
    from falx.reading import dicom

    return dicom.open_dataset(made.dataset(pixels, BurnedInAnnotation="YES"))


def test_a_slice_that_changed_meanwhile_is_an_empty_tile(
    classifier: falx.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series(tmp_path, count=4)
    found = gather(tmp_path)
    study = classifier.predict_study(found)
    whole = np.asarray(sheet(study, 0, found.rows[0].sources))
    other = Slice(np.full((10, 10), 255, np.uint8))
    monkeypatch.setattr("falx.pictures.sheet.read", lambda _: other)
    changed = np.asarray(sheet(study, 0, found.rows[0].sources))
    assert changed.shape == whole.shape
    # Frames may be white, but no tile is.
    assert (changed.min(axis=2) == 255).sum() < TILE**2 / 2
