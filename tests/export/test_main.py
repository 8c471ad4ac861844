"""The command line where it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.said import Command, python


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "../z"], "expected letters, digits, '.', '_' and '-'"),
        (["--samples", "0"], "expected a whole number from 1, got '0'"),
        (["--tolerance", "int4.mean=1"], "expected one of float32, float16, int8"),
        (["--tolerance", "int8.mean=2"], "must be in 0..1, got 2.0"),
        (["--tolerance", "int8.mean"], "could not convert string to float"),
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], message: str, exporter: Command) -> None:
    exporter("run", "--out", "x", "--data", "y", *arguments).refuses(message)


def test_help_tells_what_is_written(exporter: Command) -> None:
    assert "the following arguments are required: RUN, --out" in exporter().err
    said = exporter("--help")
    words = ("NAME-int8.tflite", "parity.json", "--calibration N", "default: 100", "tumour to no_tumor")
    assert [word for word in (*words, "cell of the heatmap") if word not in said.out] == []
    assert said.status == 0


def test_a_run_that_is_none_is_status_2(tmp_path: Path, exporter: Command) -> None:
    run = tmp_path / "no"
    said = exporter(run, "--out", tmp_path / "out", "--data", tmp_path)
    assert said == (2, "", f"falx_export: {run}: expected a run folder, found none there\n")


def test_a_run_without_its_manifest_needs_data(altered: Path, tmp_path: Path, exporter: Command) -> None:
    (altered / "data.csv").unlink()
    said = exporter(altered, "--out", tmp_path / "out")
    assert said.status == 2
    assert said.err == (
        f"falx_export: {altered}: has no data.csv, which says what the run was trained on; "
        "give images with --data\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_run_whose_images_are_gone_says_so(altered: Path, tmp_path: Path, exporter: Command) -> None:
    path = altered / "data.csv"
    first, *rows = path.read_text().splitlines()
    path.write_text("\n".join([first, *(f"gone/{row.rpartition('/')[2]}" for row in rows)]))
    said = exporter(altered, "--out", tmp_path / "out", "--samples", "12", "--quiet")
    needed = "expected at least 16 images for calibration (split train), got 0 and 24 that cannot"
    said.refuses(f"data.csv: {needed}", str(altered / "gone"))
    assert not (tmp_path / "out").exists()


def test_a_name_given_stands_in_for_the_runs_before_that_is_checked(
    altered: Path, tmp_path: Path, exporter: Command
) -> None:
    path = altered / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "my run"}))
    said = exporter(altered, "--out", tmp_path / "out")
    said.refuses("name must be a name of letters, digits, '.', '_' and '-', got 'my run'")
    # The next thing in the way: there are 24 images.
    said = exporter(altered, "--out", tmp_path / "out", "--name", "mine", "--samples", "300")
    said.refuses("expected at least 300 images for parity")


def test_counts_are_checked_before_tensorflow_is_loaded(altered: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from falx_export.__main__ import main\n"
        f"assert main([{str(altered)!r}, '--out', {str(tmp_path / 'out')!r}, '--samples', '300']) == 2\n"
        "assert not {'keras', 'tensorflow'} & {*sys.modules}"
    )
    assert python("-c", code).status == 0


def test_keras_runs_on_tensorflow_whatever_it_trains_on() -> None:
    program = "import os, falx_export.__main__; print(os.environ['KERAS_BACKEND'])"
    assert python("-c", program, KERAS_BACKEND="jax")[:2] == (0, "tensorflow\n")
