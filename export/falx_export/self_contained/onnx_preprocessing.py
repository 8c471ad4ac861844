"""Turns a picture into the tensor, as a graph that gives what `falx.slices.preprocessing` gives, to the grey
level.
Pillow resizes with weights in 22-bit fixed point, along one axis and then along the other, and rounds
after each (`src/libImaging/Resample.c`). The same is done here in int32, which holds the sums exactly.
Places and weights are calculated in float64, as Pillow and NumPy do, so that what they round, rounds alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from falx.reading.pixels import COLOUR_SAMPLES
from falx.slices.preprocessing import (
    BRIGHT_QUANTILE,
    DARK_QUANTILE,
    FOREGROUND_FRACTION,
    LINE_FRACTION,
    MINIMUM_HEAD_FRACTION,
    SIZE,
)
from falx_export.self_contained.onnx_builder import Graph, Tensor

LUMA: Final = {"red": 19595 / 65536, "green": 38470 / 65536, "blue": 7471 / 65536}
"""ITU-R BT.601 as Pillow has it (`src/libImaging/Convert.c`, L24). In float32 every sum is exact: there
are 16 bits behind the point, and 8 before it."""

PRECISION: Final = 1 << 22
"""`PRECISION_BITS` of Pillow's `src/libImaging/Resample.c`: 32 - 8 - 2."""

LEVELS: Final = 256


@dataclass(frozen=True, slots=True)
class PictureTensors:
    """A picture in a graph: int32 pixels; int64 sides; and how far its channels are apart, 0..1, float64."""

    pixels: Tensor
    height: Tensor
    width: Tensor
    colour: Tensor


@dataclass(frozen=True, slots=True)
class FrameTensors:
    """The head's rectangle, and where it lies in the tensor, as in `falx.slices.preprocessing`; all int64."""

    left: Tensor
    top: Tensor
    width: Tensor
    height: Tensor
    content: tuple[Tensor, Tensor, Tensor, Tensor]


def read(g: Graph, image: Tensor) -> PictureTensors:
    """Returns a grey slice of uint8 `(H, W, 1)` or `(H, W, 3)`, RGB; other channels cannot be run."""
    with g.scope("grey"):
        height = g.named("height", g.side(image, 0))
        width = g.named("width", g.side(image, 1))
        # Of 2 channels no third can be taken below, and 4 has no place in this list: neither can be run.
        known = g.constant("channels", [1, 1, 3, 3], np.int64)
        channels = g.named("channels", g.gather(known, g.side(image, 2)))
        # The channels apart before they are weighted: on (H, W, C) ONNX Runtime works element by element.
        planes = g.named("planes", g.node("Transpose", image, perm=[2, 0, 1]))
        # Grey is its own red, green and blue; the weights leave it unchanged.
        luma = [
            g.named(name, g.gather(planes, g.minimum(channels - 1, index)).to(np.float32) * weight)
            for index, (name, weight) in enumerate(LUMA.items())
        ]
        grey = g.node("Floor", luma[0] + luma[1] + luma[2] + 0.5)
        pixels = g.named("pixels", grey.to(np.int32))
        step = g.maximum(g.minimum(height, width) // COLOUR_SAMPLES, 1)
        samples = g.named("samples", g.slice(image, [0, 0], [height, width], [step, step]).to(np.int32))
        distance = g.named("distance", g.most(samples, 2) - g.least(samples, 2))
        number = g.node("Size", distance, dtype=np.int64).to(np.float64)
        colour = g.named("colour", g.total(distance.to(np.int64)).to(np.float64) / number / 255)
    return PictureTensors(pixels, height, width, colour)


def find_head(g: Graph, picture: PictureTensors) -> FrameTensors:
    """Returns the bounding rectangle of the head; see `falx.slices.preprocessing.find_head`."""
    with g.scope("head"):
        brightest = g.most(picture.pixels).to(np.float64)
        limit = g.node("Floor", brightest * FOREGROUND_FRACTION).to(np.int32)
        # Counts are far below 2^24, up to which float32 holds every integer.
        foreground = g.named("foreground", (picture.pixels > limit).to(np.float32))
        width, height = picture.width.to(np.float64), picture.height.to(np.float64)
        rows = g.total(foreground, 1).to(np.float64) >= width * LINE_FRACTION
        rows = g.named("rows", rows.to(np.int32))
        # As a product it is several times as fast as a sum over the first axis.
        ones = g.node("Expand", g.scalar(1, np.float32), g.integers(1, picture.height))
        number = g.node("Reshape", g.node("MatMul", ones, foreground), g.integers(-1))
        columns = g.named("columns", (number.to(np.float64) >= height * LINE_FRACTION).to(np.int32))
        top, bottom = (_first(g, rows, last=last) for last in (0, 1))
        left, right = (_first(g, columns, last=last) for last in (0, 1))
        found_height = g.named("found_height", bottom - top + 1)
        found_width = g.named("found_width", right - left + 1)
        longer = g.maximum(picture.width, picture.height).to(np.float64)
        believed = g.maximum(found_width, found_height).to(np.float64) >= longer * MINIMUM_HEAD_FRACTION
        exists = (g.most(rows) > 0) & (g.most(columns) > 0)
        believed = g.named("believed", exists & believed)
        left = g.named("left", g.where(believed, left, 0))
        top = g.named("top", g.where(believed, top, 0))
        width = g.named("width", g.where(believed, found_width, picture.width))
        height = g.named("height", g.where(believed, found_height, picture.height))
        scale = g.named("scale", SIZE / g.maximum(width, height).to(np.float64))
        content_width = g.named("content_width", _rounded(g, width, scale, 1))
        content_height = g.named("content_height", _rounded(g, height, scale, 1))
        content_left = g.named("content_left", (SIZE - content_width) // 2)
        content_top = g.named("content_top", (SIZE - content_height) // 2)
    return FrameTensors(left, top, width, height, (content_left, content_top, content_width, content_height))


def prepare(g: Graph, picture: PictureTensors, frame: FrameTensors) -> Tensor:
    """Returns the tensor, uint8 `(1, 224, 224, 1)`; see `falx.slices.preprocessing.prepare`."""
    left, top, width, height = frame.content
    with g.scope("resize"):
        content = resized(
            g,
            picture,
            (frame.left.to(np.float64), frame.top.to(np.float64)),
            (frame.width.to(np.float64), frame.height.to(np.float64)),
            (width, height),
        )
    with g.scope("stretch"):
        content = _stretched(g, content)
    with g.scope("centre"):
        pads = g.integers(top, left, SIZE - top - height, SIZE - left - width)
        padded = g.node("Pad", content.to(np.uint8), pads, g.scalar(0, np.uint8))
        return g.named("tensor", g.node("Reshape", padded, g.integers(1, SIZE, SIZE, 1)))


def resized(
    g: Graph,
    picture: PictureTensors,
    start: tuple[Tensor, Tensor],
    length: tuple[Tensor, Tensor],
    size: tuple[Tensor, Tensor],
    *,
    box: bool = False,
) -> Tensor:
    """Resizes as Pillow does 8-bit grey: columns first, then rows, each antialiased and rounded.

    Args:
        g: the graph.
        picture: where it is taken from.
        start: where the part to resize begins, horizontal and vertical, in pixels; float64 without axes.
        length: how long that part is, as `start`.
        size: the result's width and height; int64 without axes.
        box: average (`Resampling.BOX`) instead of `Resampling.BILINEAR`.

    Returns:
        int32, 0..255, `size` reversed.
    """
    with g.scope("horizontal"):
        columns = g.named("columns", picture.pixels.transposed)
        columns = _resampled(g, columns, picture.width, start[0], length[0], size[0], box=box)
    with g.scope("vertical"):
        rows = g.named("rows", columns.transposed)
        return _resampled(g, rows, picture.height, start[1], length[1], size[1], box=box)


def heatmap(g: Graph, cells: Tensor, side: int, picture: PictureTensors, frame: FrameTensors) -> Tensor:
    """Returns cells, float32 `(1, side, side)`, on the slice, as `falx.prediction.Location.heatmap` does."""
    with g.scope("heatmap"):
        grid = g.named("cells", g.node("Reshape", cells, g.integers(side, side)))
        left, top, width, height = frame.content
        with g.scope("columns"):
            columns = _spread(g, side, (left, width), (frame.left, frame.width), picture.width)
        with g.scope("rows"):
            rows = _spread(g, side, (top, height), (frame.top, frame.height), picture.height)
        widened = g.named("widened", g.node("MatMul", grid, columns.transposed))
        inside = g.node("MatMul", rows, widened)
        return g.named("on_slice", g.node("Clip", inside, g.scalar(0, np.float32), g.scalar(1, np.float32)))


def _first(g: Graph, mask: Tensor, *, last: int) -> Tensor:
    """Returns the first (last) place of a 1 in int32 `(n,)`: int64 without axes."""
    return g.node("ArgMax", mask, dtype=np.int64, axis=0, keepdims=0, select_last_index=last)


def _rounded(g: Graph, length: Tensor, scale: Tensor, least: int) -> Tensor:
    """Returns `max(least, round(length * scale))` as int64; ONNX rounds halves to even, as Python does."""
    return g.maximum(g.node("Round", length.to(np.float64) * scale).to(np.int64), least)


def _resampled(
    g: Graph, pixels: Tensor, number: Tensor, start: Tensor, length: Tensor, size: Tensor, *, box: bool
) -> Tensor:
    """Resamples the first axis of int32 `(number, M)`; returns `(size, M)`. The arguments are as of
    `resized`.

    `precompute_coeffs`, `normalize_coeffs_8bpc` and `ImagingResampleVertical_8bpc` of Pillow's
    `src/libImaging/Resample.c`.
    """
    scale = g.named("scale", length / size.to(np.float64))
    width = g.named("filter_scale", g.maximum(scale, 1))
    support = g.named("support", width * (0.5 if box else 1.0))
    taps = g.named("taps", g.node("Ceil", support).to(np.int64) * 2 + 1)
    centre = g.named("centre", g.column(start + (g.range(size, np.float64) + 0.5) * scale))
    first = g.maximum((centre - support + 0.5).to(np.int64), 0)
    index = g.named("index", first + g.range(taps))
    end = g.minimum((centre + support + 0.5).to(np.int64), number)
    inside = g.named("inside", index < end)
    distance = g.named("distance", (index.to(np.float64) - centre + 0.5) * (1 / width))
    if box:
        height = ((distance > -0.5) & (distance <= 0.5)).to(np.float64)
    else:
        height = g.maximum(1 - abs(distance), 0)
    height = g.named("filter", g.where(inside, height, 0))
    share = height / g.total(height, 1, keep=True)
    weights = g.named("weights", g.column((share * PRECISION + 0.5).to(np.int32)))
    taken = g.named("taken", g.gather(pixels, g.minimum(index, number - 1)))
    total = g.named("total", g.total(taken * weights, 1))
    return g.named("rounded", (total + PRECISION // 2) // PRECISION)


def _stretched(g: Graph, content: Tensor) -> Tensor:
    """Stretches brightness between its quantiles; see `falx.slices.preprocessing.stretch`."""
    flat = g.named("levels", g.node("Reshape", content, g.integers(-1)))
    number = g.named("number", g.node("Size", flat, dtype=np.int64))
    none = g.constant("no_pixels", np.zeros(LEVELS), np.int32)
    one = g.node("Expand", g.scalar(1, np.int32), g.integers(number))
    counts = g.node("ScatterElements", none, flat, one, axis=0, reduction="add")
    counts = g.named("histogram", counts)
    ranks = g.node("CumSum", counts, g.scalar(0, np.int32)).to(np.float64)
    ranks = g.named("ranks", ranks)
    dark, bright = (
        g.named(name, g.count(ranks < number.to(np.float64) * quantile).to(np.float64))
        for name, quantile in (("dark", DARK_QUANTILE), ("bright", BRIGHT_QUANTILE))
    )
    levels = g.constant("grey_levels", np.arange(LEVELS), np.float64)
    slope = 255 / g.maximum(bright - dark, 1)
    stretched = g.node("Clip", (levels - dark) * slope, g.scalar(0, np.float64), g.scalar(255, np.float64))
    table = g.where(bright > dark, g.node("Round", stretched), levels)
    table = g.named("table", table.to(np.int32))
    return g.named("stretched", g.gather(table, content))


def _spread(
    g: Graph, side: int, content: tuple[Tensor, Tensor], part: tuple[Tensor, Tensor], number: Tensor
) -> Tensor:
    """Returns each cell's weight for each pixel along an axis, as Pillow resizes float32; 0 outside the
    frame.
    """
    begin, extent = content
    cells = side / SIZE
    start = g.named("start", (begin.to(np.float64) * cells).to(np.float32))
    end = g.named("end", ((begin + extent).to(np.float64) * cells).to(np.float32))
    origin, length = part
    scale = g.named("scale", (end - start).to(np.float64) / length.to(np.float64))
    pixel = g.named("pixel", g.column(g.range(number) - origin))
    centre = g.named("centre", start.to(np.float64) + (pixel.to(np.float64) + 0.5) * scale)
    middle = g.constant(f"cell_middles_{side}", np.arange(side) + 0.5, np.float64)
    weights = g.maximum(1 - abs(middle - centre) / g.maximum(scale, 1), 0)
    weights = g.named("weights", weights)
    share = weights / g.maximum(g.total(weights, 1, keep=True), 1e-9)
    shown = (pixel >= 0) & (pixel < length)
    return g.named("shares", g.where(shown, share, 0).to(np.float32))
