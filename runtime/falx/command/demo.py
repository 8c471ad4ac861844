"""`falx demo` classifies and shows the drawn heads, and one picture that is not a head."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from falx import phantom
from falx.classifier import Classifier
from falx.command.console import paragraph, say, width
from falx.command.text import Results, picture
from falx.pictures.folder import Folder
from falx.slices.overlay import overlay

HINT: Final = "These are drawings, so the answers show how Falx speaks, not how good it is."

PICTURE_COLUMNS: Final = 36
"""Letters across each picture; as many pictures stand side by side as the terminal is wide."""


def show(classifier: Classifier, out: str | None) -> None:
    """Classifies the pictures of the demo and prints them with their answers; `out` keeps them."""
    folder = None if out is None else Folder(out)
    drawn = {name: draw() for name, draw in phantom.PHANTOMS.items()}
    # A picture that is not a head.
    drawn["gradient"] = np.tile(np.arange(phantom.SIZE, dtype=np.uint8), (phantom.SIZE, 1))
    say(_side_by_side(drawn))
    say()
    results = Results(list(drawn), classifier.card.thresholds, classifier.card)
    for name, pixels in drawn.items():
        prediction = classifier.predict(pixels)
        results.add(prediction, name)
        if folder is not None:
            folder.save(Image.fromarray(pixels), name)
            if (heatmap := prediction.heatmap) is not None:
                folder.save(overlay(pixels, heatmap), f"{name}-heatmap")
    results.close(classifier)
    say()
    say(paragraph(HINT if out is None else f"{HINT} They are in {out}."))
    say("Next: falx predict YOUR_SLICE.png")


def _side_by_side(drawn: dict[str, npt.NDArray[np.uint8]]) -> str:
    fitting = max(1, width() // (PICTURE_COLUMNS + 2))
    names = list(drawn)[:fitting]
    columns = [[name.center(PICTURE_COLUMNS), *picture(drawn[name], PICTURE_COLUMNS)] for name in names]
    return "\n".join("  ".join(parts).rstrip() for parts in zip(*columns, strict=True))
