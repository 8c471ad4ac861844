"""The rejection checks as a graph: `falx.slices.rejection`, with its parameters as named constants.

Counts and grey levels are integers, and what they are compared with is calculated in float64, as NumPy
does, so that the graph rejects what the runtime rejects.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from falx.slices.limits import Limits
from falx.slices.reasons import REASONS
from falx.slices.rejection import (
    BRIGHT_PERCENTILE,
    CORNER,
    CORNER_PERCENTILE,
    FOREGROUND,
    GRID,
    LEAST_CELLS,
    LIT,
    MARGIN,
    SAMPLES,
)
from falx_export.self_contained.onnx_builder import Graph, Tensor
from falx_export.self_contained.onnx_preprocessing import PictureTensors, resized

NONE: Final = 0
"""The index of a picture that is not rejected; the reasons follow it, in the order of `REASONS`."""

BEHIND_ALL: Final = 1e6
"""Greater than any Laplacian of grey levels."""


def reason(
    g: Graph,
    picture: PictureTensors,
    limits: Limits,
    familiarity: Tensor | None,
    no_brain: Tensor | None,
) -> Tensor:
    """Returns why a picture is rejected: int32, `NONE` or 1 + the place in `REASONS`."""
    values = {name: g.constant(name, value, np.float64) for name, value in limits.to_dict().items()}
    with g.scope("rejection"):
        shorter = g.minimum(picture.height, picture.width).to(np.float64)
        found = {"too_small": g.named("too_small", shorter < values["minimum_side"])}
        contrast = (g.most(picture.pixels) - g.least(picture.pixels)).to(np.float64)
        found["blank"] = g.named("blank", contrast < values["minimum_contrast"])
        found["not_grey"] = g.named("not_grey", picture.colour > values["maximum_colour"])
        found["no_head"] = _no_head(g, picture, values)
        if familiarity is not None:
            known = g.node("Reshape", familiarity, g.integers()).to(np.float64)
            unknown = known < values["least_familiarity"]
            found["unfamiliar"] = g.named("unfamiliar", unknown)
            if no_brain is not None:
                head = g.node("Reshape", no_brain, g.integers()).to(np.float64)
                rather = g.named("rather_no_brain", head > 1 - known - head)
                found["no_brain"] = g.named("no_brain", unknown & rather)
                found["unfamiliar"] = unknown & ~rather
        codes = list(REASONS)
        index = g.scalar(NONE, np.int32)
        # The first check that finds something is the reason, so it is asked last.
        for code in reversed(codes):
            if code in found:
                index = g.where(found[code], g.scalar(codes.index(code) + 1, np.int32), index)
        return g.named("reason", index)


def _no_head(g: Graph, picture: PictureTensors, limits: dict[str, Tensor]) -> Tensor:
    height, width, cells = _coarse(g, picture)
    number = g.node("Size", cells, dtype=np.int64).to(np.float64)
    flat = g.named("flat", g.node("Reshape", cells, g.integers(-1)))
    bright = g.named("bright", g.maximum(_percentile(g, flat, BRIGHT_PERCENTILE), 1))
    corners = g.named("corners", _corners(g, cells, g.minimum(height, width)) / bright)
    second, third = g.gather(corners, 1), g.gather(corners, 2)
    lit_corners = (second > limits["maximum_background"]) | (third > limits["maximum_third_corner"])
    lit_corners = g.named("lit_corners", lit_corners)
    rows, columns = g.column(g.range(height)), g.range(width)
    within = (rows >= MARGIN) & (rows < height - MARGIN) & (columns >= MARGIN) & (columns < width - MARGIN)
    foreground = g.named("foreground", (cells.to(np.float64) > bright * FOREGROUND) & within)
    enclosed = g.named("enclosed", _between(g, foreground, 1) & _between(g, foreground, 0))
    area = g.named("area", g.count(enclosed).to(np.float64))
    dark = g.named("dark", (area / number < limits["minimum_head"]) | (area <= 0))
    scattered = g.count(foreground).to(np.float64) < limits["minimum_solidity"] * area
    scattered = g.named("scattered", scattered)
    lines = g.named("lines", _lit(g, picture, enclosed, (height, width), bright) < limits["minimum_lit"])
    detail = g.named("detail", _detail(g, cells, enclosed) / bright)
    smooth_or_rough = (detail < limits["minimum_detail"]) | (detail > limits["maximum_detail"])
    return g.named("no_head", lit_corners | dark | scattered | lines | smooth_or_rough)


def _coarse(g: Graph, picture: PictureTensors) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the height and width of the coarse grid, and its cells, float32."""
    with g.scope("coarse"):
        height, width = picture.height.to(np.float64), picture.width.to(np.float64)
        scale = g.named("scale", GRID / g.maximum(height, width))
        rows = g.named("height", g.maximum(g.node("Round", height * scale).to(np.int64), LEAST_CELLS))
        columns = g.named("width", g.maximum(g.node("Round", width * scale).to(np.int64), LEAST_CELLS))
        zero = g.scalar(0, np.float64)
        cells = resized(g, picture, (zero, zero), (width, height), (columns, rows), box=True)
        return rows, columns, g.named("cells", cells.to(np.float32))


def _percentile(g: Graph, values: Tensor, percent: int) -> Tensor:
    """Returns NumPy's linear percentile over the last axis of float32 `(..., N)`, in float64."""
    number = g.gather(g.node("Shape", values, dtype=np.int64), -1)
    place = (number - 1).to(np.float64) * (percent / 100)
    below = g.node("Floor", place)
    share = place - below
    index = below.to(np.int64)
    following = g.minimum(index + 1, number - 1)
    # From the nearer end.
    if percent > 50:
        ordered = g.smallest(values, number - index, largest=True)
        low, high = (g.gather(ordered, number - 1 - at, axis=-1) for at in (index, following))
    else:
        ordered = g.smallest(values, following + 1)
        low, high = (g.gather(ordered, at, axis=-1) for at in (index, following))
    a, b = low.to(np.float64), high.to(np.float64)
    # `numpy.lib._function_base_impl._lerp`, which starts from the nearer one.
    return g.where(share >= 0.5, b - (b - a) * (1 - share), a + (b - a) * share)


def _corners(g: Graph, cells: Tensor, shorter: Tensor) -> Tensor:
    """Returns the brightness of the four corners, darkest first: float64 `(4,)`."""
    side = g.maximum(g.node("Round", shorter.to(np.float64) * CORNER).to(np.int64), 2)
    end = np.iinfo(np.int64).max
    ranges: tuple[tuple[Tensor | int, Tensor | int], ...] = ((0, side), (0 - side, end))
    squares = [
        g.node("Reshape", g.slice(cells, [top, left], [bottom, right]), g.integers(1, -1))
        for top, bottom in ranges
        for left, right in ranges
    ]
    levels = _percentile(g, g.node("Concat", *squares, axis=0), CORNER_PERCENTILE)
    return g.smallest(levels, g.scalar(4, np.int64))


def _between(g: Graph, mask: Tensor, axis: int) -> Tensor:
    """Returns everything from the first true cell to the last along an axis."""
    ones, along = mask.to(np.int32), g.scalar(axis, np.int32)
    return (g.node("CumSum", ones, along) > 0) & (g.node("CumSum", ones, along, reverse=1) > 0)


def _lit(
    g: Graph, picture: PictureTensors, enclosed: Tensor, size: tuple[Tensor, Tensor], bright: Tensor
) -> Tensor:
    """Returns the share of the slice's own pixels in the enclosed part that is bright: float64."""
    step = g.maximum(g.maximum(picture.height, picture.width) // SAMPLES, 1)
    ends = [picture.height, picture.width]
    samples = g.named("samples", g.slice(picture.pixels, [0, 0], ends, [step, step]))
    inside = enclosed
    # Columns first, while there are few rows.
    for axis in (1, 0):
        inside = g.gather(inside, _nearest(g, size[axis], g.side(samples, axis)), axis=axis)
    inside = g.named("inside", inside)
    lit = g.named("lit", (samples.to(np.float64) > bright * LIT) & inside)
    return g.count(lit).to(np.float64) / g.count(inside).to(np.float64)


def _nearest(g: Graph, number: Tensor, size: Tensor) -> Tensor:
    """Returns the one of `number` elements at each of `size` places, as Pillow's `ImagingScaleAffine` counts.

    It adds up the steps one by one, and where a place falls between two elements, what their sum was rounded
    to decides.
    """
    step = number.to(np.float64) / size.to(np.float64)
    steps = g.node("Expand", step, g.integers(size - 1))
    first = g.node("Unsqueeze", step * 0.5, g.integers(0))
    places = g.node("Concat", first, steps, axis=0)
    return g.node("CumSum", places, g.scalar(0, np.int32)).to(np.int64)


def _detail(g: Graph, cells: Tensor, enclosed: Tensor) -> Tensor:
    """Returns the median of the Laplacian within the enclosed part: float64."""
    middle = g.slice(cells, [1, 1], [-1, -1])
    around = g.slice(cells, [0, 1], [-2, -1]) + g.slice(cells, [2, 1], [np.iinfo(np.int64).max, -1])
    around = around + g.slice(cells, [1, 0], [-1, -2])
    around = around + g.slice(cells, [1, 2], [-1, np.iinfo(np.int64).max])
    laplacian = g.named("laplacian", abs(middle * 4 - around))
    inside = g.slice(enclosed, [1, 1], [-1, -1])
    masked = g.named("masked", g.node("Reshape", g.where(inside, laplacian, BEHIND_ALL), g.integers(-1)))
    number = g.named("inside_number", g.count(inside).to(np.int64))
    upper = number // 2
    lower = g.maximum(number - 1, 0) // 2
    ordered = g.named("ordered", g.smallest(masked, upper + 1))
    return (g.gather(ordered, lower) + g.gather(ordered, upper)).to(np.float64) * 0.5
