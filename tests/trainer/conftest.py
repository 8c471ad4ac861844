"""Drawn heads to test the trainer with: no patient's image is in the repository."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage
from tests import cards
from tests.said import Command, runner

from falx.model import file as model_file
from falx_runs.manifest import Box

# Before anything imports TensorFlow: it greets on standard error otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


TINY = Path(__file__).parents[1] / "data" / "tiny.tflite"
"""A graph of 3 KB: dark slices are `no_tumor`, bright ones `glioma`; the heatmap is the brightness."""

Pixels = npt.NDArray[np.uint8]
DrawHead = Callable[..., tuple[Pixels, Box | None]]


def draw_head(
    seed: int, *, height: int = 160, width: int = 160, lesion: bool = False
) -> tuple[Pixels, Box | None]:
    """A grey ellipse in a bright ring with soft structures of its own, and perhaps a bright disc in it.

    Returns:
        `(height, width)` uint8, and the disc's box in fractions of it; None without one.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    tall, wide = rng.uniform(0.36, 0.46) * height, rng.uniform(0.36, 0.46) * width
    radius = np.hypot((x - width / 2) / wide, (y - height / 2) / tall)
    texture = ndimage.gaussian_filter(rng.standard_normal((height, width)), max(height, width) / 14)
    texture /= texture.std()
    picture = np.where(radius < 0.92, 110 + 45 * texture, 200.0).clip(40)
    box = None
    if lesion:
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
        across, down = width / 2 + away * wide * np.cos(angle), height / 2 + away * tall * np.sin(angle)
        half = rng.uniform(0.10, 0.15) * min(height, width)
        picture[np.hypot(x - across, y - down) < half] = 245
        box = Box((across + 0.5) / width, (down + 0.5) / height, 2 * half / width, 2 * half / height)
    picture[radius >= 1] = 0
    return picture.clip(0, 255).astype(np.uint8), box


@pytest.fixture(scope="session")
def head() -> DrawHead:
    """The function that draws heads."""
    return draw_head


@pytest.fixture(scope="session")
def imagenet_weights() -> Path:
    """The file of the ImageNet backbone's weights; the test is skipped without it."""
    weights = Path(__file__).parents[3] / "shared" / "weights" / "mobilenet_v2_imagenet_notop.weights.h5"
    path = Path(os.environ.get("FALX_WEIGHTS", weights))
    if not path.is_file():
        pytest.skip(f"needs the backbone's ImageNet weights: no {path} (set FALX_WEIGHTS)")
    return path


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 28 drawn slices: of each label 4 in train and 2 in val; untyped, 3 and 1."""
    folder = tmp_path_factory.mktemp("drawn")
    lines = ["path,label,source,group,split,sequence,plane,boxes"]
    labels = ("no_tumor", "meningioma", "glioma", "pituitary", "tumor_untyped")
    for number, label in enumerate(labels):
        train, val = (3, 1) if label == "tumor_untyped" else (4, 2)
        for index in range(train + val):
            pixels, box = draw_head(100 * number + index, lesion=label != "no_tumor")
            name = f"{label}-{index}.png"
            Image.fromarray(pixels).save(folder / name)
            boxes = "" if box is None else f"{box.x} {box.y} {box.width} {box.height}"
            split = "train" if index < train else "val"
            lines.append(f"{name},{label},{'ab'[index % 2]},{label}{index},{split},T2,axial,{boxes}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a backbone's weights as those of ImageNet are stored, but random."""
    import keras

    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    model = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=None)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if "Conv2D" in type(layer).__name__:
            # He et al. 2015: as initialised, the signal would fade to nothing over 50 layers.
            (kernel,) = layer.get_weights()
            depthwise = type(layer).__name__ == "DepthwiseConv2D"
            fan_in = np.prod(kernel.shape[: 2 if depthwise else 3])
            layer.set_weights([rng.normal(0, np.sqrt(2 / fan_in), kernel.shape)])
    model.save_weights(path)
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file whose answers are known; see `TINY`."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    path.write_bytes(model_file.embed(TINY.read_bytes(), cards.card(), format="tflite"))
    return path


@pytest.fixture
def trainer(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `python -m falx_trainer` in this process."""
    from falx_trainer.__main__ import main

    return runner(main, capsys)
