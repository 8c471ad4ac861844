"""Colours of the page and of paper, and drawn signs of decisions: a colour alone would tell some nothing."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

DARK: Final = {
    "ground": "#0b1015",
    "panel": "#121a21",
    "line": "#283641",
    "text": "#e9eff4",
    "quiet": "#a5b4c1",
    "accent": "#74c9dc",
    "none": "#a5b4c1",
    "no_tumor": "#86d6b4",
    "tumor": "#ff8d80",
    "ambiguous": "#f3d36f",
    "rejected": "#b3c0cb",
    "error": "#e9eff4",
}
"""The colours of the page, those of examples/browser; for each kind of decision too."""

PAPER: Final = {
    "ground": "#ffffff",
    "panel": "#ffffff",
    "line": "#c3ced7",
    "text": "#111820",
    "quiet": "#46535e",
    "accent": "#0b6f86",
    "no_tumor": "#0b6b43",
    "tumor": "#b3261e",
    "ambiguous": "#7a5600",
    "rejected": "#46535e",
    "error": "#111820",
}
"""The colours of reports, and of the page in print."""

SHAPES: Final = {
    "none": '<path d="M10 24h.1M24 24h.1M38 24h.1"/>',
    "no_tumor": '<circle cx="24" cy="24" r="17"/>',
    "tumor": '<path fill="{0}" d="M24 4l20 20-20 20L4 24z"/>',
    "ambiguous": '<path d="M16 17c0-11 16-11 16 0 0 7-8 7-8 14m0 9v.1"/>',
    "rejected": '<path d="M24 7a17 17 0 1 0 .1 0zM12.5 12.5l23 23"/>',
    "error": '<path d="M24 7v22m0 11v.1"/>',
    "upload": '<path stroke-width="2.5" d="M24 31V9m0 0-8 8m8-8 8 8M8 32v7h32v-7"/>',
}
"""The signs of examples/browser/index.html, on 48 × 48."""


def css(colours: Mapping[str, str]) -> str:
    """Returns colours as custom properties of CSS."""
    return ":root { " + " ".join(f"--{name}: {colour};" for name, colour in colours.items()) + " }"


def sign(kind: str, colour: str) -> str:
    """Returns the `data:` address of a sign: Streamlit removes SVG from HTML."""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48" fill="none" stroke="{colour}" '
        f'stroke-width="5" stroke-linecap="round" stroke-linejoin="round">{SHAPES[kind].format(colour)}</svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
