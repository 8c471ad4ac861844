"""Draws pictures that are not brain MRI: noise, gradients, shapes, text, and films and scans of other organs.

They only have the look of what they are named after. All are grey; what is bright on black, and as large
as a head in its frame, is what a check for a dark background lets pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

__all__ = ["DRAWINGS", "SIDE", "ellipse", "in_head", "in_margin"]

SIDE: Final = 256
"""Height and width of a drawing, in pixels."""

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]
Draw = Callable[[np.random.Generator], Pixels]

SENTENCE: Final = (
    "the quick report of a slow afternoon says that nothing was seen which had not been seen before and "
    "lists seven numbers a date and the name of a street near the harbour where boats wait for rain"
)


def ellipse(height: int, width: int, rng: np.random.Generator, softness: float = 0.04) -> Floats:
    """Returns the outline of a head: 1 inside an ellipse about the middle, 0 outside, `(height, width)`.

    Args:
        height: of the picture, in pixels.
        width: the same.
        rng: where its size, place and turn come from.
        softness: width of its edge, as a fraction of its radius.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    side = min(height, width)
    wide, tall = rng.uniform(0.32, 0.42) * side, rng.uniform(0.38, 0.48) * side
    turn = rng.uniform(-0.3, 0.3)
    x, y = x - width / 2 - rng.uniform(-0.03, 0.03) * side, y - height / 2 - rng.uniform(-0.03, 0.03) * side
    across, down = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    radius = np.sqrt((across / wide) ** 2 + (down / tall) ** 2)
    inside: Floats = ((1 - radius) / softness + 0.5).clip(0, 1)
    return inside


def in_head(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Returns a grey picture seen through the outline of a head, black around, `(H, W)` uint8."""
    height, width = pixels.shape
    return _grey(pixels * ellipse(height, width, rng))


def in_margin(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Returns a grey picture with black margins of 8 to 20 % of its shorter side all around."""
    margin = round(rng.uniform(0.08, 0.20) * min(pixels.shape))
    return np.pad(pixels, margin)


def _grey(values: Floats) -> Pixels:
    pixels: Pixels = np.rint(values.clip(0, 255)).astype(np.uint8)
    return pixels


def _scaled(values: Floats) -> Floats:
    low, high = np.percentile(values, [0.5, 99.5])
    scaled: Floats = (values - low) * (255 / max(high - low, 1e-9))
    return scaled


def _grid() -> tuple[Floats, Floats]:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return x, y


def _normal(rng: np.random.Generator, scale: float) -> Floats:
    """Returns smooth noise of mean 0 and standard deviation 1; `scale` is its width in pixels."""
    values = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), scale, mode="wrap")
    return np.asarray(values / values.std(), np.float64)


# Noise.


def _uniform_noise(rng: np.random.Generator) -> Pixels:
    return rng.integers(0, 256, (SIDE, SIDE), np.uint8)


def _normal_noise(rng: np.random.Generator) -> Pixels:
    return _grey(rng.uniform(80, 170) + rng.uniform(20, 60) * _normal(rng, 0))


def _soft_noise(rng: np.random.Generator) -> Pixels:
    return _grey(128 + 55 * _normal(rng, rng.uniform(1.5, 12)))


def _pink_noise(rng: np.random.Generator) -> Pixels:
    """Draws noise whose amplitude falls with frequency, as it does in pictures of the world (Field 1987)."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    frequency[0, 0] = 1 / SIDE
    spectrum = np.fft.fft2(rng.normal(size=(SIDE, SIDE))) / frequency ** rng.uniform(0.8, 1.8)
    return _grey(_scaled(np.fft.ifft2(spectrum).real))


def _salt(rng: np.random.Generator) -> Pixels:
    return _grey(255.0 * (rng.random((SIDE, SIDE)) < rng.uniform(0.02, 0.5)))


def _speckle(rng: np.random.Generator) -> Pixels:
    """Draws the Rayleigh speckle of an ultrasound image over a slowly changing brightness."""
    amplitude = np.hypot(_normal(rng, 1.2), _normal(rng, 1.2))
    return _grey(60 * amplitude * (1 + 0.4 * _normal(rng, 30)).clip(0.1))


def _waves(rng: np.random.Generator) -> Pixels:
    x, y = _grid()
    total = np.zeros((SIDE, SIDE))
    for _ in range(rng.integers(1, 6)):
        angle, rate = rng.uniform(0, np.pi), rng.uniform(4, 60)
        total += np.sin(rate * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))
    return _grey(_scaled(total))


# Smooth pictures.


def _slope(rng: np.random.Generator) -> Pixels:
    x, y = _grid()
    angle = rng.uniform(0, 2 * np.pi)
    return _grey(_scaled(x * np.cos(angle) + y * np.sin(angle)))


def _glow(rng: np.random.Generator) -> Pixels:
    x, y = _grid()
    radius = np.hypot(x - rng.uniform(-0.2, 0.2), (y - rng.uniform(-0.2, 0.2)) * rng.uniform(0.8, 1.2))
    return _grey(255 * np.exp(-((radius / rng.uniform(0.4, 0.7)) ** rng.uniform(1.5, 6))))


def _clouds(rng: np.random.Generator) -> Pixels:
    x, y = _grid()
    total = np.zeros((SIDE, SIDE))
    for _ in range(rng.integers(2, 9)):
        across, down, size = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), rng.uniform(0.1, 0.5)
        total += rng.uniform(0.3, 1) * np.exp(-((x - across) ** 2 + (y - down) ** 2) / size**2)
    return _grey(_scaled(total))


# Shapes, text, graphs.


def _canvas(background: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (SIDE, SIDE), background)
    return image, ImageDraw.Draw(image)


def _shapes(rng: np.random.Generator) -> Pixels:
    image, draw = _canvas(0)
    for _ in range(rng.integers(3, 20)):
        x, y = rng.integers(30, SIDE - 30, 2)
        size, fill = rng.integers(8, 70), int(rng.integers(60, 256))
        box = (int(x - size), int(y - size * rng.uniform(0.4, 1)), int(x + size), int(y + size))
        kind = rng.integers(3)
        if kind == 0:
            draw.ellipse(box, fill)
        elif kind == 1:
            draw.rectangle(box, fill)
        else:
            corners = rng.integers(20, SIDE - 20, (rng.integers(3, 7), 2))
            draw.polygon([(int(across), int(down)) for across, down in corners], fill)
    return np.asarray(image)


def _rings(rng: np.random.Generator) -> Pixels:
    x, y = _grid()
    radius = np.hypot(x, y * rng.uniform(0.8, 1.2))
    rings = 128 + 100 * np.sign(np.sin(radius * rng.uniform(10, 50)))
    return _grey((rings + 8 * _normal(rng, 1)) * (radius < rng.uniform(0.7, 0.9)))


def _fruit(rng: np.random.Generator) -> Pixels:
    """Draws a sliced fruit on black: a rind, segments, a core."""
    x, y = _grid()
    radius, angle = np.hypot(x, y), np.arctan2(y, x) + rng.uniform(0, 6)
    flesh = 150 + 20 * _normal(rng, 2) + 25 * np.cos(radius * rng.uniform(15, 40))
    flesh = np.where(np.abs(np.sin(angle * rng.integers(3, 7))) < 0.08 / (radius + 0.05), 225, flesh)
    flesh = np.where(radius < rng.uniform(0.05, 0.2), 210, flesh)
    size = rng.uniform(0.65, 0.85)
    flesh = np.where(radius > size * 0.9, 235 if rng.random() < 0.5 else 70, flesh)
    return _grey(ndimage.gaussian_filter(flesh * (radius < size), 1.0))


def _text(rng: np.random.Generator) -> Pixels:
    dark = rng.random() < 0.5
    image, draw = _canvas(0 if dark else 255)
    size = int(rng.integers(9, 26))
    font = ImageFont.load_default(size)
    margin = int(rng.integers(8, 60))
    for top in range(margin, SIDE - margin, round(size * 1.3)):
        line = " ".join(rng.choice(SENTENCE.split(), 12))
        draw.text((margin, top), line[: (SIDE - 2 * margin) * 2 // size], 255 if dark else 0, font)
    return np.asarray(image)


def _graph(rng: np.random.Generator) -> Pixels:
    dark = rng.random() < 0.5
    image, draw = _canvas(0 if dark else 255)
    ink = 255 if dark else 0
    draw.line([(30, 20), (30, 225), (240, 225)], ink, 2)
    if rng.random() < 0.5:
        for left in range(40, 236, 24):
            draw.rectangle(
                (left, 225 - int(rng.integers(10, 190)), left + 17, 225), int(rng.integers(90, 200))
            )
    else:
        for _ in range(rng.integers(1, 4)):
            heights = 125 + np.cumsum(rng.normal(0, 9, 40))
            draw.line([(32 + 5 * i, float(h)) for i, h in enumerate(heights)], ink, 2)
    return np.asarray(image)


def _board(rng: np.random.Generator) -> Pixels:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    size = int(rng.integers(6, 50))
    board = np.where((x // size + y // size * int(rng.integers(0, 2))) % 2, 235, 20)
    return _grey(ndimage.rotate(board.astype(np.float64), rng.uniform(-40, 40), reshape=False, order=1))


# Films and scans of other organs.


def _blob(x: float, y: float, wide: float, tall: float, edge: float = 0.06) -> Floats:
    across, down = _grid()
    radius = np.sqrt(((across - x) / wide) ** 2 + ((down - y) / tall) ** 2)
    inside: Floats = ((1 - radius) / edge + 0.5).clip(0, 1)
    return inside


def _chest_film(rng: np.random.Generator) -> Pixels:
    x, y = _grid()
    body = _blob(0, 0.3, rng.uniform(0.78, 1.0), rng.uniform(1.1, 1.4), 0.15)
    film = 170 * body + 30 * _blob(0, -0.9, 0.22, 0.35, 0.3)
    top, wide, tall = rng.uniform(-0.15, 0.05), rng.uniform(0.27, 0.33), rng.uniform(0.55, 0.7)
    for side in (-1, 1):
        film -= rng.uniform(95, 125) * _blob(0.37 * side, top, wide, tall, 0.18)
    for place in np.arange(-0.7, 0.7, rng.uniform(0.13, 0.19)):
        rib = np.abs(y - place - 0.35 * np.abs(x) ** 1.5 + 0.08) < 0.022
        film += rng.uniform(14, 30) * rib * (np.abs(x) > 0.08) * (np.abs(x) < 0.72)
    film += 55 * np.exp(-((x / 0.075) ** 2))
    film += 60 * _blob(rng.uniform(0.08, 0.18), 0.3, rng.uniform(0.22, 0.34), 0.28, 0.3)
    film += 45 * _blob(-0.3, 0.95, 0.55, 0.42, 0.3)
    film = ndimage.gaussian_filter(film, 1.5) + 5 * _normal(rng, 0.6)
    return _grey(_scaled(film * (body > 0.05) if rng.random() < 0.7 else film))


def _bone(film: Floats, ends: tuple[float, float, float, float], width: float) -> Floats:
    """Adds a tube with a bright rim and wider ends to a film."""
    x, y = _grid()
    left, top, right, bottom = ends
    length = np.hypot(right - left, bottom - top)
    along = ((x - left) * (right - left) + (y - top) * (bottom - top)) / length**2
    away = np.abs((x - left) * (bottom - top) - (y - top) * (right - left)) / length
    radius = width * (0.7 + 1.2 * np.abs(along - 0.5) ** 2 * 2)
    inside = (along > 0) & (along < 1)
    tube: Floats = inside * (70 * (away < radius) + 75 * (np.abs(away - radius * 0.85) < radius * 0.16))
    return film + tube


def _hand_film(rng: np.random.Generator) -> Pixels:
    x, y = _grid()
    soft = np.maximum(_blob(0, 0.5, 0.42, 0.42), _blob(0, 0.9, 0.28, 0.4))
    film: Floats = np.zeros((SIDE, SIDE))
    for number, angle in enumerate(np.deg2rad([-38, -14, 0, 13, 28]) + rng.normal(0, 0.03)):
        reach = (0.75, 1.15, 1.25, 1.15, 0.95)[number] * rng.uniform(0.95, 1.05)
        across, down = float(np.sin(angle)), float(-np.cos(angle))
        joints = np.array([0.18, 0.55, 0.78, 1.0]) * reach
        for begin, end in zip(joints[:-1], joints[1:] - 0.03, strict=True):
            ends = (begin * across, 0.55 + begin * down, end * across, 0.55 + end * down)
            film = _bone(film, ends, 0.035)
        # The flesh of a finger: all within a distance of its line.
        along = (x * across + (y - 0.55) * down).clip(0.3, reach)
        away = np.hypot(x - along * across, y - 0.55 - along * down)
        soft = np.maximum(soft, ((0.085 - away) / 0.01 + 0.5).clip(0, 1))
    for _ in range(8):
        film += 90 * _blob(rng.uniform(-0.18, 0.18), rng.uniform(0.48, 0.7), 0.07, 0.06, 0.2)
    film = _bone(_bone(film, (-0.1, 0.75, -0.12, 1.1), 0.07), (0.12, 0.75, 0.13, 1.1), 0.06)
    return _grey(ndimage.gaussian_filter(75 * soft + film * (soft > 0.3), 1) + 4 * soft * _normal(rng, 0.7))


def _limb_film(rng: np.random.Generator) -> Pixels:
    turn = rng.uniform(-8, 8)
    soft = _blob(0, 0, rng.uniform(0.34, 0.5), 2.2)
    film: Floats = 80 * soft
    for ends in ((-0.12, -1.1, -0.1, 0.9), (0.14, -1.1, 0.16, 0.85)):
        film = _bone(film, ends, rng.uniform(0.07, 0.1))
    film += 60 * _blob(0, 0.95, 0.32, 0.14, 0.3)
    film = ndimage.rotate(ndimage.gaussian_filter(film, 1.2), turn, reshape=False, order=1)
    return _grey(film + 5 * _normal(rng, 0.7) * (film > 5))


def _fan(rng: np.random.Generator) -> Pixels:
    """Draws an ultrasound image: speckle within a sector, dark cysts, bright layers, shadows."""
    x, y = _grid()
    depth, angle = np.hypot(x, y + 1), np.arctan2(x, y + 1)
    spread = rng.uniform(0.45, 0.8)
    sector = (np.abs(angle) < spread) & (depth > rng.uniform(0.1, 0.4)) & (depth < rng.uniform(1.7, 1.95))
    tissue = 1 + 0.35 * _normal(rng, 14)
    tissue += 1.2 * np.exp(-(((depth - rng.uniform(0.6, 1.4) - 0.1 * np.sin(4 * angle)) / 0.03) ** 2))
    for _ in range(rng.integers(1, 4)):
        wide = rng.uniform(0.1, 0.3)
        tissue *= 1 - 0.9 * _blob(rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.5), wide, wide * 0.8, 0.15)
    speckle = np.hypot(_normal(rng, 1.1), _normal(rng, 1.1))
    return _grey(65 * sector * tissue.clip(0.05) * speckle * np.exp(-0.25 * depth))


def _trunk(rng: np.random.Generator) -> Pixels:
    """Draws a slice through chest or belly: fat, muscle, spine, organs or lungs, on black."""
    tall, wide = rng.uniform(0.5, 0.68), rng.uniform(0.78, 0.92)
    image = 75 * _blob(0, 0, wide, tall, 0.03)
    image += 70 * _blob(0, 0, wide - 0.09, tall - 0.09, 0.03)
    chest = rng.random() < 0.5
    for side in (-1, 1):
        if chest:
            image -= 125 * _blob(0.4 * side, -0.05, 0.3, tall - 0.2, 0.05)
        else:
            image += 60 * _blob(0.36 * side, 0.18, 0.12, 0.15, 0.08)
    if chest:
        image += 40 * _blob(0.1, -0.1, 0.25, 0.2, 0.1)
    else:
        image += 35 * _blob(-0.38, -0.1, 0.36, 0.3, 0.08)
        for _ in range(rng.integers(2, 6)):
            gas = rng.choice([-100, 50])
            image += gas * _blob(rng.uniform(-0.1, 0.6), rng.uniform(-0.35, 0), 0.1, 0.07, 0.2)
    image += 100 * _blob(0, tall - 0.26, 0.12, 0.1, 0.15)
    image -= 60 * _blob(0, tall - 0.16, 0.05, 0.05, 0.2)
    for angle in np.linspace(0.3, np.pi - 0.3, 9):
        for sign in (-1, 1):
            spot = (float((wide - 0.12) * np.cos(angle)), float(sign * (tall - 0.12) * np.sin(angle)))
            image += 90 * _blob(*spot, 0.06, 0.03, 0.3)
    body = _blob(0, 0, wide, tall, 0.03)
    return _grey((ndimage.gaussian_filter(image, 1) + rng.uniform(3, 9) * _normal(rng, 0.8)) * body)


def _knee(rng: np.random.Generator) -> Pixels:
    """Draws a joint: two bones with bright marrow and a dark gap between, muscle around, on black."""
    limb = _blob(0, 0, rng.uniform(0.55, 0.7), 1.5, 0.05)
    image = 90 * limb + 15 * limb * _normal(rng, 5)
    gap = rng.uniform(-0.1, 0.15)
    image += 95 * _blob(0, gap - 0.75, 0.38, 0.72, 0.05) + 95 * _blob(0, gap + 0.8, 0.4, 0.72, 0.05)
    image -= 70 * _blob(0, gap + 0.03, 0.42, 0.04, 0.3)
    image += 80 * _blob(0.52, gap - 0.2, 0.09, 0.22, 0.1)
    image = ndimage.rotate(image, rng.uniform(-12, 12), reshape=False, order=1)
    return _grey((ndimage.gaussian_filter(image, 1) + 5 * _normal(rng, 0.8)) * (image > 3))


DRAWINGS: Final[Mapping[str, Mapping[str, Draw]]] = {
    "noise": {
        "uniform": _uniform_noise,
        "normal": _normal_noise,
        "soft": _soft_noise,
        "pink": _pink_noise,
        "salt": _salt,
        "speckle": _speckle,
        "waves": _waves,
    },
    "gradients": {"slope": _slope, "glow": _glow, "clouds": _clouds},
    "shapes": {"shapes": _shapes, "rings": _rings, "fruit": _fruit},
    "pages": {"text": _text, "graph": _graph, "board": _board},
    "drawn chest films": {"chest": _chest_film},
    "drawn bones": {"hand": _hand_film, "limb": _limb_film},
    "drawn ultrasound": {"fan": _fan},
    "drawn bodies": {"trunk": _trunk, "knee": _knee},
}
"""The drawings by family and kind: each from a random generator, `(256, 256)` uint8."""
