"""The command line where it refuses."""

from __future__ import annotations

import json
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
    for word in ("NAME-int8.tflite", "parity.json", "--calibration N", "default: 100", "tumour to no_tumor"):
        assert word in out


def test_a_run_that_is_none_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorflow")
    assert main([str(tmp_path / "no"), "--out", str(tmp_path / "out"), "--data", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == f"falx_export: {tmp_path / 'no'}: expected a run folder, found none there\n"
    )


@pytest.mark.parametrize(
    ("data_path", "message"),
    [
        (None, "does not say what it was trained on; give images with --data"),
        ("nowhere", "nowhere: no such manifest or folder of images; give one with --data"),
    ],
)
def test_a_run_whose_images_are_not_known_or_gone_needs_data(
    altered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data_path: str | None, message: str
) -> None:
    meta = json.loads((altered / "meta.json").read_text())
    del meta["data_path"]
    (altered / "meta.json").write_text(json.dumps(meta | ({"data_path": data_path} if data_path else {})))
    assert main([str(altered), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
