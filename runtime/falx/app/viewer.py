"""The viewer of the page: one slice, its heatmap, zoom and window, as a component of Streamlit.

The slice is sent as numbers and drawn by `viewer.js` in the browser: nothing is asked of the server while a
reader moves or enlarges the slice, or changes the window. The numbers have no address that someone else could
ask for.
"""

from __future__ import annotations

import base64
import functools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from falx.app import fragments, texts
from falx.app.arrangement import Arrangement
from falx.app.colours import DARK, sign
from falx.app.uploads import ShownSlice
from falx.slices.overlay import OPACITY, tint

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

    Action = Callable[[], None]

KEY: Final = "viewer"
HERE: Final = Path(__file__).parent
LEVELS: Final = 65535
"""The greatest value that a slice is sent in."""


def show(arranged: Arrangement, chosen: int | None, most: int, on_walk: Action, on_sample: Action) -> None:
    """Puts the viewer where the page is; without slices it says that at most `most` files may be given.

    `on_walk` is called when the reader goes to another slice, whose index the viewer's state has as `at`.
    """
    shown = None if chosen is None else arranged.shown[chosen]
    _component()(
        key=KEY,
        data={
            "texts": texts.VIEWER,
            "sign": sign("upload", DARK["accent"]),
            "most": most,
            "opacity": OPACITY,
            "at": chosen,
            "count": len(arranged.shown),
            "empty": shown is None,
            "words": "" if shown is None else _words(shown),
            "picture": None if shown is None or shown.pixels is None else picture(shown),
        },
        on_at_change=on_walk,
        on_sample_change=on_sample,
    )


def picture(shown: ShownSlice) -> dict[str, Any]:
    """Returns a slice for the viewer.

    Its values are `low + step * n`, where `data` holds the integers `n`, row by row, of 1 byte or of 2 with
    the lower one first, deflated, in Base64. The window, the values that become black and white, is kept
    within a series until the reader changes it. The heatmap is the address of a picture of the same size.
    """
    greys = shown.greys()
    low, high = float(greys.values.min()), float(greys.values.max())
    whole = high - low <= LEVELS and bool((greys.values == np.rint(greys.values)).all())
    step = 1.0 if whole else (high - low) / LEVELS
    numbers = np.rint((greys.values - low) / step)
    numbers = numbers.astype(np.uint8 if numbers.max() <= 255 else "<u2")
    heatmap = shown.heatmap
    return {
        "series": shown.series_uid,
        "width": numbers.shape[1],
        "height": numbers.shape[0],
        "bytes": numbers.itemsize,
        "data": base64.b64encode(zlib.compress(numbers.tobytes(), 1)).decode(),
        "low": low,
        "high": high,
        "step": step,
        "window": (greys.low, greys.high),
        "inverted": greys.inverted,
        "heatmap": None if heatmap is None else fragments.image(tint(heatmap)),
    }


def _words(shown: ShownSlice) -> str:
    if shown.size is None:
        return texts.NOT_SHOWN[shown.decision]
    width, height = shown.size
    return texts.DESCRIPTION.format(width=width, height=height, found=shown.strongest()).strip()


@functools.cache
def _component() -> ComponentRenderer:
    from streamlit.components import v2

    html, css, js = (
        HERE.joinpath(f"viewer.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    return v2.component("falx_viewer", html=html, css=css, js=js)
