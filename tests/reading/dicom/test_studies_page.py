"""The page on studies: its example is what comes, its rule is the code's, its figures were measured."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from benchmarks import studies
from tests import guides
from tests.reading.dicom.test_studies import volume
from tests.said import Command

from falx import finding, phantom, study
from falx.model import file as model_file
from falx.reading import series as reading
from falx.reading import tags
from falx.reading import volume as volumes

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")


def test_the_answer_is_as_shown(
    page: str, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear, lesion = (drawn[::-1, ::-1].T for drawn in (phantom.clear(), phantom.lesion()))
    head = np.stack([lesion if number in (5, 6, 7) else clear for number in range(13)], axis=2)
    volume(tmp_path / "head.nii.gz", head, np.diag([0.9, 0.9, 10.0, 1.0]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    told = guides.block("docs/studies.md", "sh", "Read an answer")
    shown = page.partition(f"$ {told}\n")[2].partition("```")[0]
    said = command(*shlex.split(told)[1:])
    # Times differ, and so do a model's probabilities in the last digit, with the processor.
    number = re.compile(r"\d+(?:\.\d+)?(?= ?(?:%|mm|ms))")
    assert number.sub("#", said.out).split() == number.sub("#", shown).split()


def test_the_rule_is_the_codes(page: str) -> None:
    for text in (
        f"| a finding of {study.TUMOR_MM:g} mm or more in two or more middle places, one decided a tumour |",
        f"| a finding of {study.CLEAR_MM:g} mm or more in the middle part, in however few places |",
        f"| a finding of {study.ENDS_MM:g} mm or more at the ends of the head |",
        f"lies {finding.TOP_MM:g} to {finding.BOTTOM_MM:g} mm below the top of the head",
        f"more than {finding.SIDE_MM:g} mm from either side",
        f"{finding.FACE_MM - finding.BOTTOM_MM:g} mm below it; face and neck weigh nothing",
        f"at least {study.LEAST_SLICES} slices were classified",
        f"span {finding.LEAST_EXTENT_MM:g} mm or more",
        f"more than {finding.GREATEST_GAP_MM:g} mm apart",
        f"Slices less than {finding.LEAST_DIFFERENCE_MM:g} mm apart",
        f"count as {finding.UNKNOWN_STEP_MM:g} mm apart",
        f"within {np.degrees(np.arccos(reading.PARALLEL)):.0f}°",
        f"(within {tags.ECHO_MS:g} ms or {100 * tags.ECHO_SHARE:g} %)",
    ):
        assert text in page, text
    inputs = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
    assert f"({volumes.COARSER:g} times the next or more)" in inputs


def test_the_figures_are_those_measured() -> None:
    page = (ROOT / "docs" / "studies-figures.md").read_text(encoding="utf-8")
    card, _ = model_file.read(model_file.DEFAULT_MODEL)
    files = re.findall(r"\(\.\./(benchmarks/results/studies-[^)]*)\)", page)
    assert files
    for file in files:
        document = json.loads((ROOT / file).read_text(encoding="utf-8"))
        assert f"{document['date']}, {document['cpu'].partition(' (')[0]}" in page
        if "models" not in document:
            # The page tells it in words: it has a form of its own.
            continue
        short, *details = studies.tables(document["rows"])
        assert short in page
        for detail in details:
            assert not detail.startswith(f"{card.name}-") or detail in page
