"""An answer as HTML for notebooks: the slice with its heatmap, and the probabilities as bars."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from PIL import Image

from falx.errors import UnreadableImage
from falx.reading.files import expand
from falx.reading.source import read
from falx.slices.overlay import fitted, overlay, tint
from falx.slices.slice import Part
from falx.words import DISCLAIMER, percent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SIDE: Final = 240
"""The longer side of the picture, in pixels."""

ROW: Final = (
    '<tr><td style="text-align:left">{label}</td>'
    '<td style="width:160px;text-align:left"><div style="width:{width:.1f}%;min-width:1px;height:0.8em;'
    'background:{colour}"></div></td><td style="text-align:right">{share}</td></tr>'
)
CHOSEN, OTHER = "#2f6fb0", "#8a939c"


def picture(
    path: str | None, frame: int | None, heatmap: npt.NDArray[np.float32] | None
) -> tuple[Image.Image | None, str]:
    """Draws a slice with its heatmap. The slice is read again: no answer keeps it.

    Returns the picture, or None where there is nothing to show, and what a reader must know about it.
    """
    alone = None if heatmap is None else tint(heatmap)
    if path is None:
        return alone, "The slice was not a file and is not kept."
    try:
        sources = [path] if frame is None else [part for part in expand([path]) if isinstance(part, Part)]
        pixels = read(sources[0 if frame is None else frame - 1]).pixels
    except (UnreadableImage, IndexError):
        return alone, "The slice cannot be read from its file again."
    if heatmap is None:
        return Image.fromarray(pixels), ""
    if heatmap.shape != pixels.shape:
        return alone, "The file has changed since."
    return overlay(pixels, heatmap), ""


def card(
    title: str, probabilities: Mapping[str, float] | None, lines: Sequence[str], shown: Image.Image | None
) -> str:
    """Returns an answer as HTML without scripts and outside references, for pages light or dark."""
    rows = "".join(
        ROW.format(
            label=html.escape(label.replace("_", " ")),
            width=100 * share,
            colour=CHOSEN if label == title else OTHER,
            share=percent(share),
        )
        for label, share in (probabilities or {}).items()
    )
    table = f'<table style="border:0;margin:0.4em 0;color:inherit">{rows}</table>' if rows else ""
    said = "".join(f"<div>{html.escape(line)}</div>" for line in (*lines, DISCLAIMER) if line)
    drawn = (
        "" if shown is None else f'<img alt="slice" style="border:1px solid {OTHER}" src="{_address(shown)}">'
    )
    return (
        f'<div style="display:flex;gap:1em;align-items:flex-start">{drawn}<div style="max-width:32em">'
        f'<div style="font-weight:bold;font-size:1.2em">{html.escape(title.replace("_", " "))}</div>'
        f'{table}<div style="font-size:0.85em">{said}</div></div></div>'
    )


def _address(shown: Image.Image) -> str:
    buffer = io.BytesIO()
    fitted(shown, SIDE).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
