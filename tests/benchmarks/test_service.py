from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed (pip install 'falx[serve]')")

from benchmarks import service


def test_every_way_answers_every_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "service.json"
    assert service.main(["--requests", "8", "--turns", "1", "--clients", "2", "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    assert (document["requests"], document["clients"]) == (8, 2)
    rows = {row["name"]: row for row in document["rows"]}
    assert list(rows) == ["the bare loop", "falx serve, processes: 1", "falx serve, processes: 2"]
    assert rows["the bare loop"]["times_bare"] == 1.0
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in rows.values())
    assert "requests a second" in capsys.readouterr().out
