"""Draws pictures that are not slices of a head, or makes them from slices, for the output that tells them.

A classifier answers whatever it is shown, and with confidence (Nguyen et al. 2015, arXiv:1412.1897).
Shown outliers in training, it learns to tell them, and others of kinds it was never shown
(Hendrycks et al. 2019, arXiv:1812.04606). None of these is a photograph: dead leaves and noise with
a spectrum of 1/f have the statistics of one (Lee, Mumford & Huang 2001, doi 10.1023/A:1011109015675).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import fft, ndimage

from falx.slices.preprocessing import SIZE, prepare
from falx_runs.arrays import Float64s, Pixels


def draw_outlier(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Draws a picture that is no slice of a head, some from a slice, and prepares it as any picture is."""
    picture = KINDS[int(rng.integers(len(KINDS)))](pixels, rng)
    if rng.random() < 0.4:
        picture = _surrounded(picture, rng)
    if rng.random() < 0.15:
        picture = 255 - picture
    prepared, _ = prepare(np.ascontiguousarray(picture))
    return prepared


def _scaled(values: Float64s) -> Pixels:
    low, high = np.quantile(values, [0.002, 0.998])
    levels: Pixels = np.rint(((values - low) / max(high - low, 1e-9)).clip(0, 1) * 255).astype(np.uint8)
    return levels


def _grey(values: Float64s) -> Pixels:
    return values.clip(0, 255).astype(np.uint8)


def _around(x: float, y: float, across: float, down: float) -> tuple[float, float, float, float]:
    """Returns the rectangle around a place, as Pillow draws within it."""
    return x - across, y - down, x + across, y + down


def _noise(_pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Draws noise that falls with a power of the frequency: 0 white, 1 as in photographs, 2 clouds."""
    across, down = np.fft.rfftfreq(SIZE), np.fft.fftfreq(SIZE)
    frequency = np.hypot(across[None, :], down[:, None])
    frequency[0, 0] = 1 / SIZE
    spectrum = rng.standard_normal((*frequency.shape, 2)) @ np.array([1, 1j])
    return _scaled(fft.irfft2(spectrum / frequency ** rng.uniform(0, 2.2), (SIZE, SIZE)))


def _scrambled(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Gives the spectrum of a slice the phases of noise."""
    spectrum = np.abs(fft.rfft2(pixels.astype(np.float64)))
    phases = fft.rfft2(rng.standard_normal((SIZE, SIZE)))
    return _scaled(fft.irfft2(spectrum * np.exp(1j * np.angle(phases)), (SIZE, SIZE)))


def _shuffled(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Puts the tiles of a slice into another order."""
    count = int(rng.choice([2, 4, 7, 8, 14]))
    side = SIZE // count
    tiles = pixels.reshape(count, side, count, side).swapaxes(1, 2).reshape(-1, side, side)
    order = rng.permutation(len(tiles))
    return tiles[order].reshape(count, count, side, side).swapaxes(1, 2).reshape(SIZE, SIZE)


def _sheet(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Makes a contact sheet."""
    count = int(rng.integers(2, 6))
    side = SIZE // count
    small = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
    sheet = np.zeros((SIZE, SIZE), np.uint8)
    for row, column in np.ndindex(count, count):
        tile = np.rot90(small, int(rng.integers(4)))
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
    return sheet


def _closeup(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Cuts out tissue without a head around it."""
    side = int(rng.integers(30, 70))
    left, top = rng.integers(60, SIZE - 60 - side + 1, 2)
    part = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(part.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _leaves(_pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Draws dead leaves: shapes of all sizes that hide one another, as things in a photograph do."""
    image = Image.new("L", (SIZE, SIZE), int(rng.integers(256)))
    draw = ImageDraw.Draw(image)
    kind = int(rng.integers(3))
    for _ in range(int(rng.integers(30, 400))):
        # Radii with a density of r**-3, which makes the picture the same at every scale.
        radius = min(4 / math.sqrt(rng.random() + 1e-3), 90)
        x, y = rng.uniform(0, SIZE, 2)
        level = int(rng.integers(256))
        flat = rng.uniform(0.3, 1.0)
        if kind < 2:
            (draw.ellipse, draw.rectangle)[kind](_around(x, y, radius, radius * flat), fill=level)
        else:
            angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 8))))
            corners = [(x + radius * math.cos(a), y + radius * flat * math.sin(a)) for a in angles]
            draw.polygon(corners, fill=level)
    values = np.asarray(image, np.float64)
    if rng.random() < 0.7:
        # Light falls unevenly, and a lens is never quite sharp.
        ramp = np.linspace(rng.uniform(0.3, 1), rng.uniform(0.3, 1), SIZE)
        values = values * (ramp[None, :] if rng.random() < 0.5 else ramp[:, None])
        values = values + rng.standard_normal((SIZE, SIZE)) * rng.uniform(0, 12)
    return _grey(values)


def _lines(_pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Draws text, charts and screens: straight strokes on an even ground."""
    ground, ink = (0, 255) if rng.random() < 0.5 else (int(rng.integers(150, 256)), int(rng.integers(80)))
    image = Image.new("L", (SIZE, SIZE), ground)
    draw = ImageDraw.Draw(image)
    step = int(rng.integers(6, 28))
    if rng.random() < 0.5:
        for top in range(int(rng.integers(step)), SIZE, step):
            x = int(rng.integers(4, 30))
            while x < SIZE - 10:
                width = int(rng.integers(2, step + 2))
                filled = rng.random() < 0.5
                draw.rectangle((x, top, x + width, top + step // 2), ink if filled else None, ink)
                x += width + int(rng.integers(1, step))
    else:
        for _ in range(int(rng.integers(4, 40))):
            points = rng.uniform(0, SIZE, (int(rng.integers(2, 5)), 2))
            draw.line([tuple(point) for point in points], ink, int(rng.integers(1, 6)))
    return np.asarray(image)


def _body(_pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Draws other parts of a body, roughly: a trunk with two dark fields and ribs, limbs, an abdomen."""
    image = Image.new("L", (SIZE, SIZE), 0)
    draw = ImageDraw.Draw(image)
    centre, level = SIZE / 2, int(rng.integers(90, 230))
    kind = int(rng.integers(3))
    if kind == 0:
        wide, high = rng.uniform(85, 112), rng.uniform(85, 112)
        draw.rounded_rectangle(_around(centre, centre, wide, high), 50, fill=level)
        for side in (-1, 1):
            x, across, down = centre + side * rng.uniform(36, 50), rng.uniform(22, 36), rng.uniform(50, 85)
            draw.ellipse(_around(x, centre, across, down), fill=int(level * rng.uniform(0.1, 0.4)))
        for rib in range(int(rng.integers(0, 9))):
            y = centre - 70 + rib * rng.uniform(14, 20)
            bone = min(level + 25, 255)
            draw.arc((centre - 80, y, centre + 80, y + 60), 180, 360, bone, int(rng.integers(2, 6)))
        draw.rectangle(_around(centre, centre, 9, high), fill=min(level + 20, 255))
    elif kind == 1:
        for _ in range(int(rng.integers(1, 6))):
            ends = [tuple(end) for end in rng.uniform(10, SIZE - 10, (2, 2))]
            width = int(rng.integers(8, 46))
            draw.line(ends, level, width)
            draw.line(ends, min(level + 25, 255), max(width // 3, 1))
    else:
        wide, high = rng.uniform(95, 112), rng.uniform(60, 85)
        draw.ellipse(_around(centre, centre, wide, high), fill=level)
        for _ in range(int(rng.integers(4, 16))):
            x, y = centre + rng.uniform(-0.7, 0.7) * wide, centre + rng.uniform(-0.7, 0.7) * high
            radius = rng.uniform(5, 32)
            draw.ellipse(_around(x, y, radius, radius * 0.7), fill=int(rng.integers(20, 256)))
    values = np.asarray(image, np.float64)
    texture = _noise(_pixels, rng).astype(np.float64) - 128
    return _grey(np.where(values > 0, values + texture * rng.uniform(0.05, 0.5), 0))


def _warped(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Lets the anatomy of a slice run: the tissue and the dark surround of a head, without its shape."""
    coarse = rng.standard_normal((2, 5, 5)) * rng.uniform(20, 32)
    field = np.stack([ndimage.zoom(part, SIZE / 5, order=3) for part in coarse])
    places = np.mgrid[:SIZE, :SIZE] + field
    warped: Pixels = ndimage.map_coordinates(pixels, places, order=1)
    return warped


def _organs(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Puts the tissue of a slice into the outlines of something else."""
    picture = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(int(rng.integers(2, 9))):
        across, down = rng.uniform(18, 90, 2)
        inside = _ellipse(rng.uniform(30, SIZE - 30, 2), across, down) < 1
        shift = rng.integers(-60, 61, 2)
        tissue = np.roll(np.rot90(pixels, int(rng.integers(4))), shift, (0, 1))
        picture[inside] = (tissue[inside] * rng.uniform(0.4, 1.0)).astype(np.uint8)
    return picture


def _ellipse(
    centre: npt.NDArray[np.float64], across: float, down: float, turn: float = 0.0
) -> npt.NDArray[np.float64]:
    """Returns the squared distance from the centre of an ellipse, 1 on its outline; `(224, 224)`."""
    y, x = np.mgrid[:SIZE, :SIZE] - centre[::-1, None, None]
    along, aside = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    squared: npt.NDArray[np.float64] = (along / across) ** 2 + (aside / down) ** 2
    return squared


def _radiograph(_pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Draws a film: rays through ellipsoids, weakened by the length they go through each (Beer-Lambert)."""
    middle = np.full(2, SIZE / 2) + rng.uniform(-12, 12, 2)

    def thickness(offset: tuple[float, float], across: float, down: float, turn: float = 0.0) -> Float64s:
        return np.sqrt(np.clip(1 - _ellipse(middle + np.array(offset), across, down, turn), 0, None))

    wide, high = rng.uniform(70, 125), rng.uniform(85, 150)
    density = 1.2 * thickness((0, rng.uniform(0, 30)), wide, high)
    if rng.random() < 0.7:  # a chest
        apart, lung = rng.uniform(0.35, 0.5) * wide, rng.uniform(0.45, 0.7) * high
        air = rng.uniform(0.5, 0.95)
        for side in (-1, 1):
            lean = side * rng.uniform(0.05, 0.25)
            density -= air * thickness(
                (side * apart, -10), rng.uniform(0.28, 0.4) * wide, lung * rng.uniform(0.85, 1), lean
            )
        density += rng.uniform(0.3, 0.8) * thickness((rng.uniform(5, 25), 30), 32, 28, 0.5)
        y, x = np.mgrid[:SIZE, :SIZE] - middle[::-1, None, None]
        for rib in range(int(rng.integers(5, 12))):
            line = y + high * 0.7 - rib * high * 0.15 - (x / wide) ** 2 * rng.uniform(20, 40)
            density += rng.uniform(0.05, 0.2) * np.exp(-((line / rng.uniform(2, 4)) ** 2)) * (abs(x) < wide)
        density += rng.uniform(0.2, 0.6) * np.exp(-((x / rng.uniform(6, 12)) ** 2))
    else:  # limbs: bones with a dense shell in soft tissue
        density *= 0.3
        turn = rng.uniform(0, math.pi)
        for _ in range(int(rng.integers(1, 6))):
            offset = tuple(rng.uniform(-60, 60, 2))
            bone, flesh = rng.uniform(5, 16), rng.uniform(1.5, 3.5)
            density += 0.5 * thickness(offset, SIZE, bone * flesh, turn)
            density += thickness(offset, SIZE, bone, turn) - 0.6 * thickness(offset, SIZE, bone * 0.6, turn)
            turn += rng.uniform(-0.2, 0.2)
    film = 1 - np.exp(-rng.uniform(1.0, 2.5) * density.clip(0, None))
    grain = rng.standard_normal((SIZE, SIZE)) * rng.uniform(0, 0.04)
    return _scaled(ndimage.gaussian_filter(film, rng.uniform(0.3, 2.0)) + grain)


def _tomogram(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Draws a slice through a trunk: skin, fat and muscle in layers, bone, organs with a slice's tissue."""
    middle = np.full(2, SIZE / 2)
    across = rng.uniform(85, 108)
    down = across * rng.uniform(0.5, 0.95)
    levels = rng.permutation(np.linspace(30, 230, 7)) * rng.uniform(0.6, 1.0)
    body = _ellipse(middle, across, down)
    # No outline of a body is an ellipse.
    coarse = ndimage.zoom(rng.standard_normal((6, 6)), SIZE / 6 + 0.01, order=3)[:SIZE, :SIZE]
    body = body * (1 + 0.12 * coarse)
    picture = np.zeros((SIZE, SIZE))
    outline = 1.0
    for level in levels[: int(rng.integers(2, 5))]:
        picture[body < outline] = level
        outline *= rng.uniform(0.6, 0.95)
    tissue = np.rot90(pixels, int(rng.integers(4)))
    for _ in range(int(rng.integers(3, 14))):
        place = middle + rng.uniform(-0.7, 0.7, 2) * (across, down)
        radius = rng.uniform(5, 34)
        organ = _ellipse(place, radius, radius * rng.uniform(0.5, 1), rng.uniform(0, math.pi))
        inside = (organ * (1 + 0.2 * coarse) < 1) & (body < 0.85)
        level, contrast = rng.uniform(0, 255), rng.uniform(0, 0.6)
        moved = np.roll(tissue, rng.integers(-50, 51, 2), (0, 1))
        picture = np.where(inside, level + contrast * (moved - 90.0), picture)
    spine = middle + np.array([rng.uniform(-6, 6), down * rng.uniform(0.3, 0.6)])
    vertebra, bright = rng.uniform(12, 22), rng.uniform(0, 255)
    picture[_ellipse(spine, vertebra, vertebra * 0.8) < 1] = bright
    picture[_ellipse(spine + np.array([0, vertebra]), 6, 5) < 1] = 255 - bright
    if rng.random() < 0.3:  # the table
        ring = _ellipse(middle - np.array([0, 160]), 230, 268)
        picture[(abs(ring - 1) < rng.uniform(0.01, 0.03)) & (body > 1.05)] = rng.uniform(80, 255)
    picture = ndimage.gaussian_filter(picture, rng.uniform(0.4, 1.4))
    picture += rng.standard_normal((SIZE, SIZE)) * rng.uniform(0, 14) * (picture > 8)
    return np.rot90(_grey(picture), int(rng.integers(4))) if rng.random() < 0.5 else _grey(picture)


def _computed_tomogram(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Draws a head as X-rays show it: the skull white, closed and thick, and the brain within nearly flat."""
    head = ndimage.binary_fill_holes(pixels > 25)
    depth = ndimage.distance_transform_edt(head)
    scalp, skull = rng.uniform(2, 9), rng.uniform(5, 13)
    brain = depth > scalp + skull
    level, window = rng.uniform(30, 190), rng.uniform(0, 0.25)
    values = np.where(head, rng.uniform(20, 150), rng.uniform(0, 100) if rng.random() < 0.3 else 0)
    values = np.where((depth > scalp) & ~brain, rng.uniform(215, 255), values)
    smooth = ndimage.gaussian_filter(pixels.astype(np.float64), rng.uniform(0.5, 2))
    inner = level + window * (smooth - (smooth[brain].mean() if brain.any() else 0)) * rng.choice([-1, 1])
    values = np.where(brain, inner + rng.standard_normal((SIZE, SIZE)) * rng.uniform(0, 25), values)
    for _ in range(int(rng.integers(0, 5))):  # air and bone of the skull's base
        place = np.full(2, SIZE / 2) + rng.uniform(-60, 60, 2)
        hole = _ellipse(place, rng.uniform(4, 20), rng.uniform(4, 14), rng.uniform(0, math.pi))
        values[(hole < 1.6) & brain] = 250
        values[(hole < 1) & brain] = rng.choice([0, level])
    if rng.random() < 0.5:  # the head's holder
        ring = _ellipse(np.full(2, SIZE / 2), rng.uniform(104, 111), rng.uniform(104, 111))
        arc = np.mgrid[:SIZE, :SIZE][0] < rng.uniform(60, 160)
        values[(abs(ring - 1) < 0.03) & arc & ~head] = rng.uniform(60, 200)
    return _grey(ndimage.gaussian_filter(values, rng.uniform(0.3, 1.0)))


def _surrounded(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Cuts a picture to an ellipse on black: a dark surround alone does not make a head."""
    y, x = np.ogrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    inside = np.hypot(x / rng.uniform(0.6, 1.0), y / rng.uniform(0.6, 1.0)) < 1
    return np.where(inside, picture, 0).astype(np.uint8)


KINDS: Final[tuple[Callable[[Pixels, np.random.Generator], Pixels], ...]] = (
    _noise,
    _scrambled,
    _shuffled,
    _sheet,
    _closeup,
    _leaves,
    _leaves,
    _lines,
    _body,
    _body,
    _warped,
    _warped,
    _organs,
    _radiograph,
    _radiograph,
    _tomogram,
    _tomogram,
    _computed_tomogram,
)
"""The pictures that are drawn, each as likely; those that vary most, or are nearest to a head, come twice."""
