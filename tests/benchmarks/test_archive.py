"""The archive's benchmark compares the same slices."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from benchmarks import archive, figures
from PIL import Image

from falx import phantom

# What stands in for the example: it answers with the slices that it is told to, and names others.
STAND_IN = """
import json, pathlib, sys
import falx
paths = pathlib.Path(sys.argv[1]).read_text().split()
out = pathlib.Path(sys.argv[2])
out.mkdir()
answers = [result.to_dict() for result in falx.load().predict_many([paths[i] for i in {answered}])]
named = [{{**answer, "path": paths[i]}} for answer, i in zip(answers, {named})]
(out / "part-0.jsonl").write_text("".join(json.dumps(answer) + "\\n" for answer in named))
"""


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


@pytest.mark.skipif(find_spec("distributed") is None, reason="needs Dask: pip install --group archive")
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


@pytest.mark.parametrize(
    ("answered", "named", "said"),
    [
        ([2, 1, 0], [0, 1, 2], None),
        ([0, 1], [0, 1], "the archive has 2 answers for 3 slices"),
        ([2, 1, 0], [2, 1, 0], "the archive's answers are not in the order of the slices"),
    ],
)
def test_another_answer_or_another_order_is_told(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answered: list[int],
    named: list[int],
    said: str | None,
) -> None:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN.format(answered=answered, named=named))
    monkeypatch.setattr(archive, "EXAMPLE", script)
    arguments = ["--data", str(data), "--slices", "3", "--first", "3", "--workers", "1"]
    if said is None:
        assert archive.main(arguments) == 1
        assert capsys.readouterr().out.endswith(" | 2 |\n")
    else:
        with pytest.raises(SystemExit, match=said):
            archive.main(arguments)
