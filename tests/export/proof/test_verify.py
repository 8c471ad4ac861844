"""An exported file against the Keras model it was made from."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="the export needs TensorFlow")

from falx import phantom
from falx.decision import DEFAULT_THRESHOLDS
from falx.errors import ModelError
from falx.model import card as cards
from falx.model import file as model_file
from falx.slices.limits import Limits
from falx.words import LABELS
from falx_export.__main__ import main
from falx_export.convert.graph import loaded
from falx_export.proof import parity, samples, self_contained_answers, verify
from falx_export.proof.samples import PreparedSlice
from falx_export.proof.tolerance import TOLERANCES
from falx_export.proof.verify import Verification, VerifiedSlice
from falx_export.self_contained import tflite_file
from falx_runs.errors import DataError, RunError
from falx_runs.manifest import Record
from falx_runs.run_folder import read_run


@pytest.fixture(scope="module", autouse=True)
def _read_once() -> Iterator[None]:
    """Each run is loaded once for all tests: Keras compiles a model anew whenever it is loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "loaded", lambda run: model_of(run.folder))
        yield


@functools.cache
def model_of(folder: Path) -> Any:
    return loaded(read_run(folder))


@pytest.fixture(scope="module")
def file(exported: Any) -> Path:
    """The run in float16."""
    path: Path = exported.folder / "small-float16.tflite"
    return path


@pytest.fixture(scope="module")
def for_others(exported: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same run for programs without Falx, by what takes it."""
    folder = tmp_path_factory.mktemp("for_others")
    card, payload = model_file.read(exported.folder / "small-float16.tflite")
    files = {
        "small-float16-self-contained.tflite": tflite_file.sealed(payload, card),
        "small-float16-mediapipe.tflite": tflite_file.sealed_for_mediapipe(payload, card),
        "small-float32-self-contained.onnx": (
            exported.folder / "small-float32-self-contained.onnx"
        ).read_bytes(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return dict(zip(("tflite", "mediapipe", "onnx"), (folder / name for name in files), strict=True))


@pytest.fixture(scope="module")
def heads(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn head, grey and with a breath of colour, and two pictures that are rejected for their pixels."""
    folder = tmp_path_factory.mktemp("heads")
    grey = phantom.lesion()
    tinted = np.stack([grey, grey, np.maximum(grey, 5) - 5], axis=2)
    colourful = np.stack([grey, grey // 4, grey], axis=2)
    pictures = {"grey": grey, "tinted": tinted, "colourful": colourful, "small": grey[:50, :50]}
    (folder / "glioma").mkdir()
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / "glioma" / f"{name}.png")
    return folder


def changed(source: Path, target: Path, alter: Callable[[cards.Card], cards.Card]) -> Path:
    """A copy of a file with another card."""
    card, payload = model_file.read(source)
    kind: cards.Format = "onnx" if source.suffix == ".onnx" else "tflite"
    target.write_bytes(model_file.embed(payload, alter(card), format=kind))
    return target


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def made(
    before: str, after: str, label: str = "glioma", off: float = 0.0, margin: float = 0.3
) -> VerifiedSlice:
    expected = np.array([0.1, 0.1, 0.7, 0.1])
    got = expected + np.array([off, 0, -off, 0])
    return VerifiedSlice(
        Path(f"{label}.png"), label, "val", expected, got, before, after, 0.25, 0.125, margin
    )


def comparison(*slices: VerifiedSlice) -> Verification:
    return Verification("x-int8.tflite", "litert", "int8", slices)


def test_every_slice_of_the_data_is_compared(file: Path, run_folder: Path, data: Path) -> None:
    found = verify.compare(file, run_folder, data)
    assert (found.file, found.engine, found.quantization) == ("small-float16.tflite", "litert", "float16")
    rows = table_of(data / "manifest.csv")
    assert sorted((x.path.name, x.label, x.split) for x in found.slices) == sorted(
        (row["path"], row["label"], row["split"]) for row in rows
    )
    measured = found.parity()
    assert measured.slices == len(rows)
    # The model is the same: only rounding to float16 is between, of random weights.
    assert 0 < measured.mean < 0.02
    assert measured.mean < measured.largest < 0.1
    assert measured.heatmap == max(x.heatmap or 0 for x in found.slices)
    assert 0 < measured.heatmap < 0.3
    # This model says nothing of it.
    assert measured.familiarity is None
    assert all(x.expected.sum() == pytest.approx(1, abs=1e-5) for x in found.slices)


def test_one_split_of_it(file: Path, run_folder: Path) -> None:
    found = verify.compare(file, run_folder, None, splits=["val"])
    assert {x.split for x in found.slices} == {"val"}
    assert len(found.slices) == 24


def test_each_decides_by_its_own_thresholds(file: Path, run_folder: Path, tmp_path: Path) -> None:
    # Above all probabilities but one: what Keras decides, the file leaves open.
    strict = replace(DEFAULT_THRESHOLDS, no_tumor=1.0, meningioma=1.0, glioma=1.0, pituitary=1.0)
    path = changed(file, tmp_path / "strict.tflite", lambda card: replace(card, thresholds=strict))
    found = verify.compare(path, run_folder, None, splits=["val"])
    assert {x.after for x in found.slices} == {"ambiguous"}
    assert any(x.before != "ambiguous" for x in found.slices)


def test_a_file_of_another_model_is_refused(file: Path, run_folder: Path, tmp_path: Path) -> None:
    path = changed(
        file,
        tmp_path / "other.tflite",
        lambda card: replace(card, provenance={**card.provenance, "model_sha256": "0" * 64}),
    )
    with pytest.raises(
        RunError,
        match=rf"other\.tflite: was not exported from {run_folder}: .* is 0{{64}}, there .*; give the run",
    ):
        verify.compare(path, run_folder, None)


def test_images_that_cannot_be_read_are_set_aside_but_not_all(tmp_path: Path, data: Path) -> None:
    (tmp_path / "glioma").mkdir()
    (tmp_path / "glioma" / "broken.png").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"expected images .* got none; the first of 1 that cannot be read: .*br"
    ):
        list(samples.prepared(tmp_path))
    Image.open(data / "00.png").save(tmp_path / "glioma" / "sound.png")
    (found,) = samples.prepared(tmp_path)
    record = found.record
    assert (record.path.name, record.label, record.split) == ("sound.png", "glioma", "")
    assert found.tensor.shape == (224, 224, 1)


@pytest.mark.parametrize(
    ("values", "decision", "margin"),
    [
        ([0.9, 0.1, 0, 0], "no_tumor", 0.05),
        ([0.82, 0.18, 0, 0], "ambiguous", 0.03),
        ([0.3, 0.62, 0.08, 0], "meningioma", 0.02),
    ],
)
def test_a_margin_is_the_distance_of_what_decides_from_its_threshold(
    values: list[float], decision: str, margin: float
) -> None:
    answers = {"probabilities": np.array(values, np.float32)}
    found = parity.judged(answers, DEFAULT_THRESHOLDS, Limits())
    assert found[0] == decision
    assert found[1] == pytest.approx(margin)


def test_a_picture_that_the_model_does_not_know_is_rejected() -> None:
    values = {"probabilities": [0, 0, 1, 0], "familiarity": [0.2]}
    answers = {name: np.array(value, np.float32) for name, value in values.items()}
    decision, margin = parity.judged(answers, DEFAULT_THRESHOLDS, Limits(least_familiarity=0.25))
    assert decision == "rejected"
    assert margin == pytest.approx(0.05)


def test_familiarity_is_compared_where_the_model_says_it() -> None:
    chunk = [PreparedSlice(Record(Path("x.png"), "glioma", split="val"), np.zeros((224, 224, 1), np.uint8))]
    limits = Limits(least_familiarity=0.5)
    judge: Any = SimpleNamespace(thresholds=DEFAULT_THRESHOLDS, least_familiarity=0.5, rejection=limits)
    probabilities = np.array([[0, 0, 1, 0]], np.float32)
    expected, got = (
        {"probabilities": probabilities, "familiarity": np.array([[value]], np.float32)}
        for value in (0.75, 0.25)
    )
    (found,) = verify._compared(chunk, expected, got, judge, judge)
    assert (found.before, found.after, found.familiarity, found.heatmap) == ("glioma", "rejected", 0.5, None)
    assert comparison(found).parity().familiarity == 0.5
    for answers, share in ((expected, 0.125), (got, 0.75)):
        answers["no_brain"] = np.array([[share]], np.float32)
    (found,) = verify._compared(chunk, expected, got, judge, judge)
    assert found.familiarity == 0.625


def test_the_table_has_each_label_each_probability_and_every_change() -> None:
    lines = verify.table(
        comparison(
            made("glioma", "glioma", off=0.01),
            made("glioma", "ambiguous", off=0.2, margin=0.015),
            made("no_tumor", "no_tumor", label="no_tumor"),
            made("glioma", "no_tumor", label="tumor_untyped", off=0.5),
        )
    ).splitlines()
    assert lines == [
        "x-int8.tflite on litert against Keras: 4 slices; differences of probabilities",
        "",
        "label          slices  changed  tumour to no_tumor  largest     mean     50 %     90 %     99 %",
        "no_tumor            1        0                   0  0.00000  0.00000  0.00000  0.00000  0.00000",
        "glioma              2        1                   0  0.20000  0.05250  0.00500  0.20000  0.20000",
        "tumor_untyped       1        1                   1  0.50000  0.25000  0.25000  0.50000  0.50000",
        "all                 4        2                   1  0.50000  0.08875  0.00000  0.35000  0.50000",
        "",
        "probability    largest     mean     50 %     90 %     99 %",
        "P(no_tumor)    0.50000  0.17750  0.10500  0.41000  0.49100",
        "P(meningioma)  0.00000  0.00000  0.00000  0.00000  0.00000",
        "P(glioma)      0.50000  0.17750  0.10500  0.41000  0.49100",
        "P(pituitary)   0.00000  0.00000  0.00000  0.00000  0.00000",
        "",
        "output       largest",
        "heatmap      0.25000",
        "familiarity  0.12500",
        "",
        "2 decisions changed (50.00 %), 1 of them where Keras was within 0.02 of a threshold:",
        "slice              label          Keras   file       margin  largest",
        "glioma.png         glioma         glioma  ambiguous  0.0150   0.2000",
        "tumor_untyped.png  tumor_untyped  glioma  no_tumor   0.3000   0.5000",
    ]


def test_the_table_of_a_file_that_decides_by_itself() -> None:
    own = replace(
        made("glioma", "glioma", off=0.5), heatmap=None, contradiction="decides glioma, Falx ambiguous"
    )
    silent = replace(made("rejected", "rejected", label="no_tumor"), silent=True, heatmap=None)
    found = comparison(own, silent)
    lines = verify.table(found).splitlines()
    assert (
        lines[3]
        == "no_tumor       1        0                   0        -        -        -        -        -"
    )
    assert lines[4:6] == [
        f"{label:8}       {count}        0                   0  0.50000  0.25000  0.25000  0.50000  0.50000"
        for label, count in (("glioma", 1), ("all", 2))
    ]
    assert lines[-9:] == [
        "",
        "output       largest",
        "heatmap            -",
        "familiarity  0.12500",
        "",
        "1 slices that the file rejects have no probabilities to compare",
        "",
        "1 slices are decided otherwise than by Falx on the file's probabilities:",
        "glioma.png: decides glioma, Falx ambiguous",
    ]
    assert found.beyond(TOLERANCES["int8"])[-1] == (
        "x-int8.tflite: decides 1 of 2 slices otherwise than Falx on its own probabilities; the first: "
        "glioma.png: decides glioma, Falx ambiguous"
    )
    with pytest.raises(
        DataError, match=r"x-int8\.tflite: rejects all of 1 slices, so that no probability can"
    ):
        comparison(silent).parity()


def test_self_contained_tflite_is_compared_as_the_plain_file(
    file: Path, for_others: dict[str, Path], run_folder: Path
) -> None:
    plain, own, bare = (
        verify.compare(path, run_folder, None, splits=["val"])
        for path in (file, for_others["tflite"], for_others["mediapipe"])
    )
    assert (own.file, own.engine, own.quantization) == (for_others["tflite"].name, "litert", "float16")
    for other in (own, bare):
        for a, b in zip(plain.slices, other.slices, strict=True):
            np.testing.assert_allclose(b.got, a.got, atol=1e-5)
            assert (b.path, b.before, b.after, b.contradiction, b.silent) == (
                a.path,
                a.before,
                a.after,
                "",
                False,
            )
    assert own.parity().heatmap == pytest.approx(plain.parity().heatmap, abs=1e-4)
    assert bare.parity().heatmap is None


def test_self_contained_onnx_is_compared_on_the_pictures(
    for_others: dict[str, Path], run_folder: Path, heads: Path, tmp_path: Path
) -> None:
    found = verify.compare(for_others["onnx"], run_folder, heads)
    assert (found.engine, found.quantization) == ("onnx", "float32")
    slices = {x.path.stem: x for x in found.slices}
    for name in ("grey", "tinted"):
        assert not slices[name].silent
        assert slices[name].after == slices[name].before != "rejected"
        assert 0 < slices[name].largest < 1e-3
    for name in ("colourful", "small"):
        assert slices[name].silent
        assert (slices[name].before, slices[name].after) == ("rejected", "rejected")
    assert found.beyond(TOLERANCES["float32"]) == []
    assert found.parity().heatmap is None
    verify.write_slices(tmp_path / "slices.csv", found)
    rows = {Path(row["path"]).stem: row for row in table_of(tmp_path / "slices.csv")}
    assert [rows["small"][f"file_{label}"] for label in LABELS] == [""] * 4
    assert float(rows["grey"]["file_glioma"]) == pytest.approx(slices["grey"].got[2], abs=1e-4)


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_graph_that_decides_otherwise_than_its_card_fails(
    kind: str,
    for_others: dict[str, Path],
    run_folder: Path,
    heads: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The graph keeps the thresholds of the run; the card says that anything is clear.
    loose = replace(DEFAULT_THRESHOLDS, no_tumor=1e-9)
    path = changed(for_others[kind], tmp_path / f"other.{kind}", lambda card: replace(card, thresholds=loose))
    arguments = ["verify", str(path), "--against", str(run_folder), "--data", str(heads), "--quiet"]
    every = [
        word for key in ("decisions", "largest", "mean", "heatmap") for word in ("--tolerance", f"{key}=1")
    ]
    assert main([*arguments, "--plot", str(tmp_path / "plot.png"), *every]) == 1
    error = capsys.readouterr().err
    wrong = 2 if kind == "onnx" else 4
    assert f"falx_export: other.{kind}: decides {wrong} of 4 slices otherwise than Falx on its own" in error
    assert "Falx no_tumor" in error


def test_a_familiarity_that_mediapipe_is_not_told_rejects_nothing() -> None:
    chunk = [PreparedSlice(Record(Path("x.png"), "glioma", split="val"), np.zeros((224, 224, 1), np.uint8))]
    limits = Limits(least_familiarity=0.5)
    judge: Any = SimpleNamespace(thresholds=DEFAULT_THRESHOLDS, least_familiarity=0.5, rejection=limits)
    got = {"probabilities": np.array([[0, 0, 1, 0]], np.float32)}
    expected = {**got, "familiarity": np.array([[0.25]], np.float32)}
    own = self_contained_answers.SelfContainedAnswers(got, None, [""], [False], [False])
    (found,) = verify._compared(chunk, expected, got, judge, judge, own)
    assert (found.before, found.after, found.familiarity) == ("glioma", "glioma", None)


def test_another_engine_for_a_self_contained_file_is_refused(
    for_others: dict[str, Path], run_folder: Path
) -> None:
    with pytest.raises(
        ModelError,
        match=r"self-contained\.tflite: is self-contained, and only litert runs it here, not tflite",
    ):
        verify.compare(for_others["tflite"], run_folder, None, engine="tflite")


def test_the_measures_are_those_of_the_export() -> None:
    measured = comparison(made("glioma", "no_tumor", off=0.5), made("glioma", "glioma")).parity()
    assert (measured.differing, measured.missed, measured.heatmap) == (1, 1, 0.25)
    assert (measured.largest, measured.mean) == pytest.approx((0.5, 0.125))
    assert measured.familiarity == 0.125
    assert measured.beyond(replace(TOLERANCES["int8"], familiarity=0.1))[-1] == (
        "x-int8.tflite: familiarity is 0.125, tolerance 0.1"
    )
    bare = [replace(made("glioma", "glioma"), heatmap=None, familiarity=None)]
    assert (comparison(*bare).parity().heatmap, comparison(*bare).parity().familiarity) == (None, None)
    broken = [made("glioma", "glioma"), replace(made("glioma", "glioma"), familiarity=float("nan"))]
    assert comparison(*broken).parity().beyond(TOLERANCES["int8"]) == [
        "x-int8.tflite: familiarity is nan, tolerance 0.2"
    ]


WIDE = [word for key in ("decisions", "largest", "heatmap") for word in ("--tolerance", f"{key}=0.5")]
"""Random weights are on edge everywhere."""


def call(file: Path, run_folder: Path, folder: Path, *more: str) -> int:
    arguments = ["verify", str(file), "--against", str(run_folder), "--split", "val"]
    return main([*arguments, "--plot", str(folder / "plot.png"), "--csv", str(folder / "slices.csv"), *more])


def test_the_command_prints_draws_and_passes(
    file: Path, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(file, run_folder, tmp_path, *WIDE) == 0
    out = capsys.readouterr().out
    assert out.startswith("small-float16.tflite on litert against Keras: 24 slices")
    assert out.endswith(f"\nplot: {tmp_path / 'plot.png'}\nslices: {tmp_path / 'slices.csv'}\npassed\n")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.size == (1200, 576)
    rows = table_of(tmp_path / "slices.csv")
    assert len(rows) == 24
    values = [float(rows[0][f"keras_{label}"]) for label in LABELS]
    assert sum(values) == pytest.approx(1, abs=1e-4)


def test_past_the_tolerance_is_status_1(
    file: Path,
    run_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["verify", str(file), "--against", str(run_folder), "--split", "val"]
    assert main([*arguments, *WIDE, "--quiet", "--tolerance", "mean=0"]) == 1
    # The same model in the other format has a picture of its own.
    assert [path.name for path in tmp_path.iterdir()] == ["small-float16-tflite-parity.png"]
    got = capsys.readouterr()
    assert got.out == ""
    assert got.err.startswith("falx_export: small-float16.tflite: mean is ")
    assert got.err.endswith(", tolerance 0\n")


def test_what_cannot_be_used_is_status_2(
    file: Path, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path / "none.tflite", run_folder, tmp_path) == 2
    assert "none.tflite" in capsys.readouterr().err
    assert call(file, run_folder, tmp_path, "--data", str(tmp_path / "gone")) == 2
    message = f"{tmp_path / 'gone'}: expected a manifest (CSV) or a folder of images, found neither"
    assert capsys.readouterr().err == f"falx_export: {message}\n"
    with pytest.raises(SystemExit, match="2"):
        call(file, run_folder, tmp_path, "--tolerance", "worst=1")
    assert "unknown measure 'worst'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        call(file, run_folder, tmp_path, "--plot", "plot.txt")
    assert "--plot plot.txt: expected a name that ends in .png, .svg, .pdf" in capsys.readouterr().err
