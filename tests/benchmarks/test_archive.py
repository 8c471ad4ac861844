"""The archive's benchmark compares the same slices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks import archive, figures
from PIL import Image

import falx
from falx import phantom

pytest.importorskip("distributed", reason="needs Dask: pip install --group archive")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, draw in (("lesion", phantom.lesion), ("head", phantom.clear)):
        Image.fromarray(draw()).save(tmp_path / f"{name}.png")
    (tmp_path / "note.png").write_text("no picture")
    (tmp_path / "manifest.csv").write_text(
        "path,label\nlesion.png,glioma\nnote.png,glioma\nhead.png,glioma\n"
    )
    return tmp_path


def test_the_manifest_is_repeated(data: Path) -> None:
    names = [Path(path).name for path in archive.listed(data, 5)]
    assert names == ["head.png", "lesion.png", "note.png", "head.png", "lesion.png"]


def test_both_answer_the_same_and_the_difference_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "archive.json"
    arguments = ["--data", str(data), "--slices", "7", "--first", "4", "--workers", "2", "--part", "3"]
    assert archive.main([*arguments, "--out", str(out)]) == 0
    (found,) = json.loads(out.read_text())["rows"]
    assert (found["slices"], found["first"], found["workers"], found["differing"]) == (7, 4, 2, 0)
    each = found["archive_ms_a_slice"]
    assert each == pytest.approx(1000 * found["archive_s"] / 7, rel=0.05)
    assert found["overhead_ms_a_slice"] == pytest.approx(each - found["predict_many_ms_a_slice"], abs=0.01)
    assert figures.table([found]) in capsys.readouterr().out


def test_another_answer_or_another_order_is_told(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(data), "--slices", "3", "--first", "3", "--workers", "1"]
    paths = archive.listed(data, 3)
    _, answers = archive._many(falx.load(), paths, 1)
    swapped = [{**answers[2], "path": paths[0]}, answers[1], {**answers[0], "path": paths[2]}]
    monkeypatch.setattr(archive, "_archive", lambda *_: (1.0, swapped))
    assert archive.main(arguments) == 1
    assert capsys.readouterr().out.endswith(" | 2 |\n")
    monkeypatch.setattr(archive, "_archive", lambda *_: (1.0, answers[:2]))
    with pytest.raises(SystemExit, match=r"the archive has 2 answers for 3 slices"):
        archive.main(arguments)
    monkeypatch.setattr(archive, "_archive", lambda *_: (1.0, answers[::-1]))
    with pytest.raises(SystemExit, match="the archive's answers are not in the order of the slices"):
        archive.main(arguments)
