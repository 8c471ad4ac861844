"""The example on Dask answers every slice of a list once, also where it was killed on the way."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from tests.waiting import PATIENCE_S, until

import falx
from falx import phantom

EXAMPLE = Path(__file__).parents[2] / "examples" / "archive" / "classify.py"
PART = 5

pytest.importorskip("distributed", reason="the example runs on Dask: pip install --group archive")


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A list of drawings and of a file that is none, over and over."""
    pictures = [tmp_path / f"{name}.png" for name in phantom.PHANTOMS]
    for path, draw in zip(pictures, phantom.PHANTOMS.values(), strict=True):
        Image.fromarray(draw()).save(path)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{each}\n" for each in [*pictures, broken] * 100), encoding="utf-8")
    return path


@pytest.fixture
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("classify_archive", EXAMPLE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _lines(out: Path) -> list[dict[str, object]]:
    parts = sorted(out.glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_a_killed_run_is_gone_on_with_and_every_slice_is_answered_once(tmp_path: Path, listed: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, str(EXAMPLE), str(listed), str(out), "--workers", "1", "--part", str(PART)]
    killed = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    until(lambda: list(out.glob("part-*.jsonl")))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*.jsonl")}
    paths = listed.read_text(encoding="utf-8").splitlines()
    assert 0 < len(before) < len(paths) / PART

    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1, done.stderr
    assert f"{len(before)} parts are there already" in done.stderr
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*.jsonl")}
    assert len(after) == len(paths) / PART
    assert {name: after[name] for name in before} == before
    assert list(out.glob("*.unfinished")) == []
    expected = [result.to_dict() for result in falx.load().predict_many(paths[:3])]
    for number, line in enumerate(_lines(out)):
        known = expected[number % 3]
        assert line["path"] == paths[number]
        assert [line.get(key) for key in ("decision", "probabilities", "error")] == [
            known.get(key) for key in ("decision", "probabilities", "error")
        ]
    assert "error: 100" in done.stdout


def test_a_folder_that_was_begun_otherwise_is_refused(
    tmp_path: Path, listed: Path, example: ModuleType
) -> None:
    out = tmp_path / "out"
    parts, there = example.prepare(listed, out, 120, "a")
    assert [(name, len(paths)) for name, paths in parts] == [
        ("part-0000000.jsonl", 120),
        ("part-0000001.jsonl", 120),
        ("part-0000002.jsonl", 60),
    ]
    assert there == 0
    with pytest.raises(SystemExit, match="begun with another part and model; give another folder"):
        example.prepare(listed, out, 100, "b")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match="holds something else; give a new or empty folder"):
        example.prepare(listed, tmp_path / "other", 120, "a")
