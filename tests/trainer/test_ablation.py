from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks import ablation
from tools.card import between

from falx_trainer.training.recipe import PRESETS

SMALL = ["batch=4", "dense=8", "stage1.epochs=1", "stage2.layers=12"]


def test_rows_change_what_they_say() -> None:
    for name, (text, changes) in ablation.ROWS.items():
        short = PRESETS["default"].override(ablation.SHORT)
        changed = short.override(changes).changes(short)
        # A row that changes nothing would show that nothing matters.
        assert set(changed) == set(changes), name
        assert changes or name in ("default", ablation.CUTS)
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


@pytest.mark.slow
def test_a_row_is_trained_once_and_shown_again(
    manifest: Path, random_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [part for setting in SMALL for part in ("--set", setting)]
    arguments = ["--data", str(manifest), "--weights", str(random_weights), "--out", str(tmp_path)]
    arguments += ["--rows", "default", "--without", "b", "--epochs", "1", *settings]
    ablation.main(arguments)
    first = capsys.readouterr().out
    run = tmp_path / "without-b" / "1-epochs" / "default"
    written = (run / "model.keras").stat().st_mtime_ns
    ablation.main([*arguments, "--save", str(tmp_path / "saved.json")])
    assert (run / "model.keras").stat().st_mtime_ns == written
    (saved,) = json.loads((tmp_path / "saved.json").read_text())["rows"]
    assert (saved["name"], saved["without"]) == ("default", "b")
    assert saved["val"].keys() == saved["left_out"].keys() == set(ablation.MEASURES)
    assert saved["left_out"]["missed"] <= 0.01
    shown = ablation.markdown([saved], by="row")
    assert shown in first
    assert shown in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"default: of another recipe; give another --out"):
        ablation.main([*arguments, "--set", "seed=8"])
