"""Varies training images: in geometry, and as other scanners would have shown the same head."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy import fft, ndimage

from falx.slices.preprocessing import SIZE
from falx_runs.arrays import Pixels
from falx_trainer.data.tensors import Boxes
from falx_trainer.training.recipe import Augmentation


def augment(
    pixels: Pixels,
    boxes: Boxes,
    settings: Augmentation,
    rng: np.random.Generator,
    other: Callable[[], Pixels] | None = None,
) -> tuple[Pixels, Boxes]:
    """Varies one image, at most 224 x 224, and moves the boxes of its tumours with it.

    Args:
        pixels: `(S, S)`.
        boxes: in tensor pixels.
        settings: how far.
        rng: the only source of chance.
        other: gives another slice, whose spectrum may be mixed in.
    """
    if settings.spectrum and other is not None and rng.random() < settings.spectrum:
        pixels = _mix_spectrum(pixels, other(), rng)
    if settings.strip and rng.random() < settings.strip:
        pixels = _strip(pixels, boxes, rng)
    pixels, boxes = _move(pixels, boxes, settings, rng)
    if settings.blur and rng.random() < 0.5:
        radius = rng.uniform(0.2, 1.0) * settings.blur * len(pixels) / SIZE
        pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))
    pixels = _levels(settings, rng)[pixels]
    return _field_and_noise(pixels, settings, rng), boxes


def _mix_spectrum(pixels: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Mixes coarse amplitudes of another slice in and keeps the phases: another scanner, the same anatomy.

    Yang & Soatto 2020, FDA, arXiv:2004.05498.
    """
    mine = fft.rfft2(pixels.astype(np.float32))
    reach = round(rng.uniform(0.005, 0.03) * len(pixels))
    share = rng.uniform(0.2, 1.0)
    theirs = np.abs(fft.rfft2(other.astype(np.float32)))
    rows = np.r_[0 : reach + 1, -reach:0] if reach else np.array([0])
    block = np.ix_(rows, np.arange(reach + 1))
    amplitude = np.abs(mine[block])
    mine[block] *= 1 + share * (theirs[block] / np.maximum(amplitude, 1e-3) - 1)
    mixed = fft.irfft2(mine, pixels.shape)
    # The air around a head stays black.
    shown = np.where(pixels > 8, mixed, pixels)
    result: Pixels = np.rint(shown.clip(0, 255)).astype(np.uint8)
    return result


def _move(
    pixels: Pixels, boxes: Boxes, settings: Augmentation, rng: np.random.Generator
) -> tuple[Pixels, Boxes]:
    angle = math.radians(rng.uniform(-settings.rotation, settings.rotation))
    zoom = math.exp(rng.uniform(math.log(settings.zoom_min), math.log(settings.zoom_max)))
    shear = rng.uniform(-settings.shear, settings.shear)
    side = len(pixels)
    shift = rng.uniform(-settings.shift, settings.shift, 2) * side
    mirror = -1.0 if rng.random() < settings.flip else 1.0
    cos, sin = math.cos(angle), math.sin(angle)
    forward = zoom * np.array([[cos, -sin], [sin, cos]]) @ np.array([[mirror, shear], [0.0, 1.0]])
    # Coordinates count from the outer corner of the first pixel, as those of boxes do, and Pillow's,
    # which asks where each output pixel comes from.
    centre = np.full(2, side / 2)
    offset = centre + shift - forward @ centre
    back = np.linalg.inv(forward)
    constant = -back @ offset
    moved = Image.fromarray(pixels).transform(
        (side, side),
        Image.Transform.AFFINE,
        (back[0, 0], back[0, 1], constant[0], back[1, 0], back[1, 1], constant[1]),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(moved), _move_boxes(boxes, forward, offset, side)


def _move_boxes(
    boxes: Boxes, forward: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], side: int
) -> Boxes:
    if not len(boxes):
        return boxes
    left, top, right, bottom = boxes.T
    corners = np.stack(
        [np.stack([left, right, left, right], 1), np.stack([top, top, bottom, bottom], 1)], axis=-1
    )
    moved = corners @ forward.T + offset
    # The rectangle around a turned rectangle is too large; the one of the same centre and the
    # extent of its inscribed ellipse fits a round lesion.
    centre = moved.mean(axis=1)
    half = np.stack([right - left, bottom - top], 1) / 2
    extent = np.sqrt(half**2 @ (forward**2).T)
    rectangles: Boxes = np.concatenate([centre - extent, centre + extent], 1).clip(0, side).astype(np.float32)
    return rectangles


def _levels(settings: Augmentation, rng: np.random.Generator) -> Pixels:
    """Returns a table from old grey level to new: brightness, gamma, now and then other tissue contrast."""
    level = np.linspace(0.0, 1.0, 256)
    if settings.tone_curve and rng.random() < settings.tone_curve:
        # Another sequence shows the same tissues in another order of brightness; air stays black.
        knots = np.array([0.0, 0.08, 0.3, 0.5, 0.7, 0.85, 1.0])
        values = np.concatenate([[0.0, 0.08], rng.uniform(0.15, 1.0, len(knots) - 2)])
        level = np.interp(level, knots, values)
    level = level ** math.exp(rng.uniform(-settings.gamma, settings.gamma))
    level = level * rng.uniform(settings.brightness_min, settings.brightness_max)
    table: Pixels = np.rint(level.clip(0, 1) * 255).astype(np.uint8)
    return table


def _field_and_noise(pixels: Pixels, settings: Augmentation, rng: np.random.Generator) -> Pixels:
    bias = settings.bias_field and rng.random() < 0.5
    noise = settings.noise and rng.random() < 0.5
    if not bias and not noise:
        return pixels
    varied = pixels.astype(np.float32)
    if bias:
        axis = np.linspace(-1.0, 1.0, len(pixels), dtype=np.float32)
        # A coil's sensitivity falls off smoothly: the exponential of a quadratic in x times one in y.
        across, down = (
            np.exp(rng.uniform(-0.5, 0.5) * settings.bias_field * (axis - rng.uniform(-0.5, 0.5)) ** power)
            for power in rng.integers(1, 3, 2)
        )
        varied *= down[:, None] * across[None, :]
    if noise:
        # Magnitude images have Rician noise (Gudbjartsson & Patz 1995): the modulus of a complex sum.
        sigma = np.float32(rng.uniform(0, settings.noise))
        real, imaginary = rng.standard_normal((2, *pixels.shape), np.float32) * sigma
        varied = np.hypot(varied + real, imaginary)
    rounded: Pixels = np.rint(varied.clip(0, 255)).astype(np.uint8)
    return rounded


def _strip(pixels: Pixels, boxes: Boxes, rng: np.random.Generator) -> Pixels:
    """Takes away the rim of the head, as brain extraction does, unless a tumour lies in it."""
    head = ndimage.binary_fill_holes(pixels[::2, ::2] > 25)
    depth = ndimage.distance_transform_cdt(head)
    inner = np.repeat(np.repeat(depth > rng.uniform(0.05, 0.11) * len(pixels) / 2, 2, 0), 2, 1)
    if inner.mean() < 0.15:
        return pixels
    for left, top, right, bottom in boxes.clip(0, len(pixels)).astype(int):
        tumor = inner[top:bottom, left:right]
        if tumor.size and tumor.mean() < 0.7:
            return pixels
    return np.where(inner, pixels, 0).astype(np.uint8)
