"""The README's table of speed says what was measured, in the right columns."""

from __future__ import annotations

from pathlib import Path

from tools import speed

LATENCY = {
    "rows": [
        {"name": "Falx", "threads": 1, "ratio": 1.0, "p50_ms": 15.15},
        {"name": "Falx", "threads": 2, "ratio": 1.0, "p50_ms": 99.0},
        {"name": "Keras `predict`", "threads": 1, "ratio": 7.352, "p50_ms": 121.38},
        {"name": "MediaPipe ImageClassifier", "threads": 1, "ratio": 0.992, "p50_ms": 15.0},
    ]
}
STARTUP = {
    "rows": [
        {"name": "falx predict", "p50_ms": 314.9, "peak_mib": 61.1, "disk_mb": 163.7},
        {"name": "Keras `predict`", "p50_ms": 9940.0, "peak_mib": 791.7, "disk_mb": 2161.7},
    ]
}
TABLE = """\
| | a slice, times Falx | median | start | memory | installed |
|---|---|---|---|---|---|
| Falx | 1.0 | 15.2 ms | 0.31 s | 61 MiB | 164 MB |
| Keras `predict` | 7.4 | 121 ms | 9.9 s | 792 MiB | 2,162 MB |
"""


def test_a_row_a_contender_that_both_measured() -> None:
    assert speed.table(LATENCY, STARTUP) == TABLE


def test_nothing_but_the_block_is_filled(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- speed -->\nold\n<!-- end of speed -->\nb\n")
    assert speed.main(["--page", str(readme)]) == 0
    block = speed.table(speed.newest("latency"), speed.newest("startup"))
    assert readme.read_text() == f"a\n<!-- speed -->\n{block}<!-- end of speed -->\nb\n"
