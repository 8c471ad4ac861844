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


def shown(html: str) -> Image.Image:
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "<slice>.png"
    Image.fromarray(np.pad(phantom.lesion(), ((0, 0), (0, 256)))).save(path)
    return path


def test_slice_heatmap_and_bars(path: Path) -> None:
    prediction = falx.load().predict(path)
    html = prediction._repr_html_()
    assert prediction.probabilities is not None
    places = [html.index(f">{label.replace('_', ' ')}</td>") for label in LABELS]
    assert places == sorted(places)
    for share in prediction.probabilities.values():
        assert f"width:{100 * share:.1f}%" in html
        assert f">{percent(share)}</td>" in html
    for said in (prediction.recommendation, DISCLAIMER, prediction.model.name):
        assert said in html
    picture = shown(html)
    assert picture.size == (240, 120)
    colours = np.asarray(picture.convert("RGB")).astype(int)
    # Grey where the heatmap is nothing, red where it is high.
    assert colours[5, 5].tolist() == [0, 0, 0]
    assert (colours[..., 0] - colours[..., 2]).max() > 80
    assert "<script" not in html
    assert "://" not in html  # "http" may occur in base64 by chance


def test_the_thresholds_of_a_caller_are_named(path: Path) -> None:
    classifier = falx.load()
    own = classifier.card.thresholds.to_dict()
    html = classifier.predict(path, thresholds={**own, "glioma": 0.999})._repr_html_()
    assert "Thresholds of the caller: glioma 0.999." in html
    assert "Thresholds of the caller" not in classifier.predict(path)._repr_html_()


def test_a_slice_that_was_not_a_file_is_not_kept() -> None:
    html = falx.load().predict(phantom.lesion())._repr_html_()
    assert "The slice was not a file and is not kept." in html
    assert shown(html).mode == "RGBA"


def test_a_file_that_changed_or_went(path: Path) -> None:
    prediction = falx.load().predict(path)
    Image.fromarray(phantom.clear()).save(path)
    assert "The file has changed since." in prediction._repr_html_()
    path.unlink()
    assert "The slice cannot be read from its file again." in prediction._repr_html_()


def test_a_slice_of_a_volume_is_found_again(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    dark, lesion = np.zeros((256, 256), np.uint8), np.rot90(phantom.lesion(), -1)
    volume = np.stack([dark, lesion, dark], axis=-1)
    path = tmp_path / "volume.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    blank, found, _ = falx.load().predict_study(path).results
    assert isinstance(blank, falx.Prediction)
    assert isinstance(found, falx.Prediction)
    assert np.asarray(shown(found._repr_html_()).convert("L")).mean() > 20
    html = blank._repr_html_()
    assert blank.to_dict()["reason"]["message"] in html
    assert "<table" not in html
    assert np.asarray(shown(html)).max() == 0
