from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.said import Command

from falx_trainer.training.recipe import PRESETS, Recipe, RecipeError, read_toml, settings


@pytest.fixture
def shown(trainer: Command) -> Callable[..., str]:
    """Returns the recipe that a command would train by."""
    return lambda *arguments: trainer("train", "--show", *arguments).out


def test_classic_holds_the_published_recipe() -> None:
    classic = PRESETS["classic"]
    assert classic == Recipe()
    assert (classic.batch, classic.dense, classic.dropout, classic.head) == (16, 256, 0.45, "gap")
    assert (classic.stage1.epochs, classic.stage1.learning_rate, classic.stage1.patience) == (12, 1e-4, 4)
    two = classic.stage2
    assert (two.epochs, two.learning_rate, two.patience, two.layers) == (15, 5e-6, 5, 60)
    assert two.schedule == "plateau"
    assert classic.balance == "class_weights"
    varied = classic.augmentation
    assert (varied.rotation, varied.zoom_min, varied.zoom_max, varied.shift) == (20, 0.75, 1.25, 0.08)
    assert (varied.shear, varied.brightness_min, varied.brightness_max, varied.flip) == (0.10, 0.7, 1.3, 0.5)
    scanners = (varied.gamma, varied.noise, varied.blur, varied.bias_field, varied.tone_curve)
    assert sum(strength > 0 for strength in scanners) >= 2
    assert (classic.counterfactual.transplant, classic.counterfactual.control) == (0, 0)


def values(setting: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    if "choices" in setting.metadata:
        return st.sampled_from(setting.metadata["choices"])
    if isinstance(setting.default, str):
        return st.sampled_from(["", "a", "a,b"])
    low, high = setting.metadata["low"], setting.metadata["high"]
    return st.floats(low, high) if isinstance(setting.default, float) else st.integers(low, high)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    changes = {name: draw(values(setting)) for name, setting, _ in settings(Recipe())}
    if changes["head"] != "map":
        changes |= dict.fromkeys(("box_weight", "place_weight", "seen_weight"), 0.0)
    changes["size"] -= changes["size"] % 32
    return Recipe().override(changes)


@given(recipe=recipes())
def test_toml_gives_the_same_recipe(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    again = PRESETS["default"].override(read_toml(path))
    assert again == recipe
    assert again.to_toml() == recipe.to_toml()


def test_a_whole_number_is_the_same_setting_as_its_float() -> None:
    whole, float_ = Recipe(dropout=0), Recipe(dropout=0.0)
    assert whole.to_toml() == float_.to_toml()
    assert isinstance(whole.dropout, float)


def test_command_line_precedes_toml_precedes_preset(tmp_path: Path, shown: Callable[..., str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("batch = 5\nseed = 3\n\n[stage2]\nepochs = 2\n", encoding="utf-8")
    text = shown("--preset", "classic", "--recipe", path, "--batch", "6", "--stage2.layers", "9")
    expected = Recipe().override({"batch": 6, "seed": 3, "stage2.epochs": 2, "stage2.layers": 9})
    assert text == expected.to_toml()


@pytest.mark.parametrize("preset", PRESETS)
def test_show_prints_a_preset_that_reads_back(preset: str, tmp_path: Path, shown: Callable[..., str]) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(shown("--preset", preset), encoding="utf-8")
    assert Recipe().override(read_toml(path)) == PRESETS[preset]
    assert PRESETS[preset].to_toml() == path.read_text(encoding="utf-8")


def test_changes_are_the_settings_that_differ_from_the_preset() -> None:
    changes = {"batch": 5, "stage2.plateau_factor": 0.5}
    start = PRESETS["default"]
    assert start.override(changes | {"seed": start.seed}).changes(start) == changes
    assert start.changes(start) == {}
    assert start.changes(PRESETS["classic"])["head"] == "map"


def test_default_preset_is_the_default(shown: Callable[..., str]) -> None:
    assert list(PRESETS) == ["default", "classic", "own"]
    assert PRESETS["default"] != PRESETS["classic"]
    assert shown() == PRESETS["default"].to_toml()


@pytest.mark.parametrize(("name", "setting"), [(name, setting) for name, setting, _ in settings(Recipe())])
def test_every_setting_is_an_option(
    name: str, setting: dataclasses.Field[Any], shown: Callable[..., str]
) -> None:
    value = setting.metadata["choices"][-1] if "choices" in setting.metadata else setting.metadata["high"]
    changes = {name: "br35h" if value is None else value}
    if name == "head":
        changes |= {"box_weight": 1, "place_weight": 1, "seen_weight": 1}
    options = [text for key, new in changes.items() for text in (f"--{key.replace('_', '-')}", str(new))]
    assert shown(*options) == PRESETS["default"].override(changes).to_toml()


def test_help_names_every_setting_and_its_meaning(trainer: Command) -> None:
    text = " ".join(trainer("train", "--help").out.split())
    for name, setting, _ in settings(Recipe()):
        assert f"--{name.replace('_', '-')}" in text
        assert " ".join(setting.metadata["help"].split()[:3]) in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lerning_rate": 1}, r"unknown setting 'lerning_rate'; expected one of: augmentation\.bias_field, "),
        ({"stage1": 3}, r"unknown setting 'stage1'"),
        ({"stage1.epochs.x": 3}, r"unknown setting 'stage1\.epochs\.x'"),
        ({"batch": "16"}, r"batch: expected int, got '16'"),
        ({"batch": 16.0}, r"batch: expected int, got 16\.0"),
        ({"batch": True}, r"batch: expected int, got True"),
        ({"batch": {"size": 3}}, r"batch: expected int, got \{'size': 3\}"),
        ({"batch": 0}, r"batch: expected a value from 1 to 4096, got 0"),
        ({"dropout": 1.0}, r"dropout: expected a value from 0 to 0\.95, got 1\.0"),
        ({"dropout": float("nan")}, r"dropout: expected a value from 0 to 0\.95, got nan"),
        ({"head": "attention"}, r"head: expected one of gap, map; got 'attention'"),
        ({"stage2.layers": 155}, r"stage2\.layers: expected a value from 0 to 154, got 155"),
        ({"head": "gap", "box_weight": 1.0}, r"box_weight needs head = 'map'"),
        ({"head": "gap", "place_weight": 1.0}, r"place_weight needs head = 'map'"),
        ({"head": "gap", "seen_weight": 1.0}, r"seen_weight needs head = 'map'"),
        ({"size": 100}, r"size: expected a multiple of 32, got 100"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe().override(changes)


def test_a_part_is_checked_in_its_own_constructor_call() -> None:
    with pytest.raises(RecipeError, match=r"stage1: expected settings of stage1, got 3"):
        Recipe(stage1=3)  # type: ignore[arg-type]  # that is what is wrong with it


@pytest.mark.parametrize("content", [b"batch = = 3", b"\xff\xfe", None])
def test_a_file_that_is_no_toml_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.toml: expected a TOML file with settings of a recipe: "):
        read_toml(path)


def test_wrong_settings_end_the_command_without_traceback(tmp_path: Path, trainer: Command) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[stage2]\nepoch = 3\n", encoding="utf-8")
    said = trainer("train", "--recipe", path, "--show")
    assert (said.status, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("falx_trainer: unknown setting 'stage2.epoch'; expected one of: ")
