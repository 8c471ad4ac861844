"""The self-contained files of a release, pictures for them, and what Falx itself answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.examples import as_png, chosen
from PIL import Image

import falx
from falx import phantom
from falx.card import extract
from falx.prediction import Prediction
from falx.rejection import REASONS
from falx.words import DISCLAIMER, LABELS
from falx_export.self_contained import onnx_file

CHECKOUT = Path(__file__).parents[2]
SUFFIX = "-self-contained.onnx"

SLICES = 50
"""Of the data: slices of all sources and labels in turn."""

TOLERANCE = 0.01
"""Of a probability, and the distance to a threshold within which a decision may differ, 0..1."""


@dataclass(frozen=True, eq=False)
class Model:
    """A self-contained file, and Falx with the plain file beside it."""

    path: Path
    falx: falx.Classifier
    _known: dict[Path, Prediction] = field(default_factory=dict)

    def expected(self, picture: Path) -> Prediction:
        """What Falx answers."""
        if picture not in self._known:
            self._known[picture] = self.falx.predict(picture)
        return self._known[picture]

    def check(self, picture: Path, answer: dict[str, Any], tolerance: float = TOLERANCE) -> None:
        """Assert that an example's answer is Falx's."""
        expected = self.expected(picture)
        known = expected.probabilities or dict.fromkeys(LABELS, 0.0)
        assert answer["probabilities"] == pytest.approx(list(known.values()), abs=tolerance), picture
        code = None if answer["reason"] == 0 else list(REASONS)[answer["reason"] - 1]
        assert code == (expected.reason.code if expected.reason else None), picture
        if answer["decision"] == expected.decision:
            assert answer["confidence"] == pytest.approx(expected.confidence or 0.0, abs=tolerance), picture
        else:
            thresholds = self.falx.card.thresholds
            near = [label for label in LABELS if abs(thresholds[label] - known[label]) <= tolerance]
            assert near, f"{picture}: {answer['decision']}, Falx says {expected.decision}"

    def check_run(self, command: Sequence[str | Path], pictures: Sequence[Path]) -> None:
        """Assert that an example, run with this file on pictures, prints Falx's answers, a line each."""
        done = subprocess.run([*command, self.path, *pictures], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert DISCLAIMER in done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert [answer["path"] for answer in answers] == [str(picture) for picture in pictures]
        for picture, answer in zip(pictures, answers, strict=True):
            self.check(picture, answer)


@pytest.fixture(scope="session")
def int8() -> Model:
    """The self-contained int8 file of the newest release."""
    path = _newest(f"-int8{SUFFIX}")
    if path is None:
        pytest.skip(f"no model is released self-contained: models/ holds no *-int8{SUFFIX}")
    return Model(path, falx.load(path.with_name(path.name.replace(SUFFIX, ".onnx")), engine="onnx"))


@pytest.fixture(scope="session")
def float32(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same in float32; made of the plain file where the release does not hold it."""
    plain = _newest("-float32.onnx")
    if plain is None:
        pytest.skip("no model is released: models/ holds no *-float32.onnx")
    path = plain.with_name(onnx_file.file_name(plain.name))
    if not path.exists():
        card, graph = extract(plain.read_bytes())
        path = tmp_path_factory.mktemp("exported") / path.name
        path.write_bytes(onnx_file.sealed(graph, card))
    return Model(path, falx.load(plain, engine="onnx"))


def _newest(ending: str) -> Path | None:
    """The file of the newest release whose name ends so: that of falx-10 rather than of falx-9."""
    found = [path for path in CHECKOUT.glob("models/*/*") if path.name.endswith(ending)]
    numbers = {path: [int(number) for number in re.findall(r"\d+", path.parent.name)] for path in found}
    return max(found, key=numbers.__getitem__, default=None)


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """PNG files of the phantoms in several sizes and modes, and of what is no slice."""
    folder = tmp_path_factory.mktemp("drawings")
    clear, lesion = (Image.fromarray(draw()) for draw in (phantom.clear, phantom.lesion))
    noise = np.random.default_rng(4).integers(0, 256, (300, 400, 3), np.uint8)
    opaque = Image.new("L", lesion.size, 255)
    pictures = {
        "clear": clear,
        "lesion": lesion,
        "wide": lesion.resize((431, 280)),
        "tall": clear.resize((333, 512)),
        "small": lesion.resize((150, 150)),
        "rgb": lesion.convert("RGB"),
        "palette": clear.convert("P"),
        "opaque": Image.merge("RGBA", [lesion, lesion, lesion, opaque]),
        "gradient": Image.linear_gradient("L"),
        "tiny": lesion.resize((20, 20)),
        "noise": Image.fromarray(noise),
        "blank": Image.new("L", (256, 200), 90),
    }
    for name, image in pictures.items():
        image.save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in pictures]


@pytest.fixture(scope="session")
def originals() -> list[Path]:
    """Slices of patients, from the val split."""
    data = Path(os.environ.get("FALX_DATA", CHECKOUT.parent / "shared" / "data"))
    if not (data / "manifest.csv").exists():
        pytest.skip(f"needs the MRI data: no manifest.csv in {data} (set FALX_DATA)")
    return chosen(data, SLICES)


@pytest.fixture(scope="session")
def slices(originals: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same as PNG files, which all decoders read alike."""
    return as_png(originals, tmp_path_factory.mktemp("slices"))
