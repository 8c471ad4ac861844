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
from tests.said import Command, Said

from falx import phantom
from falx.decision import DEFAULT_THRESHOLDS, Thresholds
from falx.errors import ModelError
from falx.model import card as cards
from falx.model import file as model_file
from falx.slices.limits import Limits
from falx.words import LABELS
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
        model_of = functools.cache(lambda folder: loaded(read_run(folder)))
        patch.setattr(verify, "loaded", lambda run: model_of(run.folder))
        yield


@pytest.fixture(scope="module")
def file(exported: Any) -> Any:
    """The run in float16."""
    return exported.folder / "small-float16.tflite"


@pytest.fixture(scope="module")
def for_others(exported: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same run for programs without Falx, by what takes it."""
    folder = tmp_path_factory.mktemp("for_others")
    card, payload = model_file.read(exported.folder / "small-float16.tflite")
    own, bare = folder / "small-float16-self-contained.tflite", folder / "small-float16-mediapipe.tflite"
    own.write_bytes(tflite_file.sealed(payload, card))
    bare.write_bytes(tflite_file.sealed_for_mediapipe(payload, card))
    onnx = exported.folder / "small-float32-self-contained.onnx"
    return {"tflite": own, "mediapipe": bare, "onnx": onnx}


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    got, path = expected + np.array([off, 0, -off, 0]), Path(f"{label}.png")
    return VerifiedSlice(path, label, "val", expected, got, before, after, 0.25, 0.125, margin)


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
    assert measured.familiarity == max(x.familiarity or 0 for x in found.slices)
    assert 0 < measured.familiarity < 0.3
    assert all(x.expected.sum() == pytest.approx(1, abs=1e-5) for x in found.slices)


def test_each_decides_by_its_own_thresholds(file: Path, run_folder: Path, tmp_path: Path) -> None:
    # Above all probabilities but one: what Keras decides, the file leaves open.
    strict = Thresholds(1.0, 1.0, 1.0, 1.0)
    path = changed(file, tmp_path / "strict.tflite", lambda card: replace(card, thresholds=strict))
    found = verify.compare(path, run_folder, None, splits=["val"])
    assert ({x.split for x in found.slices}, len(found.slices)) == ({"val"}, 24)
    assert {x.after for x in found.slices} == {"ambiguous"}
    assert any(x.before != "ambiguous" for x in found.slices)


def test_a_file_of_another_model_is_refused(file: Path, run_folder: Path, tmp_path: Path) -> None:
    def other(card: cards.Card) -> cards.Card:
        return replace(card, provenance={**card.provenance, "model_sha256": "0" * 64})

    path = changed(file, tmp_path / "other.tflite", other)
    message = rf"other\.tflite: was not exported from {run_folder}: .* is 0{{64}}, there .*; give the run"
    with pytest.raises(RunError, match=message):
        verify.compare(path, run_folder, None)


def test_images_that_cannot_be_read_are_set_aside_but_not_all(tmp_path: Path, data: Path) -> None:
    (tmp_path / "glioma").mkdir()
    (tmp_path / "glioma" / "broken.png").write_bytes(b"no image")
    message = r"expected images .* got none; the first of 1 that cannot be read: .*br"
    with pytest.raises(DataError, match=message):
        list(samples.prepared(tmp_path))
    Image.open(data / "00.png").save(tmp_path / "glioma" / "sound.png")
    (found,) = samples.prepared(tmp_path)
    record = found.record
    assert (record.path.name, record.label, record.split) == ("sound.png", "glioma", "")
    assert found.tensor.shape == (224, 224, 1)


@pytest.mark.parametrize(
    ("values", "familiarity", "decision", "margin"),
    [
        ([0.9, 0.1, 0, 0], 0.9, "no_tumor", 0.05),
        ([0.82, 0.18, 0, 0], 0.9, "ambiguous", 0.03),
        ([0.3, 0.62, 0.08, 0], 0.9, "meningioma", 0.02),
        # A picture that the model does not know.
        ([0, 0, 1, 0], 0.2, "rejected", 0.05),
    ],
)
def test_a_margin_is_the_distance_of_what_decides_from_its_threshold(
    values: list[float], familiarity: float, decision: str, margin: float
) -> None:
    answers = {"probabilities": np.array(values), "familiarity": np.array([familiarity])}
    found = parity.judged(answers, DEFAULT_THRESHOLDS, Limits(least_familiarity=0.25))
    assert found[0] == decision
    assert found[1] == pytest.approx(margin)


@pytest.mark.parametrize("told", [True, False])
def test_familiarity_is_compared_where_the_model_says_it(told: bool) -> None:
    chunk = [PreparedSlice(Record(Path("x.png"), "glioma", split="val"), np.zeros((224, 224, 1), np.uint8))]
    limits = Limits(least_familiarity=0.5)
    judge: Any = SimpleNamespace(thresholds=DEFAULT_THRESHOLDS, least_familiarity=0.5, rejection=limits)
    bare = {"probabilities": np.array([[0, 0, 1, 0]], np.float32)}
    sure, unsure = ({**bare, "familiarity": np.array([[value]], np.float32)} for value in (0.75, 0.25))
    if told:
        (found,) = verify._compared(chunk, sure, unsure, judge, judge)
        assert (found.before, found.after, found.familiarity) == ("glioma", "rejected", 0.5)
        assert comparison(found).parity().familiarity == 0.5
        for answers, share in ((sure, 0.125), (unsure, 0.75)):
            answers["no_brain"] = np.array([[share]], np.float32)
        (other,) = verify._compared(chunk, sure, unsure, judge, judge)
        assert other.familiarity == 0.625
    else:
        # One that MediaPipe is not told rejects nothing.
        own = self_contained_answers.SelfContainedAnswers(bare, None, [""], [False], [False])
        (found,) = verify._compared(chunk, unsure, bare, judge, judge, own)
        assert (found.before, found.after, found.familiarity) == ("glioma", "glioma", None)
    assert found.heatmap is None


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
    contradiction = "decides glioma, Falx ambiguous"
    own = replace(made("glioma", "glioma", off=0.5), heatmap=None, contradiction=contradiction)
    silent = replace(made("rejected", "rejected", label="no_tumor"), silent=True, heatmap=None)
    found = comparison(own, silent)
    lines = verify.table(found).splitlines()
    none = "        -        -        -        -        -"
    assert lines[3] == f"no_tumor       1        0                   0{none}"
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
        "the file rejects 1 slice, without probabilities to compare",
        "",
        "the file decides otherwise than Falx on its probabilities for 1 slice:",
        f"glioma.png: {contradiction}",
    ]
    assert found.beyond(TOLERANCES["int8"])[-1] == (
        "x-int8.tflite: decides 1 of 2 slices otherwise than Falx on its own probabilities; the first: "
        f"glioma.png: {contradiction}"
    )
    message = r"x-int8\.tflite: rejects all of 1 slice, so that no probability can"
    with pytest.raises(DataError, match=message):
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
            assert (b.path, b.before, b.after) == (a.path, a.before, a.after)
            assert (b.contradiction, b.silent) == ("", False)
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


@pytest.mark.parametrize(("kind", "wrong"), [("onnx", 2), ("tflite", 4)])
def test_a_graph_that_decides_otherwise_than_its_card_fails(
    kind: str,
    wrong: int,
    for_others: dict[str, Path],
    run_folder: Path,
    heads: Path,
    tmp_path: Path,
    exporter: Command,
) -> None:
    # The graph keeps the thresholds of the run; the card says that anything is clear.
    loose = replace(DEFAULT_THRESHOLDS, no_tumor=1e-9)
    path = changed(for_others[kind], tmp_path / f"other.{kind}", lambda card: replace(card, thresholds=loose))
    every = [f"--tolerance={key}=1" for key in ("decisions", "largest", "mean", "heatmap", "familiarity")]
    given = ("--against", run_folder, "--data", heads, "--quiet", "--plot", tmp_path / "plot.png")
    said = exporter("verify", path, *given, *every)
    assert said.status == 1
    message = f"falx_export: other.{kind}: decides {wrong} of 4 slices otherwise than Falx on its own"
    assert message in said.err
    assert "Falx no_tumor" in said.err


def test_another_engine_for_a_self_contained_file_is_refused(
    for_others: dict[str, Path], run_folder: Path
) -> None:
    message = r"self-contained\.tflite: is self-contained, and only litert runs it here, not tflite"
    with pytest.raises(ModelError, match=message):
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


WIDE = [f"--tolerance={key}=0.5" for key in ("decisions", "largest", "heatmap", "familiarity")]
"""Random weights are on edge everywhere."""


@pytest.fixture
def verified(file: Path, run_folder: Path, exporter: Command) -> Command:
    """Compares the val split of the run with the file, or with another."""

    def run(*arguments: object, of: Path = file) -> Said:
        return exporter("verify", of, "--against", run_folder, "--split", "val", *arguments)

    return run


def test_the_command_prints_draws_and_passes(verified: Command, tmp_path: Path) -> None:
    plot, slices = tmp_path / "plot.png", tmp_path / "slices.csv"
    said = verified(*WIDE, "--plot", plot, "--csv", slices)
    assert said.status == 0
    assert said.out.startswith("small-float16.tflite on litert against Keras: 24 slices")
    assert said.out.endswith(f"\nplot: {plot}\nslices: {slices}\npassed\n")
    with Image.open(plot) as picture:
        assert picture.size == (1200, 576)
    rows = table_of(slices)
    assert len(rows) == 24
    assert sum(float(rows[0][f"keras_{label}"]) for label in LABELS) == pytest.approx(1, abs=1e-4)


def test_past_the_tolerance_is_status_1(
    verified: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = verified(*WIDE, "--quiet", "--tolerance", "mean=0")
    # The same model in the other format has a picture of its own.
    assert [path.name for path in tmp_path.iterdir()] == ["small-float16-tflite-parity.png"]
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("falx_export: small-float16.tflite: mean is ")
    assert said.err.endswith(", tolerance 0\n")


def test_what_cannot_be_used_is_status_2(verified: Command, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for said, message in (
        (verified(of=tmp_path / "none.tflite"), "none.tflite"),
        (verified("--data", gone), f"falx_export: {gone}: expected a manifest (CSV) or a folder of images,"),
        (verified("--tolerance", "worst=1"), "unknown measure 'worst'"),
        (verified("--plot", "plot.txt"), "--plot plot.txt: expected a name that ends in .png, .svg, .pdf"),
    ):
        said.refuses(message)
