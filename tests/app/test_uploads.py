"""Uploaded files become answered slices, in order, with the limits of their pictures."""

from __future__ import annotations

import base64
import sys
import zlib
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.app.conftest import MAXIMUM_SLICES, Made, classified, held, lettered
from tests.pictures import Pixels, claiming, encoded, zipped

from falx import phantom
from falx.app import fragments, viewer
from falx.app.arrangement import Arrangement, arrange
from falx.app.page_service import PageService
from falx.app.quality import LEAST_CONTRAST, LEAST_SIDE, look
from falx.app.uploads import ShownSlice, taken
from falx.app.visit import Visit
from falx.prediction import Failure
from falx.reading.source import read
from falx.slices.reasons import TAG_REASONS


def only(name: str, data: bytes, service: PageService) -> ShownSlice:
    (shown,) = classified(name, data, service).shown
    return shown


class TestQuality:
    @pytest.mark.parametrize("side", [256, 512, 1024])
    def test_letters_alone_are_a_caution(self, side: int) -> None:
        assert look(phantom.lesion()) == ()
        pixels = np.asarray(Image.fromarray(phantom.clear()).resize((side, side)))
        assert look(pixels) == ()
        assert [caution.code for caution in look(np.asarray(lettered(pixels)))] == ["marks"]

    def test_small_and_low_contrast(self) -> None:
        (found,) = look(np.asarray(Image.fromarray(phantom.clear()).resize((128, 128))))
        assert found.code == "small"
        assert f"106 pixels across; Falx needs {LEAST_SIDE}" in found.message
        (found,) = look((phantom.clear() * (0.8 * LEAST_CONTRAST / 255)).astype(np.uint8))
        assert found.code == "low_contrast"
        assert f"of 255; Falx needs {LEAST_CONTRAST}." in found.message


class TestSlices:
    def test_a_file_is_answered_as_falx_does(self, service: PageService) -> None:
        shown = only("a.png", encoded(phantom.lesion()), service)
        expected = service.classifier.predict(encoded(phantom.lesion()))
        assert not isinstance(shown.result, Failure)
        assert shown.result.path == "a.png"
        assert shown.result.probabilities == expected.probabilities
        assert shown.size == (256, 256)
        assert shown.pixels is not None
        assert shown.heatmap is not None
        assert expected.heatmap is not None
        assert np.array_equal(shown.pixels, phantom.lesion())
        assert np.array_equal(shown.heatmap, expected.heatmap)
        assert expected.probabilities is not None
        assert shown.evidence == pytest.approx(1 - expected.probabilities["no_tumor"], abs=1e-3)

    @pytest.mark.parametrize(
        ("flip", "where"),
        [(False, "on the right side of the picture"), (True, "on the left side of the picture")],
    )
    def test_the_heatmap_is_told_by_the_sides_of_the_picture(
        self, service: PageService, *, flip: bool, where: str
    ) -> None:
        pixels = np.roll(phantom.lesion(), 20, axis=1)
        shown = only("a.png", encoded(pixels[:, ::-1] if flip else pixels), service)
        assert where in shown.strongest()

    def test_a_large_picture_is_kept_no_larger_than_it_is_shown(self, service: PageService) -> None:
        large = np.asarray(Image.fromarray(phantom.lesion()).resize((1600, 1600)))
        shown = only("a.png", encoded(large), service)
        assert shown.size == (1600, 1600)
        assert shown.pixels is not None
        assert shown.heatmap is not None
        assert shown.pixels.shape == shown.heatmap.shape == (768, 768)

    def test_a_picture_that_claims_too_many_pixels_is_not_decoded(self, service: PageService) -> None:
        shown = only("bomb.png", claiming(8000, 8000), service)
        assert shown.decision == "error"
        assert shown.trouble == (
            "Too large to be a slice, so it was not decoded: 8000 x 8000 pixels, at most 4194304 are read."
        )

    def test_a_file_that_is_no_picture_is_named_without_its_size(self, service: PageService) -> None:
        shown = only("note.txt", b"words", service)
        assert shown.trouble.startswith("Expected PNG, JPEG")
        assert shown.trouble.endswith("got text.")
        assert shown.result.to_dict()["error"]["message"].startswith("note.txt: expected PNG")


class TestViewer:
    @pytest.mark.parametrize(
        "tags",
        [
            {},
            {"RescaleSlope": 0.37, "RescaleIntercept": -20.5, "WindowCenter": 400, "WindowWidth": 700},
            {"PhotometricInterpretation": "MONOCHROME1"},
            {"PixelPaddingValue": 0},
            {"WindowCenter": [], "WindowWidth": []},
            # Nothing is cut: values and brightness are resampled alike.
            {"PixelSpacing": [1, 0.5], "WindowCenter": 1500, "WindowWidth": 3200},
        ],
    )
    def test_the_values_in_their_window_are_the_picture(
        self, dicom: Made, service: PageService, tags: dict[str, Any]
    ) -> None:
        data = dicom.windowed(**tags)
        sent = viewer.picture(only("a", data, service))
        assert sent["bytes"] == 2
        assert np.abs(shown_by(sent).astype(int) - read(data).pixels).max() <= 1

    def test_a_picture_without_values_has_a_window_over_its_greys(self, service: PageService) -> None:
        sent = viewer.picture(only("a.png", encoded(phantom.lesion()), service))
        assert (sent["bytes"], sent["window"]) == (1, (0, 255))
        assert np.array_equal(shown_by(sent), phantom.lesion())


def shown_by(sent: dict[str, Any]) -> Pixels:
    """The picture as the viewer draws it at first: `(H, W)` uint8."""
    data = zlib.decompress(base64.b64decode(sent["data"]))
    numbers = np.frombuffer(data, "<u2" if sent["bytes"] == 2 else "u1").astype(float)
    values = (sent["low"] + sent["step"] * numbers).reshape(sent["height"], sent["width"])
    low, high = sent["window"]
    shown: Pixels = np.floor(255 * ((values - low) / (high - low)).clip(0, 1) + 0.5).astype(np.uint8)
    return 255 - shown if sent["inverted"] else shown


class TestArrangement:
    def test_dicom_stands_in_the_order_of_its_positions(self, dicom: Made, service: PageService) -> None:
        arranged = arrange(classified(name, data, service) for name, data in dicom.series().items())
        assert [one.name for one in arranged.shown] == ["IM3", "IM2", "IM1"]
        assert arranged.shown[0].about == "IM3, 256 × 256, axial T1"
        (study,) = arranged.studies
        expected = service.classifier.predict_study(dicom.datasets())
        assert study.uid == "1.2.3"
        assert study.to_dict()["series"] == expected.to_dict()["series"]
        assert study.verdict == expected.verdict

    def test_each_frame_is_a_slice(self, dicom: Made, service: PageService) -> None:
        arranged = arrange([classified("scan.dcm", dicom.frames(), service)])
        assert [one.name for one in arranged.shown] == [f"scan.dcm, frame {n}" for n in (1, 2, 3)]
        assert [one.result.path for one in arranged.shown] == 3 * ["scan.dcm"]
        for one, pixels in zip(arranged.shown, dicom.pixels, strict=True):
            assert one.decision == service.classifier.predict(pixels).decision
            assert one.pixels is not None
            assert np.array_equal(one.pixels, pixels)

    @pytest.mark.parametrize(
        ("tags", "code"),
        [
            ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, "not_mr"),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ],
    )
    def test_a_slice_that_its_tags_reject_is_told_why(
        self, dicom: Made, service: PageService, tags: dict[str, Any], code: str
    ) -> None:
        data = dicom.file(phantom.clear(), SeriesInstanceUID="1.2.3.9", **tags)
        shown = only("a.dcm", data, service)
        assert (shown.decision, shown.pixels, shown.cautions) == ("rejected", None, ())
        said = fragments.slice_statement(shown)
        assert said.notes[0].startswith(TAG_REASONS[code])
        # In a study, it is not used.
        files = {"a.dcm": data, **dicom.series()}
        arranged = arrange(classified(name, data, service) for name, data in files.items())
        assert [(row.number, row.name, row.decision) for row in fragments.rows(arranged)][3:] == [
            ("–", "a.dcm", "Not used")
        ]
        (study,) = fragments.study_statements(arranged)
        assert any(note.startswith(f"Not used, 1 slice: {TAG_REASONS[code]}") for note in study.notes)
        assert arranged.shown[3].trouble.startswith(TAG_REASONS[code])
        assert fragments.bars(arranged.shown[3], service.thresholds, service.thresholds) == []

    def test_pictures_are_one_examination_only_where_the_visitor_says_so(
        self, dicom: Made, service: PageService
    ) -> None:
        files = {"a.png": encoded(phantom.clear()), **dicom.series(), "b.png": encoded(phantom.clear())}
        uploads = [classified(name, data, service) for name, data in files.items()]
        apart = arrange(uploads)
        assert apart.unsure
        for arranged, numbers, second in (
            (apart, ("1", "2", "3", "picture 1", "picture 2"), "Pictures, each by itself"),
            (arrange(uploads, one_patient=True), ("1.1", "1.2", "1.3", "2.1", "2.2"), "Series 2: 2 slices"),
        ):
            rows = fragments.rows(arranged)
            assert [row.series for row in rows] == ["Series 1: axial T1, 3 slices", "", "", second, ""]
            assert tuple(row.number for row in rows) == numbers
            assert [row.name for row in rows] == ["IM3", "IM2", "IM1", "a.png", "b.png"]

    def test_a_file_that_cannot_be_read_counts_in_the_study(self, dicom: Made, service: PageService) -> None:
        files = dicom.series()
        files["IM1"] = files["IM1"][:-9000]
        (study,) = arrange(classified(name, data, service) for name, data in files.items()).studies
        assert study.verdict.counts["error"] == 1
        alone = arrange([classified("a.png", b"no picture", service), classified("b", b"nor this", service)])
        assert (alone.studies, alone.numbers) == ([], ("1", "2"))

    def test_volumes_without_their_reader_are_no_study(
        self, service: PageService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "nibabel", None)
        both = [one for name in "ab" for one in held(f"{name}.nii.gz", b"\x1f\x8b" + bytes(400), service)]
        for beside in ([], [classified("c.png", encoded(phantom.clear()), service)]):
            arranged = arrange([*both, *beside], one_patient=True)
            assert (arranged.studies, arranged.numbers) == ([], ("1", "2", "3")[: 2 + len(beside)])
            assert isinstance(arranged.shown[1].result, Failure)
            assert str(arranged.shown[1].result.error).endswith("pip install 'falx[nifti]'")

    def test_the_same_object_twice_counts_once_and_is_told(self, dicom: Made, service: PageService) -> None:
        data = dicom.series()["IM1"]
        arranged = arrange(classified(name, data, service) for name in ("a", "b"))
        assert [one.name for one in arranged.shown] == ["a", "b"]
        assert [one.decision == "not_used" for one in arranged.shown] == [False, True]
        (said,) = fragments.study_statements(arranged)
        assert said.name == "Study of 1 slice"
        assert "1 slice left out: its place is shown already." in said.notes

    def test_each_study_is_answered(self, dicom: Made, service: PageService) -> None:
        files = {**dicom.series(), "z": dicom.file(phantom.clear(), StudyInstanceUID="1.9")}
        arranged = arrange(classified(name, data, service) for name, data in files.items())
        assert arranged.numbers == ("A 1", "A 2", "A 3", "B 1")
        names = [said.name for said in fragments.study_statements(arranged)]
        assert names == ["Study A of 3 slices", "Study B of 1 slice"]

    def test_there_is_a_letter_for_every_study(self, dicom: Made, service: PageService) -> None:
        files = [dicom.file(phantom.clear(), StudyInstanceUID=f"1.9.{number}") for number in range(29)]
        arranged = arrange(classified(f"{n}", data, service) for n, data in enumerate(files))
        assert len(arranged.studies) == 29
        assert arranged.numbers[24:] == ("Y 1", "Z 1", "AA 1", "AB 1", "AC 1")

    def test_a_study_comes_together_while_it_is_read(self, dicom: Made, service: PageService) -> None:
        (upload,) = taken("scan.dcm", dicom.frames(), service, room=MAXIMUM_SLICES).uploads
        assert arrange([upload]) == Arrangement()
        for names in (["1"], ["1", "2"]):
            upload.answer(service)
            assert [one.name for one in arrange([upload]).shown] == [f"scan.dcm, frame {n}" for n in names]
        assert not upload.done

    def test_more_slices_than_allowed_are_not_read(self, dicom: Made, service: PageService) -> None:
        (shown,) = classified("scan.dcm", dicom.frames(), service, room=2).shown
        assert shown.trouble == f"Not read: with this file there would be more than {MAXIMUM_SLICES} slices."

    def test_a_large_one_is_not_decoded(self, dicom: Made, service: PageService) -> None:
        shown = only("a", dicom.file(phantom.clear(), Rows=9000, Columns=9000), service)
        assert shown.trouble.startswith("Too large to be a slice, so it was not decoded: 9000 x 9000 pixels")

    def test_a_damaged_one_is_told_by_its_name(self, dicom: Made, service: PageService) -> None:
        shown = only("a", dicom.file(phantom.clear())[:300], service)
        assert shown.decision == "error"
        assert shown.result.to_dict()["error"]["message"].startswith("a: ")


class TestWhatHoldsSeveral:
    """The page takes what `falx study` takes."""

    def test_a_zip_archive_is_the_files_in_it(self, dicom: Made, service: PageService) -> None:
        files = {**dicom.series(), "DICOMDIR": b"\x08\x00\x05\x00CS", "readme.txt": b"words"}
        found = taken("scan.zip", zipped(files), service, room=MAXIMUM_SLICES)
        assert found.passed_over == {"DICOMDIR": 1, ".txt": 1}
        arranged = arrange(held("scan.zip", zipped(files), service))
        assert [one.name for one in arranged.shown] == ["scan.zip/IM3", "scan.zip/IM2", "scan.zip/IM1"]
        assert not arranged.unsure
        (study,) = arranged.studies
        expected = service.classifier.predict_study(dicom.datasets())
        assert study.to_dict()["series"] == expected.to_dict()["series"]
        # A slice can be read again, for its window.
        assert arranged.shown[0].greys().values.shape == (256, 256)

    def test_a_volume_is_a_study(self, service: PageService) -> None:
        nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
        voxels = np.stack([phantom.clear(), phantom.lesion(), phantom.clear()], axis=2)[::-1, ::-1]
        data = nibabel.Nifti1Image(voxels, np.diag([0.9, 0.9, 9.0, 1.0])).to_bytes()
        arranged = arrange(held("head.nii", data, service))
        assert [one.name for one in arranged.shown] == [f"head.nii, frame {number}" for number in (1, 2, 3)]
        (study,) = arranged.studies
        assert (study.series[0].about.plane, study.series[0].about.positions_mm) == (
            "axial",
            (0.0, 9.0, 18.0),
        )
        assert not arranged.unsure
        # Nothing says that two volumes are of one patient, but the visitor may.
        both = [*held("head.nii", data, service), *held("again.nii", data, service)]
        apart, together = arrange(both), arrange(both, one_patient=True)
        assert (len(apart.studies), apart.unsure) == (2, True)
        assert [len(study.series) for study in together.studies] == [2]

    def test_a_stack_is_a_study(self, service: PageService) -> None:
        first, *others = (Image.fromarray(pixels) for pixels in Made.pixels)
        stack = encoded(first, "TIFF", save_all=True, append_images=others)
        arranged = arrange(held("stack.tif", stack, service))
        assert [len(study.results) for study in arranged.studies] == [3]
        for one, pixels in zip(arranged.shown, Made.pixels, strict=True):
            assert one.pixels is not None
            assert np.array_equal(one.pixels, pixels)

    def test_what_is_no_image_is_passed_over_beside_images(self, service: PageService) -> None:
        visit = Visit()
        visit.taken["1"] = taken("Erika Mustermann.txt", b"words", service, room=9)
        assert (len(visit.uploads), visit.passed_over) == (1, Counter())
        visit.taken["2"] = taken("a.png", encoded(phantom.clear()), service, room=9)
        visit.taken["3"] = taken("DICOMDIR", b"\x08\x00\x05\x00CS", service, room=9)
        assert [upload.name for upload in visit.uploads] == ["a.png"]
        assert visit.passed_over == {".txt": 1, "DICOMDIR": 1}

    def test_a_dicomdir_alone_is_told_as_such(self, service: PageService) -> None:
        shown = only("DICOMDIR", b"\x08\x00\x05\x00CS", service)
        assert shown.trouble == ("Expected images, got the list of them; give the folder that it lies in.")

    def test_archives_are_bounded(self, service: PageService) -> None:
        many = zipped({f"{n}.png": encoded(phantom.clear()) for n in range(4)})
        (refused,) = held("a.zip", many, service, room=3)
        assert refused.shown[0].trouble.startswith("Not read: with this file there would be more")
        bomb = zipped({"a.png": encoded(phantom.clear()), "b.png": bytes(2**20 + 1)})
        small = replace(service, maximum_megabytes=1)
        first, second = held("b.zip", bomb, small)
        assert first.shown[0].answer is not None
        assert second.shown[0].trouble == "Too large to be a slice: over 1 MiB unpacked."
        (nothing,) = held("c.zip", zipped({"a.txt": b"words"}), service)
        assert nothing.shown[0].trouble == "No image in this archive."
