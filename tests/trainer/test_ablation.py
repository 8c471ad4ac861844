from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import ablation
from tools.card import between

from falx.decision import Thresholds
from falx_runs.manifest import Record
from falx_trainer.data.tensors import Tensors
from falx_trainer.training.recipe import PRESETS

SMALL = ["batch=4", "dense=8", "stage1.epochs=1", "stage2.layers=12"]


def test_rows_change_what_they_say() -> None:
    for name, (text, changes) in ablation.ROWS.items():
        short = PRESETS["default"].override(ablation.SHORT)
        changed = short.override(changes).changes(short)
        # A row that changes nothing would show that nothing matters.
        assert set(changed) == set(changes), name
        assert text


def test_saved_rows_are_tables_of_a_page() -> None:
    part = dict.fromkeys(ablation.MEASURES, 0.123) | {"missed": None}
    rows = [
        {"name": name, "without": without, "val": part, "left_out": part}
        for name, without in (("default", "br35h"), ("no place", "br35h"), ("default", "tcga_lgg"))
    ]
    cells = "12.3 | 12.3 | – | 12.3 | 12.3 | 12.3 | 12.3 | – | 12.3 | 12.3 |"
    by_row = ablation.markdown(rows, by="row").splitlines()
    assert by_row[2:] == [
        f"| default: the default recipe | {cells}",
        f"| no place: the map is held to the boxes cell by cell only | {cells}",
    ]
    assert ablation.markdown(rows, by="without").splitlines()[2:] == [
        f"| br35h | {cells}",
        f"| tcga_lgg | {cells}",
    ]


def test_the_page_shows_the_saved_rows() -> None:
    checkout = Path(__file__).parents[2]
    saved = json.loads((checkout / "benchmarks" / "results" / "ablation.json").read_text())["rows"]
    page = (checkout / "docs" / "recipe.md").read_text(encoding="utf-8")
    for mark, by in (("rows", "row"), ("without", "without")):
        (shown,) = between(mark).findall(page)
        assert shown == ablation.markdown(saved, by=by)
        assert shown.count("\n") >= 5


def test_measures_are_shares_of_what_they_name() -> None:
    labels = ["no_tumor", "no_tumor", "glioma", "glioma", "tumor_untyped"]
    box = np.array([[0, 0, 40, 40]], np.float32)
    none = np.zeros((0, 4), np.float32)
    data = Tensors(
        [Record(Path(f"{i}.png"), label) for i, label in enumerate(labels)],
        np.zeros((5, 224, 224), np.uint8),
        [none, none, box, box, none],
        np.full((5, 2), 224),
        (),
        "",
    )
    probabilities = np.array(
        [[0.9, 0.1, 0, 0], [0.4, 0.6, 0, 0], [0.1, 0, 0.9, 0], [0.2, 0.7, 0.1, 0], [0.95, 0, 0, 0.05]]
    )
    evidence = np.zeros((5, 14, 14), np.float32)
    evidence[2, 1, 1] = evidence[3, 8, 8] = 1  # inside the box, and elsewhere
    thresholds = Thresholds.from_mapping(
        {"no_tumor": 0.8, "meningioma": 0.5, "glioma": 0.5, "pituitary": 0.5}
    )
    assert ablation.measures(data, probabilities, evidence, thresholds) == {
        "accuracy": 0.5,  # two of the four typed
        "auc": 0.6667,  # of 6 pairs, the untyped tumour is behind both healthy slices
        "missed": 0.3333,
        "cleared": 0.5,
        "peak_in_box": 0.5,
    }


def test_a_row_is_trained_once_and_shown_again(
    manifest: Path, random_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [part for setting in SMALL for part in ("--set", setting)]
    arguments = ["--data", str(manifest), "--weights", str(random_weights), "--out", str(tmp_path)]
    arguments += ["--rows", "default", "--without", "b", "--epochs", "1", *settings]
    ablation.main(arguments)
    first = capsys.readouterr().out
    path = tmp_path / "without-b" / "1-epochs" / "default" / "row.json"
    row = json.loads(path.read_text())
    assert row["without"] == "b"
    assert row["val"].keys() == row["left_out"].keys() == set(ablation.MEASURES)
    # 14 of the 28 drawn slices, none of them of `test`, are of b; none was learned from or chosen on.
    assert len(np.load(path.with_name("left_out-logits.npy"))) == 14
    assert len(np.load(path.with_name("val-logits.npy"))) == 4
    written = path.stat().st_mtime_ns
    ablation.main([*arguments, "--save", str(tmp_path / "saved.json")])
    assert path.stat().st_mtime_ns == written
    (saved,) = json.loads((tmp_path / "saved.json").read_text())["rows"]
    assert saved == {"name": "default", **row}
    shown = ablation.markdown([saved], by="row")
    assert shown in first
    assert shown in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"row\.json: of another recipe; give another --out"):
        ablation.main([*arguments, "--set", "seed=8"])
