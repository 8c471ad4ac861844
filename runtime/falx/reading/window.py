"""Turns stored values into brightness, by the window of a data set where it shows the picture.

A window maps the values from `low` to `high` linearly to black and white (DICOM PS3.3, C.11.2.1.2) and
cuts the rest. Stored windows are often wrong: of another series, of the values before a conversion, or
made for all of a volume by a hot pixel. `brightness` takes one only where it shows something, and the
percentiles `FALLBACK` of the values otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FALLBACK: Final = (0.1, 99.9)
"""Percentiles of the values that become black and white where no stored window can be used: all of the
head, without hot pixels."""

MOST_WHITE: Final = 0.25
"""A window that turns more than this fraction of the values white hides what is bright."""

LEAST_INSIDE: Final = 0.05
"""A window with less than this fraction of the values between black and white shows nothing."""

LEAST_REACH: Final = 0.5
"""A window in which all but the brightest 0.1 % stay below this fraction of white is far too wide: it
leaves few grey levels to the head."""

MOST_STRETCH: Final = 5.0
"""Pixels whose sides differ by a greater factor are taken for an error in the tags."""


@dataclass(frozen=True, slots=True)
class Window:
    """The range of values that is shown: from `low`, black with all below, to `high`, white with all above.

    Between them runs a line, or a sigmoid (C.11.2.1.3.1), which is not cut.
    """

    low: float
    high: float
    sigmoid: bool = False

    @classmethod
    def of(cls, centre: float, width: float, function: str = "LINEAR") -> Window | None:
        """Returns the window of the attributes; None where they make none. Unknown functions are LINEAR."""
        if not (np.isfinite(centre) and np.isfinite(width)):
            return None
        exact = function.upper() in ("LINEAR_EXACT", "SIGMOID")
        if not exact:
            # The default subtracts half a value and one: its ends are the values of pixels.
            centre, width = centre - 0.5, width - 1
        if width <= 0:
            return None
        low, high = centre - width / 2, centre + width / 2
        return cls(low, high, function.upper() == "SIGMOID") if high > low else None

    def apply(self, values: Values) -> Values:
        """Brightness of the same shape, 0 black to 1 white."""
        shown = (values - self.low) / (self.high - self.low)
        if self.sigmoid:
            # Cut where exp would overflow; there the sigmoid has reached its end.
            return 1 / (1 + np.exp(np.clip(-4 * (shown - 0.5), -700, 700)))
        return shown.clip(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Greys:
    """The values behind a picture, for viewers whose readers change the window.

    The real values, `(H, W)` float64, those outside the picture black in every window; the ones that become
    black and white in the window that the picture is shown with; and whether the least are shown white.
    """

    values: Values
    low: float
    high: float
    inverted: bool = False


def brightness(
    values: Values, window: Window | None, valid: Mask | None = None, *, inverted: bool = False
) -> Values:
    """Returns values of any shape, finite where valid, as brightness, 0 black to 1 white.

    Without a stored window they are shown from the least to the greatest. Where `valid` is given, the others
    become black, and do not count. `inverted` shows the least values white.
    """
    used = suited(values, window, valid, inverted=inverted)
    if used is None:
        return np.zeros(values.shape)
    shown = 1 - used.apply(values) if inverted else used.apply(values)
    return shown if valid is None else np.where(valid, shown, 0.0)


def suited(
    values: Values, window: Window | None, valid: Mask | None = None, *, inverted: bool = False
) -> Window | None:
    """Returns the window to show values with: the stored one where it shows the picture, else that of the
    percentiles `FALLBACK`; None where there is one value only. See `brightness` for the arguments.
    """
    inside = values if valid is None else values[valid]
    if inside.size == 0:
        return None
    low, high = float(inside.min()), float(inside.max())
    if high == low:
        return None
    asked = window or Window(low, high)
    shown = asked.apply(inside)
    if _shows(1 - shown if inverted else shown):
        return asked
    dark, bright = np.percentile(inside, FALLBACK)
    return Window(float(dark), float(bright)) if bright > dark else Window(low, high)


def _shows(shown: Values) -> bool:
    if np.mean(shown >= 1) > MOST_WHITE or np.mean((shown > 0) & (shown < 1)) < LEAST_INSIDE:
        return False
    return bool(np.percentile(shown, FALLBACK[1]) >= LEAST_REACH)


def squared(pixels: npt.NDArray[np.uint8], row_mm: float, column_mm: float) -> npt.NDArray[np.uint8]:
    """Returns `(H, W)` uint8 pixels made square: the coarser direction is resampled to the finer.

    They are the same where the distances of rows and columns hardly differ, or so much that they must be
    wrong.
    """
    from PIL import Image

    stretch = row_mm / column_mm if row_mm > 0 and column_mm > 0 else 1.0
    if not 1 / MOST_STRETCH <= stretch <= MOST_STRETCH or abs(stretch - 1) < 0.01:
        return pixels
    height, width = pixels.shape
    size = (width, round(height * stretch)) if stretch > 1 else (round(width / stretch), height)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
