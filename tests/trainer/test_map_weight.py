"""What the map adds is measured again from answers that rows of the ablation keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import map_weight
from benchmarks.card import between
from benchmarks.map_weight import Outputs, measure

from falx_runs.manifest import Record
from falx_trainer.training.recipe import PRESETS

COUNT = 40


def records(source: str, split: str) -> list[Record]:
    """As many healthy slices as gliomas."""
    labels = ["no_tumor"] * COUNT + ["glioma"] * COUNT
    return [
        Record(Path(f"{source}-{split}-{i}.png"), label, source=source, split=split)
        for i, label in enumerate(labels)
    ]


def outputs(head: list[float], strongest: list[float]) -> Outputs:
    """Of healthy slices and of gliomas, by turns over their count: what the head says and what the map says.

    Args:
        head: log-odds of a tumour, of healthy slices and of gliomas.
        strongest: evidence everywhere, of the same.
    """
    spread = np.linspace(-0.5, 0.5, COUNT)
    first, second = (np.concatenate([mean + spread for mean in means]) for means in (head, strongest))
    logits = np.stack([-first, np.full(2 * COUNT, -9.0), np.zeros(2 * COUNT), np.full(2 * COUNT, -9.0)], 1)
    return {"logits": logits, "evidence": np.broadcast_to(second[:, None, None], (2 * COUNT, 14, 14))}


def test_a_map_that_knows_better_helps_where_nothing_was_learned() -> None:
    val, left_out = records("tcga_lgg", "val"), records("br35h", "train")
    # Elsewhere the head cannot tell, the map as well as ever.
    answers = {"val": outputs([-4, 4], [-4, 4]), "left_out": outputs([-4, -4], [-4, 4])}
    alone, together = (measure(answers, left_out, val, weight) for weight in (0.0, 2.0))
    assert alone == {
        "left_out_auc": 0.5,
        "left_out_cleared_at": 0.0,
        "left_out_missed": 1.0,
        "left_out_cleared": 1.0,
        "val_auc": 1.0,
        "val_same_heads_auc": 1.0,
        "val_cleared": 1.0,
    }
    assert together == dict.fromkeys(alone, 1.0) | {"left_out_missed": 0.0}


def row(folder: Path, answers: dict[str, Outputs]) -> Path:
    folder.mkdir(parents=True)
    recipe = PRESETS["default"].override({"seed": 8, "stage2.epochs": 3}).to_toml()
    (folder / "row.json").write_text(json.dumps({"without": "br35h", "recipe": recipe}), encoding="utf-8")
    for part, some in answers.items():
        for name, values in some.items():
            np.save(folder / f"{part}-{name}.npy", values)
    return folder


@pytest.fixture
def manifest(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Records in place of those of a manifest, whose images are not looked at."""
    known = [*records("br35h", "train"), *records("tcga_lgg", "val"), *records("tcga_lgg", "test")]
    monkeypatch.setattr(map_weight, "read_records", lambda _: known)
    return known


@pytest.mark.usefixtures("manifest")
def test_rows_become_a_table_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = {"val": outputs([-4, 4], [-4, 4]), "left_out": outputs([-4, -4], [-4, 4])}
    folders = [row(tmp_path / "without-br35h" / "3-epochs" / name, answers) for name in ("default", "again")]
    plain = row(tmp_path / "without-br35h" / "3-epochs" / "classic", answers)
    (plain / "val-evidence.npy").unlink()
    saved = tmp_path / "saved.json"
    options = [*map(str, [*folders, plain]), "--data", "manifest.csv", "--save", str(saved)]
    map_weight.main(options)
    rows = json.loads(saved.read_text(encoding="utf-8"))["rows"]
    names = ("row", "without", "seed", "epochs", "map_weight")
    assert [tuple(one[name] for name in names) for one in rows] == [
        (name, "br35h", 8, 3, weight) for name in ("default", "again") for weight in map_weight.MAP_WEIGHTS
    ]
    said = capsys.readouterr()
    assert said.err == f"{plain}: skipped: no finished row, or one whose network has no map\n"
    lines = said.out.splitlines()
    assert lines[0].startswith("| mean of 2 networks | left out: auc |")
    assert lines[2] == "| `map_weight = 0.0` | 50.0 | 0.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |"
    assert lines[-2] == "| `map_weight = 2.0` | 100.0 | 100.0 | 0.0 | 100.0 | 100.0 | 100.0 | 100.0 |"
    assert map_weight.markdown(rows) == "\n".join(lines[:-1]) + "\n"


@pytest.mark.parametrize("epochs", [3, 15])
def test_the_page_shows_the_saved_rows(epochs: int) -> None:
    checkout = Path(__file__).parents[2]
    saved = checkout / "benchmarks" / "results" / f"map-weight-{epochs}-epochs.json"
    page = (checkout / "docs" / "recipe.md").read_text(encoding="utf-8")
    (shown,) = between(f"map {epochs}").findall(page)
    rows = json.loads(saved.read_text(encoding="utf-8"))["rows"]
    assert shown == map_weight.markdown(rows)
    # What the page says of each of them.
    for name in ("left_out_auc", "val_same_heads_auc"):
        count = len(map_weight.MAP_WEIGHTS)
        for start in range(0, len(rows), count):
            values = [row[name] for row in rows[start : start + count] if row["map_weight"] <= 1]
            assert values == sorted(values)
            assert values[0] < values[1]


def test_other_data_are_refused(
    manifest: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = row(tmp_path / "row", dict.fromkeys(map_weight.PARTS, outputs([-4, 4], [-4, 4])))
    del manifest[0]
    with pytest.raises(SystemExit):
        map_weight.main([str(folder), "--data", "manifest.csv"])
    said = " ".join(capsys.readouterr().err.split())
    assert f"{folder}: answers for 80 slices of left_out, but manifest.csv has 79; expected the data" in said
    with pytest.raises(SystemExit):
        map_weight.main([str(tmp_path), "--data", "manifest.csv"])
    assert "no row with a map in these folders" in capsys.readouterr().err
