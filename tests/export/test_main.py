"""The command line where it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from falx_export.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: RUN, --out"),
        (
            ["run", "--out", "x", "--data", "y", "--name", "../z"],
            "expected letters, digits, '.', '_' and '-'",
        ),
        (["run", "--out", "x", "--data", "y", "--samples", "0"], "expected a number from 1, got '0'"),
        (
            ["run", "--out", "x", "--data", "y", "--tolerance", "int4.mean=1"],
            "expected one of float32, float16, int8",
        ),
        (["run", "--out", "x", "--data", "y", "--tolerance", "int8.mean=2"], "must be in 0..1, got 2.0"),
        (
            ["run", "--out", "x", "--data", "y", "--tolerance", "int8.mean"],
            "could not convert string to float",
        ),
    ],
)
def test_wrong_usage_is_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_tells_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for word in (
        "NAME-int8.tflite",
        "parity.json",
        "--calibration N",
        "default: 100",
        "tumour to no_tumor",
        "cell of the heatmap",
    ):
        assert word in out


def test_a_run_that_is_none_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorflow")
    assert main([str(tmp_path / "no"), "--out", str(tmp_path / "out"), "--data", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == f"falx_export: {tmp_path / 'no'}: expected a run folder, found none there\n"
    )


def test_a_run_without_its_manifest_needs_data(
    altered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (altered / "data.csv").unlink()
    assert main([str(altered), "--out", str(tmp_path / "out")]) == 2
    assert (
        capsys.readouterr().err == f"falx_export: {altered}: has no data.csv, which says what the run was "
        "trained on; give images with --data\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_run_whose_images_are_gone_says_so(
    altered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = altered / "data.csv"
    first, *rows = path.read_text().splitlines()
    path.write_text("\n".join([first, *(f"gone/{row.rpartition('/')[2]}" for row in rows)]))
    arguments = [str(altered), "--out", str(tmp_path / "out"), "--samples", "12", "--quiet"]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert (
        "data.csv: expected at least 16 images for calibration (split train), got 0 and 24 that cannot"
        in message
    )
    assert str(altered / "gone") in message
    assert not (tmp_path / "out").exists()


def test_a_name_given_stands_in_for_the_runs_before_that_is_checked(
    altered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = altered / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "my run"}))
    assert main([str(altered), "--out", str(tmp_path / "out")]) == 2
    assert "name must be a name of letters, digits, '.', '_' and '-', got 'my run'" in capsys.readouterr().err
    # The next thing in the way: there are 24 images.
    assert main([str(altered), "--out", str(tmp_path / "out"), "--name", "mine", "--samples", "300"]) == 2
    assert "expected at least 300 images for parity" in capsys.readouterr().err


def test_counts_are_checked_before_tensorflow_is_loaded(altered: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from falx_export.__main__ import main\n"
        f"assert main([{str(altered)!r}, '--out', {str(tmp_path / 'out')!r}, '--samples', '300']) == 2\n"
        "assert not {'keras', 'tensorflow'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_keras_runs_on_tensorflow_whatever_it_trains_on() -> None:
    program = "import os, falx_export.__main__; print(os.environ['KERAS_BACKEND'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "tensorflow\n"
