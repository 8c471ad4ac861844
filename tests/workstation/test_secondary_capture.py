from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from tests.workstation.peers import WrittenStudy, write_study

import falx
from falx import phantom
from falx.reading.input_file import InputFile
from falx.workstation.errors import ReportError
from falx.workstation.objects import headers, study_objects
from falx.workstation.objects.secondary_capture import burnt, secondary_capture
from falx.workstation.objects.structured_report import Rule


def test_the_slice_is_enlarged_and_the_words_stand_below_it() -> None:
    pixels = phantom.lesion()
    picture = burnt(pixels, None, ["glioma, 80 % moderate", "For research only."])
    assert (picture.dtype.name, picture.shape[1:]) == ("uint8", (512, 3))
    above, below = picture[:512], picture[512:]
    assert np.abs(above[::2, ::2, 0].astype(int) - pixels).mean() < 6
    assert 0.01 < (below > 100).mean() < 0.3
    assert (below[:8] == 0).all()


def test_a_heatmap_colours_the_slice_and_words_are_wrapped() -> None:
    heatmap = np.zeros((256, 256), np.float32)
    heatmap[40:60, 40:60] = 1
    picture = burnt(phantom.clear(), heatmap, ["word " * 60])
    assert picture[100, 100, 0] > picture[100, 100, 2] + 100
    assert picture.shape[0] > 512 + 5 * 23


def test_a_picture_names_its_source_and_nothing_of_the_patient_is_in_its_pixels(
    classifier: falx.Classifier, study: WrittenStudy
) -> None:
    answer, (_, *pictures) = study_objects.make(classifier, study.files, capture=True)
    assert len(pictures) == len(answer.verdict.carriers) >= 1
    for number, (index, picture) in enumerate(zip(answer.verdict.carriers, pictures, strict=True), start=1):
        source = picture.SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == pydicom.dcmread(study.files[index]).SOPInstanceUID
        assert (picture.BurnedInAnnotation, picture.InstanceNumber, picture.Modality) == ("NO", number, "OT")
        assert list(picture.ImageType) == ["DERIVED", "SECONDARY"]
        assert "not a medical device" in picture.DerivationDescription
        assert (
            f"Thresholds: no_tumor {classifier.card.thresholds.no_tumor:g}, " in picture.DerivationDescription
        )
        assert picture.pixel_array.shape[1:] == (512, 3)


def test_pixels_that_name_the_patient_are_not_copied(classifier: falx.Classifier, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", BurnedInAnnotation="YES")
    answer, made = study_objects.make(classifier, study.files, capture=True)
    assert [one.Modality for one in made] == ["SR"]
    assert (answer.results, answer.not_used[0].reason.code) == ((), "annotated")
    header = headers.read(InputFile.at(study.files[0]))
    seen = classifier.predict(phantom.clear())
    rule = Rule(classifier.model, classifier.card.thresholds, classifier.card.thresholds)
    with pytest.raises(ReportError, match=r"its pixels name the patient \(Burned In Annotation\)"):
        secondary_capture(seen, phantom.clear(), header, rule=rule, identity="one", number=1)


def test_what_was_lossy_stays_lossy(classifier: falx.Classifier, tmp_path: Path) -> None:
    lossy: Any = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "9.5"}
    study = write_study(tmp_path / "study", LossyImageCompressionMethod="ISO_10918_1", **lossy)
    _, (_, picture, *_) = study_objects.make(classifier, study.files, capture=True)
    assert (picture.LossyImageCompression, picture.LossyImageCompressionRatio) == ("01", 9.5)
