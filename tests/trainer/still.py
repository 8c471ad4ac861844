"""Settings of a recipe by which nothing is varied."""

from __future__ import annotations

from typing import Any

from falx_trainer.training.recipe import PRESETS, Augmentation, Recipe

ONE = ("zoom_min", "zoom_max", "brightness_min", "brightness_max")
AUGMENTATION: dict[str, Any] = {
    name: 1 if name in ONE else 0 for name in vars(Augmentation()) if not name.startswith("_")
}


def still(preset: str = "default", *, transplant: float = 0.0, control: float = 0.0, **more: Any) -> Recipe:
    """Returns the recipe of a preset with nothing varied, drawn or pasted but what is asked for."""
    changes = {f"augmentation.{name}": value for name, value in AUGMENTATION.items()}
    pasted = {"counterfactual.transplant": transplant, "counterfactual.control": control}
    return PRESETS[preset].override(changes | {"drawn_outliers": 0.0} | pasted | more)
