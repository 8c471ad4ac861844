"""Results go between their marks, as measured, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.said import Command, runner
from tools import card

from falx.words import DECISIONS

PART: dict[str, Any] = {
    "slices": 1200,
    "accuracy": [0.9, 0.85, 0.95, 1200],
    "decided": None,
    "right_of_decided": None,
    "missed": [0.0, 0.0, 0.3, 10],
    "cleared": None,
    "rejected": [0.001, 0.0, 0.002, 1200],
    "peak_in_box": None,
}
METRICS: dict[str, Any] = {
    "model": {"name": "other", "file": "other-int8.tflite"},
    "measured": {"on": "2026-11-24", "processor": "Some CPU"},
    "split": "val",
    "all": PART,
    "by_source": {"figshare": {**PART, "accuracy": [0.5, 0.25, 0.75, 4], "slices": 4}},
    "pictures": {
        "all": {"pictures": 9, "rejected": [0.8889, 0.6, 1.0, 9], "decisions": dict.fromkeys(DECISIONS, 1)},
        "by_family": {},
    },
}
PAGE = "before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n"


def test_the_card_has_a_table_for_each_breakdown_that_was_measured(tmp_path: Path) -> None:
    (tmp_path / "calibration.png").touch()
    text = card.card_block(METRICS, tmp_path)
    assert text.startswith(
        "other-int8.tflite, on the `val` split: 1,200 slices of 1 collections, through the runtime, on "
        "2026-11-24 (Some CPU). In brackets, 95 % intervals"
    )
    titles = [line[4:] for line in text.splitlines() if line.startswith("### ")]
    assert titles == ["Targets", "All", "By collection", "Pictures that are not brain MRI"]
    assert "| figshare | 4 | 50.0 % [25.0 %, 75.0 %] | 0.0 % [0.0 %, 30.0 %] | 0.1 % [0.0 %, 0.2 %] |" in text
    # No column for what no slice can tell.
    assert "| | slices | accuracy | missed | rejected |\n|---|---|---|---|---|\n" in text
    shown = "1 no_tumor, 1 meningioma, 1 glioma, 1 pituitary, 1 ambiguous"
    assert f"| all | 9 | 88.9 % [60.0 %, 100.0 %] | {shown} |" in text
    assert [line for line in text.splitlines() if line.startswith("![")] == [
        "![How often a confidence is right](calibration.png)"
    ]


def test_the_readme_has_a_line_for_each_measure() -> None:
    lines = card.readme_block(METRICS).splitlines()
    assert lines[4:] == [
        "| **tumours decided `no_tumor`** | 0.0 % | 0.0 % to 30.0 % | 10 |",
        "| pictures that are not brain MRI: `rejected` | 88.9 % | 60.0 % to 100.0 % | 9 |",
    ]


@pytest.fixture
def cards(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `python -m tools.card` in this process."""
    return runner(card.main, capsys)


def test_only_what_is_between_the_marks_is_filled(tmp_path: Path, cards: Command) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    page, readme = tmp_path / "MODEL_CARD.md", tmp_path / "README.md"
    page.write_text(PAGE)
    readme.write_text(PAGE)
    check = (tmp_path, "--readme", readme, "--check")
    assert cards(*check)[:2] == (1, f"{page}: not as it would be\n")
    assert page.read_text() == PAGE
    assert cards(*check[:-1]).status == 0
    block = f"<!-- results -->\n{card.card_block(METRICS, tmp_path)}<!-- end of results -->\n"
    assert page.read_text() == f"before\n{block}after\n"
    assert readme.read_text() == PAGE, "it is not the model in the wheel"
    assert cards(*check).status == 0


@pytest.mark.parametrize("page", ["no marks\n", PAGE + PAGE])
def test_a_page_without_one_pair_of_marks_is_left_alone(page: str, tmp_path: Path, cards: Command) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    (tmp_path / "MODEL_CARD.md").write_text(page)
    cards(tmp_path).refuses("MODEL_CARD.md: expected one pair of lines <!-- results --> and")
    assert (tmp_path / "MODEL_CARD.md").read_text() == page


@pytest.mark.parametrize(
    ("metrics", "lack"),
    [
        ({**METRICS, "all": {"slices": 1200, "accuracy": None}}, "lacks 'decided'"),
        ({"model": {}}, "lacks 'file'"),
        ([], "holds something else: "),
    ],
)
def test_an_old_metrics_file_is_named_with_what_to_run(
    metrics: Any, lack: str, tmp_path: Path, cards: Command
) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "MODEL_CARD.md").write_text(PAGE)
    said = cards(tmp_path)
    assert said.status == 2
    expected = f"{tmp_path}/metrics.json: expected what `python -m tools.targets` writes, {lack}"
    assert said.err.startswith(f"tools.card: {expected}")
    again = f"python -m tools.targets {tmp_path}/FILE --data DATA --split test --out {tmp_path}"
    assert said.err.endswith(f"; measure again with `{again}`\n")
    assert (tmp_path / "MODEL_CARD.md").read_text() == PAGE
