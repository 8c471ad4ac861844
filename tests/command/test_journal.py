from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.said import Command

import falx
from falx import phantom
from falx.command.journal import Journal, ResumeError

COUNT = 150
"""Slices of a batch long enough to be killed three times."""

FEW = 30


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return filled(tmp_path, COUNT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled(tmp_path, FEW)


def filled(tmp_path: Path, count: int) -> Path:
    made = tmp_path / "slices"
    made.mkdir()
    Image.fromarray(phantom.lesion()).save(made / "0.png")
    for number in range(1, count - 2):
        os.link(made / "0.png", made / f"{number}.png")
    (made / "broken.png").write_bytes(b"no picture")
    # What a file is that vanished after its folder was read.
    (made / "gone.png").symlink_to(made / "nowhere")
    return made


def answers(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def each_once(path: Path, folder: Path) -> bool:
    return Counter(a["path"] for a in answers(path)) == Counter(str(p) for p in folder.iterdir())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_batch_that_is_killed_again_and_again_answers_each_file_once(
    model: Path, many: Path, tmp_path: Path, workers: str
) -> None:
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "falx", "predict", str(many), "--model", str(model)]
    command += ["--resume", str(out), "--workers", workers]
    chance = random.Random(5)  # noqa: S311 - when to kill
    kills = 0
    while True:
        size = out.stat().st_size if out.exists() else 0
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if kills < 3:
            while process.poll() is None and (not out.exists() or out.stat().st_size == size):
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
        printed, said = process.communicate(timeout=120)
        assert said == b""
        if process.returncode >= 0:
            break
        kills += 1
        # The last line may be there in part: a kill can stop a write between two pages of memory.
        *whole, _ = out.read_bytes().split(b"\n")
        assert [json.loads(line)["schema"] for line in whole] == [1] * len(whole)
        assert len(whole) <= COUNT
    # A kill may come when the last answer is already written.
    assert kills >= 2
    assert process.returncode == 1
    assert b"2 of all its answers say that an input could not be read" in printed.replace(b"\n", b" ")
    assert len(answers(out)) == COUNT == len(list(many.iterdir()))
    assert each_once(out, many)


def test_half_a_line_is_taken_away_and_answered_again(predict: Command, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert predict(folder, "--resume", out).status == 1
    whole = out.read_bytes()
    for kept in (whole[:-1], whole[:-200], whole[:1], whole[: len(whole) // 2] + bytes(64)):
        out.write_bytes(kept)
        assert predict(folder, "--resume", out).status == 1
        assert each_once(out, folder)
    before = out.read_bytes()
    said = predict(folder, "--resume", out)
    assert (said.status, out.read_bytes()) == (1, before)
    assert f"{FEW} answered before, 0 now" in said.out.replace("\n", " ")


def test_a_path_given_twice_is_answered_twice(predict: Command, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for given in ([scan], [scan, scan], [scan, scan]):
        assert predict(*given, "--resume", out).status == 0
    assert [answer["path"] for answer in answers(out)] == [str(scan)] * 2


def test_answers_of_another_model_are_not_mixed(
    any_engine: str, model_of: Callable[..., Path], scan: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "out.jsonl"
    assert command("predict", scan, "--model", model_of(any_engine), "--resume", out).status == 0
    before = out.read_bytes()
    other = falx.load(model_of(any_engine, version="2"))
    with pytest.raises(ResumeError, match=r"out\.jsonl, line 1: is an answer of another model file, tiny"):
        Journal(out, other.model)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"words\n", b"[1]\n", b'{"schema": 1}\n', b'{"schema": 9, "path": "a", "error": {}}\n']
)
def test_what_is_no_file_of_answers_is_left_alone(model: Path, tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(content)
    with pytest.raises(ResumeError, match=r"line 1: is not an answer of"):
        Journal(out, falx.load(model).model)
    assert out.read_bytes() == content


def test_one_process_at_a_time(
    model: Path, folder: Path, tmp_path: Path, falx_process: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    out = tmp_path / "out.jsonl"
    with closing(Journal(out, falx.load(model).model)):
        done = falx_process("predict", folder, "--model", model, "--resume", out)
    assert done.returncode == 2
    assert done.stderr == (
        f"falx: error: {out}: another process writes its answers here; wait for it, or give another file\n"
    )


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
from falx.command.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_leaves_whole_lines_to_go_on_from(
    predict: Command, model: Path, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("resource", reason="this system cannot limit the size of files")
    out = tmp_path / "out.jsonl"
    limited = [sys.executable, "-c", LIMITED, "predict", folder, "--model", model, "--resume", out]
    done = subprocess.run([*map(str, limited)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"falx: error: {out}: cannot write the next answer: File too large; make room and run the same "
        "command again: it goes on from here\n"
    )
    assert 0 < len(answers(out)) < FEW
    assert predict(folder, "--resume", out).status == 1
    assert each_once(out, folder)


def test_where_nothing_can_be_written(predict: Command, tmp_path: Path) -> None:
    message = f"falx: error: {tmp_path}: cannot write answers here: Is a directory\n"
    assert predict("x.png", "--resume", tmp_path) == (2, "", message)
    message = "--resume writes the answers to its file; leave --json and --heatmaps out"
    predict("x.png", "--resume", "out.jsonl", "--json").refuses(message)
