"""Tags decide some things and not others, and few of them reach a result."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.sequence import Sequence
from tests.pictures import Pixels
from tests.reading.dicom import made

import falx
from falx import Classifier
from falx.errors import NotASlice, UnreadableImage
from falx.reading import dicom, files
from falx.reading import source as images
from falx.reading.input_file import InputFile
from falx.slices.rejection import FAMILIARITY_AGAINST_TAGS

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
# What a model gives a picture that it neither rejects nor is sure of.
DOUBTED = 0.965


def item(**values: Any) -> pydicom.Dataset:
    held = pydicom.Dataset()
    for keyword, value in values.items():
        setattr(held, keyword, value)
    return held


def enhanced(pixels: npt.NDArray[Any], **shared: Any) -> pydicom.Dataset:
    """An enhanced MR image of `(N, H, W)` with its frames 5 mm apart."""
    frames = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 5 * n])],
            FrameVOILUTSequence=[item(WindowCenter=200 * (n + 1), WindowWidth=400 * (n + 1))],
        )
        for n in range(len(pixels))
    ]
    common = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[1, 1])],
        **shared,
    )
    return made.dataset(
        pixels,
        SOPClassUID=made.ENHANCED,
        SharedFunctionalGroupsSequence=Sequence([common]),
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )


@pytest.mark.parametrize(
    ("tags", "code", "found"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "not_mr", "of the SOP class CT Image Storage."),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "not_mr", "Secondary Capture Image Storage."),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"}, "not_mr", "Basic Text SR Storage."),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "not_mr", "Encapsulated PDF Storage."),
        ({"Modality": "CT"}, "not_mr", "Its modality is CT."),
        ({"Modality": "MUELLER"}, "not_mr", "Its modality is another."),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer", "says LOCALIZER."),
        ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}, "projection", "says PROJECTION IMAGE."),
        ({"BurnedInAnnotation": "YES"}, "annotated", "Burned In Annotation is YES."),
    ],
)
def test_what_is_no_mr_slice_by_its_tags(
    classifier: Classifier, head: Pixels, tags: dict[str, Any], code: str, found: str
) -> None:
    part = made.dataset(head, **tags)
    for source in (part, made.written(part)):
        answer = classifier.predict(source)
        assert answer.decision == "rejected"
        assert answer.reason is not None
        assert (answer.reason.code, answer.reason.message.endswith(found)) == (code, True)
        assert answer.origin is not None
        assert answer.origin.sop_instance_uid == part.SOPInstanceUID
        with pytest.raises(NotASlice):
            images.read(source)


def test_an_object_without_a_picture_is_rejected_by_its_class(classifier: Classifier) -> None:
    for name in ("reportsi.dcm", "test-SR.dcm", "rtplan.dcm", "waveform_ecg.dcm"):
        answer = classifier.predict(FILES / name)
        assert (answer.decision, answer.reason and answer.reason.code) == ("rejected", "not_mr")
    part = made.dataset(np.zeros((2, 2), np.uint8), PixelData=None)
    with pytest.raises(UnreadableImage, match="holds no picture"):
        classifier.predict(part)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("part", [None, "", "KNEE", "ABDOMEN", "Cranium", "BRAIN", "UNKNOWN"])
def test_a_wrong_or_missing_body_part_does_not_reject_a_head(
    classifier: Classifier, real: list[Pixels], part: str | None
) -> None:
    for pixels in real[:2]:
        tagged = made.dataset(pixels, **({} if part is None else {"BodyPartExamined": part}))
        assert classifier.predict(tagged).decision == classifier.predict(pixels).decision


def test_another_body_part_rejects_what_is_larger_than_a_head(classifier: Classifier, head: Pixels) -> None:
    wide = made.dataset(head, BodyPartExamined="ABDOMEN", PixelSpacing=["1.8", "1.8"])
    found = classifier.predict(wide).reason
    assert (found and found.code) == "other_body_part"
    unnamed = made.dataset(head, PixelSpacing=["1.8", "1.8"])
    assert classifier.predict(unnamed).decision == classifier.predict(head).decision


def test_another_body_part_rejects_what_the_model_doubts(
    real: list[Pixels], answering: Callable[..., None]
) -> None:
    answering(lambda outputs: outputs | {"familiarity": np.array([DOUBTED], np.float32)})
    classifier = falx.load()
    assert classifier.card.rejection.least_familiarity < DOUBTED < FAMILIARITY_AGAINST_TAGS
    assert classifier.predict(made.dataset(real[0], BodyPartExamined="HEAD")).decision != "rejected"
    found = classifier.predict(made.dataset(real[0], BodyPartExamined="LKNEE KNEE")).reason
    assert found is not None
    assert found.code == "other_body_part"
    assert found.message.endswith("Its tags name KNEE.")


def test_pydicoms_own_files_are_no_heads(classifier: Classifier) -> None:
    seen = 0
    for item_ in files.expand([str(FILES)]):
        result = next(classifier.predict_many([item_]))
        seen += 1
        document = result.to_dict()
        assert document.get("decision", "rejected") == "rejected", document
    assert seen > 100


def test_uids_plane_and_sequence(classifier: Classifier, head: Pixels) -> None:
    tags = {"EchoTime": 10, "RepetitionTime": 500, "ContrastBolusAgent": "Gadovist"}
    part = made.dataset(head, ImageOrientationPatient=[1, 0, 0, 0, 0, -1], **tags)
    answer = classifier.predict(part).to_dict()
    assert answer["origin"] == {
        "format": "dicom",
        "frame": None,
        "sop_class_uid": made.MR,
        "sop_instance_uid": part.SOPInstanceUID,
        "series_instance_uid": "1.2.3.4",
        "study_instance_uid": "1.2.3",
        "plane": "coronal",
        "sequence": "T1C+",
    }


@pytest.mark.parametrize(
    ("axes", "plane"),
    [
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([1, 0, 0, 0, 0.9, 0.436], "axial"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([0.7071, -0.7071, 0, 0.4082, 0.4082, -0.8165], None),
        ([1, 0, 0], None),
    ],
)
def test_planes(head: Pixels, axes: list[float], plane: str | None) -> None:
    part = made.dataset(head, ImageOrientationPatient=axes)
    assert dicom.open_dataset(part).origin().plane == plane


@pytest.mark.parametrize(
    ("tags", "sequence"),
    [
        ({"EchoTime": 12, "RepetitionTime": 550}, "T1"),
        ({"EchoTime": 100, "RepetitionTime": 4500}, "T2"),
        ({"EchoTime": 20, "RepetitionTime": 3000}, "PD"),
        ({"EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500}, "FLAIR"),
        ({"EchoTime": 3, "RepetitionTime": 2300, "InversionTime": 900, "ScanningSequence": "GR"}, "T1"),
        ({"EchoTime": 90, "RepetitionTime": 5000, "ScanningSequence": ["EP", "SE"]}, None),
        ({"DiffusionBValue": 1000.0}, "DWI"),
        ({"SeriesDescription": "t2_tirm_tra_dark-fluid FLAIR Mustermann"}, "FLAIR"),
        ({"SeriesDescription": "Mustermann"}, None),
        ({}, None),
    ],
)
def test_sequences(head: Pixels, tags: dict[str, Any], sequence: str | None) -> None:
    assert dicom.open_dataset(made.dataset(head, **tags)).origin().sequence == sequence


def test_a_file_of_several_frames_is_several_slices(
    classifier: Classifier, head: Pixels, tmp_path: Path
) -> None:
    frames = np.stack([head, head[:, ::-1], np.zeros_like(head)])
    alone = [classifier.predict(pixels) for pixels in frames]
    for syntax in ("explicit", "rle", "jpeg-2000-lossless", "deflated"):
        path = tmp_path / syntax
        path.write_bytes(made.encoded(made.dataset(frames), made.SYNTAXES[syntax]))
        items = list(files.expand([str(path)]))
        results = [result.to_dict() for result in classifier.predict_many(items)]
        assert [result["path"] for result in results] == [str(path)] * 3
        assert [result["origin"]["frame"] for result in results] == [1, 2, 3]
        assert [result["decision"] for result in results] == [answer.decision for answer in alone]
        assert np.array_equal([images.read(part).pixels for part in items], frames)
        held = dicom.open_file(InputFile.of("held", path.read_bytes()))
        assert np.array_equal([held.read(number).pixels for number in (1, 2, 3)], frames)
    with pytest.raises(UnreadableImage, match=r"expected one slice, got 3 frames; give it as a study$"):
        classifier.predict(path)


def test_the_frames_of_an_enhanced_object_have_their_own_windows(head: Pixels, tmp_path: Path) -> None:
    values = np.stack([head.astype(np.uint16) * (n + 1) for n in range(3)])
    weighting = [
        item(AcquisitionContrast="FLUID_ATTENUATED", FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    ]
    path = tmp_path / "enhanced"
    path.write_bytes(made.written(enhanced(values, MRImageFrameTypeSequence=weighting)))
    opened = dicom.open_file(InputFile.at(path))
    assert opened.frames == 3
    first, *others = [opened.read(number).pixels.astype(int) for number in (1, 2, 3)]
    assert all(np.abs(other - first).max() <= 1 for other in others)
    origins = [opened.origin(number) for number in (1, 2, 3)]
    assert {(origin.plane, origin.sequence) for origin in origins} == {("axial", "FLAIR")}
    localizer = [item(FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"])]
    with pytest.raises(NotASlice, match="localizer"):
        dicom.open_dataset(enhanced(values, MRImageFrameTypeSequence=localizer)).read(2)


def test_nothing_of_the_patient_reaches_a_result_an_error_or_a_log(
    classifier: Classifier, head: Pixels, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = made.NAME
    keywords = [
        *("Modality", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "ImageType"),
        *("PhotometricInterpretation", "BodyPartExamined", "SeriesDescription", "WindowCenter"),
        *("NumberOfFrames", "InstanceNumber", "EchoTime", "ImagePositionPatient", "VOILUTFunction"),
        *("BurnedInAnnotation", "PatientComments", "ImageComments", "InstitutionName", "PixelSpacing"),
        "RescaleSlope",
    ]
    said = []
    for keyword in [None, *keywords]:
        data = bytearray(made.written(made.dataset(head)))
        part = pydicom.dcmread(io.BytesIO(data))
        if keyword is not None:
            element = pydicom.DataElement(keyword, "LO", "X", already_converted=True)
            element._value = secret
            part[keyword] = element
        part.add_new((0x0009, 0x0010), "LO", secret)
        part.add_new((0x0009, 0x1001), "LO", secret)
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, part)
        path = tmp_path / (keyword or "none")
        path.write_bytes(buffer.getvalue())
        for source in (str(path), path.read_bytes(), part):
            (result,) = classifier.predict_many([source])
            said.append(json.dumps(result.to_dict()) + repr(result))
            if isinstance(result, falx.Failure):
                error: BaseException | None = result.error
                while error is not None:
                    said.append(repr(error) + str(error))
                    error = error.__cause__
    said += [record.getMessage() for record in caplog.records]
    out = capfd.readouterr()
    text = " ".join([*said, out.out, out.err]).lower()
    assert len(said) >= 3 * len(keywords)
    assert [word for word in ("mustermann", "erika", "19640812") if word in text] == []


def test_a_damaged_file_says_where_and_not_what(head: Pixels) -> None:
    file = made.written(made.dataset(head))
    for length in range(132, len(file) - 2, len(file) // 40):
        with pytest.raises(UnreadableImage) as caught:
            images.read(file[:length])
        assert str(caught.value).startswith(f"{length} bytes: ")
        assert caught.value.__cause__ is None or caught.value.__suppress_context__
