"""The comparison with self-contained files counts what differs, and says when the promise is broken."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import self_contained
from PIL import Image

from falx import card as cards
from falx import phantom
from falx.decision import DEFAULT_THRESHOLDS
from falx.prediction import Location, Model, Prediction
from falx.preprocessing import Frame
from falx.rejection import Reason
from falx.words import LABELS

MODELS = Path(__file__).parents[2] / "models"
MODEL = next(MODELS.glob("*/*-int8.onnx"), MODELS / "NAME-int8.onnx")
FRAME = Frame(0, 0, 4, 4)


def prediction(
    decision: str, probabilities: list[float] | None, code: str | None = None, heat: float = 0.5
) -> Prediction:
    return Prediction(
        decision=decision,
        confidence=None,
        band=None,
        probabilities=None if probabilities is None else dict(zip(LABELS, probabilities, strict=True)),
        recommendation="",
        reason=None if code is None else Reason(code, ""),
        elapsed_ms=4.0,
        model=Model("small", "1", "0" * 64),
        path=None,
        location=None if code else Location(np.full((7, 7), heat, np.float32), FRAME, (4, 4)),
    )


def outputs(decision: int, label: str, probabilities: list[float], reason: int = 0) -> dict[str, Any]:
    return {
        "decision": np.int32(decision),
        "decision_label": np.array(label, object),
        "rejected": np.bool_(reason > 0),
        "reason": np.int32(reason),
        "probabilities": np.array(probabilities, np.float32),
        "heatmap": np.full((4, 4), 0.25, np.float32),
    }


def compared(expected: Prediction, got: dict[str, Any], source: str = "a") -> self_contained.Comparison:
    return self_contained.compare(source, expected, got, DEFAULT_THRESHOLDS, 6.0)


def test_the_same_answer_keeps_the_promise() -> None:
    found = compared(
        prediction("glioma", [0.1, 0.1, 0.7, 0.1]), outputs(2, "glioma", [0.1, 0.1, 0.695, 0.105])
    )
    assert found.kept
    assert found.probability == pytest.approx(0.005, abs=1e-6)
    assert found.heatmap == pytest.approx(0.25)
    assert (found.decision, found.rejection, found.near) == (True, True, False)


@pytest.mark.parametrize(
    ("expected", "got", "kept"),
    [
        # 0.55 is glioma's threshold: near it, a decision may differ.
        (prediction("glioma", [0.2, 0.2, 0.552, 0.048]), (4, "ambiguous", [0.2, 0.2, 0.549, 0.051]), True),
        (prediction("glioma", [0.2, 0.2, 0.58, 0.02]), (4, "ambiguous", [0.2, 0.2, 0.575, 0.025]), False),
        (prediction("glioma", [0.1, 0.1, 0.7, 0.1]), (2, "glioma", [0.1, 0.1, 0.68, 0.12]), False),
        # Index and word must say the same.
        (prediction("glioma", [0.1, 0.1, 0.7, 0.1]), (2, "ambiguous", [0.1, 0.1, 0.7, 0.1]), False),
        (prediction("rejected", None, "blank"), (5, "rejected", [0.0] * 4, 2), True),
        (prediction("rejected", None, "blank"), (5, "rejected", [0.0] * 4, 1), False),
        (prediction("rejected", None, "blank"), (2, "glioma", [0.1, 0.1, 0.7, 0.1]), False),
        (prediction("glioma", [0.1, 0.1, 0.7, 0.1]), (5, "rejected", [0.0] * 4, 2), False),
    ],
)
def test_what_breaks_the_promise(expected: Prediction, got: tuple[Any, ...], kept: bool) -> None:
    assert compared(expected, outputs(*got)).kept is kept


def test_the_summary_has_a_row_for_each_collection_and_one_for_all() -> None:
    same = compared(prediction("rejected", None, "blank"), outputs(5, "rejected", [0.0] * 4, 2), "b")
    far = compared(
        prediction("glioma", [0.2, 0.2, 0.58, 0.02]), outputs(4, "ambiguous", [0.2, 0.2, 0.575, 0.025]), "a"
    )
    rows = self_contained.summary([same, far, dataclasses.replace(far, near=True, probability=0.5)])
    assert [(r.source, r.slices, r.decisions, r.far, r.near, r.rejections) for r in rows] == [
        ("a", 2, 2, 1, 1, 0),
        ("b", 1, 0, 0, 0, 0),
        ("all", 3, 2, 1, 1, 0),
    ]
    assert rows[-1].probability == 0.5
    assert (rows[-1].falx_ms, rows[-1].self_contained_ms) == (4.0, 6.0)


def test_files_are_decoded_to_grey_or_rgb(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(self_contained.decode(tmp_path / "grey.png"), grey[:, :, np.newaxis])
    clear = np.zeros((3, 4, 4), np.uint8)
    clear[..., :3], clear[0, :, 3] = 200, 255
    Image.fromarray(clear).save(tmp_path / "clear.png")
    decoded = self_contained.decode(tmp_path / "clear.png")
    assert decoded.shape == (3, 4, 3)
    assert (decoded[0] == 200).all()
    assert not decoded[1:].any()


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs onnxruntime")
@pytest.mark.skipif(not MODEL.exists(), reason=f"no {MODEL.name}: the checkout came without its models")
def test_it_prints_a_table_and_writes_the_same_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from falx_export.self_contained import onnx_file

    card, payload = cards.read(MODEL)
    file, out = tmp_path / "self-contained.onnx", tmp_path / "out.json"
    file.write_bytes(onnx_file.sealed(payload, card))
    lines = ["path,source"]
    for name, draw in phantom.PHANTOMS.items():
        Image.fromarray(draw()).save(tmp_path / f"{name}.png")
        lines.append(f"{name}.png,drawn")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    arguments = [str(MODEL), str(file), "--data", str(tmp_path), "--out", str(out)]
    assert self_contained.main(arguments) == 0
    document = json.loads(out.read_text())
    assert document["kept"] is True
    assert [(row["source"], row["slices"]) for row in document["rows"]] == [
        ("drawn", len(phantom.PHANTOMS)),
        ("all", len(phantom.PHANTOMS)),
    ]
    table = capsys.readouterr().out
    for row in document["rows"]:
        assert f"| {row['source']} | {row['slices']} | {row['probability']:.6f} |" in table
