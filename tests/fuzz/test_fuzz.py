from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fuzz import __main__ as command
from tests.fuzz import flips, worker
from tests.fuzz.targets import TARGETS

from falx.model.file import DEFAULT_MODEL

ROOT = Path(__file__).parents[2]


def run(state: Path, inputs: int) -> subprocess.CompletedProcess[str]:
    arguments = ["--inputs", str(inputs), "--state", str(state), "--out", str(state / "report.json")]
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.fuzz", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, 600)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["findings"] == {}, done.stderr
    assert done.returncode == 0
    assert {name: target["inputs"] for name, target in report["targets"].items()} == {
        "picture": 420,
        "file of several": 60,
        "card": 60,
        "model": 60,
    }
    assert {"UnreadableImage", "prediction"} <= set(report["targets"]["picture"]["outcomes"])
    assert {"CardError", "ChecksumError"} <= set(report["targets"]["model"]["outcomes"])


def test_what_goes_wrong_is_found_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(data: bytes, seed: str, folder: Path) -> str:
        raise KeyError(seed)

    broken = replace(TARGETS["card"], attempt=fails)
    monkeypatch.setitem(TARGETS, "card", broken)
    batch = {"target": "card", "seed": "tiny", "count": 5, "random": 3}
    result = worker.tried(batch, tmp_path)
    assert (result["tried"], result["outcomes"]) == (5, {"undocumented": 5})
    ((finding, (times, kept)),) = result["findings"].items()
    assert finding.startswith("card, tiny: KeyError at test_fuzz.py:")
    assert times == 5
    assert (tmp_path / kept).read_bytes()
    monkeypatch.setattr(worker, "LIMIT_S", 0.0)
    monkeypatch.setitem(TARGETS, "card", replace(broken, attempt=lambda *_: "fine"))
    assert "card, tiny: more than 0 s" in worker.tried(batch, tmp_path)["findings"]


def test_a_run_is_gone_on_with(tmp_path: Path) -> None:
    batches = list(command.batches(600, 1))
    done = [
        {"batch": b, "tried": b["count"], "outcomes": {}, "slowest_s": 0, "peak_mb": 0, "findings": {}}
        for b in batches
    ]
    (tmp_path / command.DONE).write_text("".join(json.dumps(result) + "\n" for result in done))
    report = tmp_path / "report.json"
    assert command.main(["--inputs", "600", "--state", str(tmp_path), "--out", str(report)]) == 0
    assert json.loads(report.read_text())["inputs"] == 600


@pytest.mark.skipif(not DEFAULT_MODEL.exists(), reason="this checkout has no default model yet")
def test_flipped_bits_of_the_default_model_are_refused() -> None:
    result = flips.flipped(DEFAULT_MODEL, 60, seed=2)
    assert (set(result["refused"]), result["accepted"]) == ({"CardError", "ChecksumError"}, 0)
