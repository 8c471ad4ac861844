from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from falx import prediction as module
from falx.decision import DEFAULT_THRESHOLDS
from falx.errors import ImageNotFound
from falx.prediction import Failure, Location, ModelIdentity, Prediction
from falx.slices.preprocessing import Frame
from falx.slices.reasons import Reason
from falx.slices.slice import Origin

MODEL = ModelIdentity("falx-1", "0.1.0", "ab" * 32)
GLIOMA = Prediction(
    decision="glioma",
    confidence=0.97,
    band="high",
    probabilities={"no_tumor": 0.01, "meningioma": 0.01, "glioma": 0.97, "pituitary": 0.01},
    recommendation="Look.",
    thresholds=DEFAULT_THRESHOLDS,
    thresholds_changed=("glioma",),
    reason=None,
    elapsed_ms=9.8123,
    model=MODEL,
    path="a.png",
)
REJECTED = dataclasses.replace(
    GLIOMA,
    decision="rejected",
    confidence=None,
    band=None,
    probabilities=None,
    reason=Reason("blank", "It is."),
    path=None,
)


def test_the_json_of_a_prediction() -> None:
    document = json.loads(json.dumps(GLIOMA.to_dict()))
    assert next(iter(document)) == "schema"
    assert document == {
        "schema": 1,
        "path": "a.png",
        "decision": "glioma",
        "confidence": 0.97,
        "band": "high",
        "probabilities": {"no_tumor": 0.01, "meningioma": 0.01, "glioma": 0.97, "pituitary": 0.01},
        "recommendation": "Look.",
        "thresholds": {"no_tumor": 0.85, "meningioma": 0.6, "glioma": 0.55, "pituitary": 0.55},
        "thresholds_changed": ["glioma"],
        "model": {"name": "falx-1", "version": "0.1.0", "sha256": "ab" * 32},
        "elapsed_ms": 9.81,
    }


def test_the_json_of_a_rejection_and_of_a_failure() -> None:
    document = REJECTED.to_dict()
    assert document["reason"] == {"code": "blank", "message": "It is."}
    assert document["path"] is document["confidence"] is document["band"] is document["probabilities"] is None
    failure = Failure("x.png", ImageNotFound("x.png: no such file"))
    assert next(iter(failure.to_dict())) == "schema"
    assert failure.to_dict() == {
        "schema": 1,
        "path": "x.png",
        "error": {"type": "ImageNotFound", "message": "x.png: no such file"},
    }


def test_the_json_of_where_a_slice_stands() -> None:
    origin = Origin(format="dicom", frame=3, series_instance_uid="1.2.3", plane="axial")
    told = {"format": "dicom", "frame": 3, "series_instance_uid": "1.2.3", "plane": "axial"}
    untold = ("sop_class_uid", "sop_instance_uid", "study_instance_uid", "sequence")
    expected = told | dict.fromkeys(untold)
    failure = Failure("a.dcm", ImageNotFound("a.dcm: no such file"), origin)
    assert dataclasses.replace(GLIOMA, origin=origin).to_dict()["origin"] == expected
    assert failure.to_dict()["origin"] == expected
    assert all(f"`{key}`" in (module.__doc__ or "") for key in expected)


def test_every_key_is_documented() -> None:
    assert module.__doc__ is not None
    assert all(f"| `{key}` |" in module.__doc__ for key in REJECTED.to_dict())
    assert f"version {module.SCHEMA};" in module.__doc__
    assert f"| `schema` | {module.SCHEMA}," in module.__doc__


def test_results_are_frozen_and_a_prediction_without_location_has_no_heatmap() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        GLIOMA.decision = "no_tumor"  # type: ignore[misc] # the mistake that is tested
    assert GLIOMA.heatmap is None


def test_a_heatmap_follows_the_frame() -> None:
    cells = np.zeros((7, 7), np.float32)
    cells[3, 3] = 1
    # A frame twice as high as it is wide stands in the middle of the tensor, half as wide as that.
    location = Location(cells, Frame(left=50, top=10, width=112, height=224), shape=(300, 200))
    heatmap = location.heatmap()
    assert heatmap.shape == (300, 200)
    row, column = divmod(int(heatmap.argmax()), 200)
    assert row in (121, 122)
    assert column in (105, 106)
    assert heatmap.max() == pytest.approx(1, abs=0.05)
    assert not heatmap[:, :50].any()
    assert not heatmap[:, 162:].any()


def test_a_heatmap_of_one_value_fills_the_frame() -> None:
    heatmap = Location(np.full((7, 7), 0.5, np.float32), Frame(3, 4, 20, 10), (40, 30)).heatmap()
    assert heatmap[4:14, 3:23] == pytest.approx(0.5)
    assert heatmap.sum() == pytest.approx(0.5 * 200)
