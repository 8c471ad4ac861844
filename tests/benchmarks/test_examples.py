"""The comparison of the examples: which slices it takes, and what it counts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import examples
from PIL import Image

from falx.words import LABELS


def prediction(decision: str, probabilities: list[float] | None) -> Any:
    known = None if probabilities is None else dict(zip(LABELS, probabilities, strict=True))
    return type("Known", (), {"decision": decision, "probabilities": known})


def test_slices_are_of_all_sources_and_labels_in_turn(tmp_path: Path) -> None:
    rows = [("a", "x", "val"), ("b", "x", "val"), ("c", "x", "train"), ("d", "y", "val"), ("e", "x", "val")]
    lines = [f"{name}.png,glioma,{source},{split}" for name, source, split in rows]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label,source,split", *lines]) + "\n")
    assert [path.stem for path in examples.chosen(tmp_path, 9)] == ["a", "d", "b", "e"]
    assert examples.chosen(tmp_path, 2) == [tmp_path / "a.png", tmp_path / "d.png"]


def test_png_files_hold_the_same_pixels(tmp_path: Path) -> None:
    picture = tmp_path / "slice.bmp"
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(picture)
    (path,) = examples.as_png([picture], tmp_path)
    with Image.open(path) as image, Image.open(picture) as original:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), np.asarray(original))


def test_what_is_counted() -> None:
    expected = [
        prediction("glioma", [0.1, 0.1, 0.7, 0.1]),
        prediction("ambiguous", [0.3, 0.3, 0.3, 0.1]),
        prediction("rejected", None),
    ]
    answers = [
        {"decision": "glioma", "probabilities": [0.1, 0.1, 0.68, 0.12]},
        {"decision": "no_tumor", "probabilities": [0.34, 0.3, 0.26, 0.1]},
        {"decision": "rejected", "probabilities": [0, 0, 0, 0]},
    ]
    row = examples.summary("Node", "a.onnx", expected, answers)
    assert (row.program, row.file, row.slices, row.decisions) == ("Node", "a.onnx", 3, 1)
    assert [row.largest, row.mean] == pytest.approx([0.04, 0.03])


def test_a_program_is_asked_on_its_command_line(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import json, sys\nfor path in sys.argv[2:]: print(json.dumps({'path': path}))\n")
    ask = examples._command(sys.executable, program)
    assert ask(Path("m.onnx"), [Path("a.png"), Path("b.png")]) == [{"path": "a.png"}, {"path": "b.png"}]


def test_a_folder_without_self_contained_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"examples: .*: has no NAME-self-contained\.onnx"):
        examples.main([str(tmp_path), "--data", str(tmp_path)])
