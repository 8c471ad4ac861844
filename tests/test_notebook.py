"""The view of an answer in a notebook."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import falx
from falx import phantom
from falx.words import DISCLAIMER, LABELS, percent


def shown(html: str) -> Image.Image | None:
    found = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    return None if found is None else Image.open(io.BytesIO(base64.b64decode(found[1])))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "<slice>.png"
    Image.fromarray(np.pad(phantom.lesion(), ((0, 0), (0, 256)))).save(path)
    return path


def test_slice_heatmap_and_bars(path: Path) -> None:
    prediction = falx.load().predict(path)
    html = prediction._repr_html_()
    assert prediction.probabilities is not None
    assert [html.index(f">{label.replace('_', ' ')}</td>") for label in LABELS] == sorted(
        html.index(f">{label.replace('_', ' ')}</td>") for label in LABELS
    )
    for share in prediction.probabilities.values():
        assert f"width:{100 * share:.1f}%" in html
        assert f">{percent(share)}</td>" in html
    for said in (prediction.recommendation, DISCLAIMER, prediction.model.name):
        assert said in html
    picture = shown(html)
    assert picture is not None
    assert picture.size == (240, 120)
    colours = np.asarray(picture.convert("RGB")).astype(int)
    # Grey where the heatmap is nothing, red where it is high.
    assert colours[5, 5].tolist() == [0, 0, 0]
    assert (colours[..., 0] - colours[..., 2]).max() > 80
    assert "<script" not in html
    assert "http" not in html


def test_the_thresholds_of_a_caller_are_named(path: Path) -> None:
    classifier = falx.load()
    own = classifier.card.thresholds.to_dict()
    html = classifier.predict(path, thresholds={**own, "glioma": 0.999})._repr_html_()
    assert "Thresholds of the caller: glioma 0.999." in html
    assert "Thresholds of the caller" not in classifier.predict(path)._repr_html_()


def test_a_slice_that_was_not_a_file_is_not_kept() -> None:
    html = falx.load().predict(phantom.lesion())._repr_html_()
    assert "The slice was not a file and is not kept." in html
    picture = shown(html)
    assert picture is not None
    assert picture.mode == "RGBA"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), "The slice cannot be read from its file again."),
        (lambda path: Image.fromarray(phantom.clear()).save(path), "The file has changed since."),
    ],
)
def test_a_file_that_went_or_changed(path: Path, change: object, said: str) -> None:
    prediction = falx.load().predict(path)
    assert callable(change)
    change(path)
    assert said in prediction._repr_html_()


def test_a_slice_of_a_volume_is_found_again(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    dark, lesion = np.zeros((256, 256), np.uint8), np.rot90(phantom.lesion(), -1)
    volume = np.stack([dark, lesion, dark], axis=-1)
    path = tmp_path / "volume.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    blank, found, _ = falx.load().predict_study(path).results
    assert isinstance(blank, falx.Prediction)
    assert isinstance(found, falx.Prediction)
    picture = shown(found._repr_html_())
    assert picture is not None
    assert np.asarray(picture.convert("L")).mean() > 20
    html = blank._repr_html_()
    assert blank.reason is not None
    assert blank.reason.message in html
    assert "<table" not in html
    nothing = shown(html)
    assert nothing is not None
    assert np.asarray(nothing).max() == 0
