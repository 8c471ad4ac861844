"""The self-contained files of a release, pictures for them, and what Falx itself answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from benchmarks.chosen_slices import chosen
from PIL import Image

import falx
from falx import phantom
from falx.model import file as model_file
from falx.model.tensor_spec import TensorSpec
from falx.prediction import Prediction
from falx.slices.reasons import REASONS
from falx.words import DISCLAIMER, LABELS
from falx_export.convert.onnx_format import IR_VERSION, OPSET
from falx_export.self_contained import onnx_file

CHECKOUT = Path(__file__).parents[2]
SUFFIX = "-self-contained.onnx"

SLICES = 50
"""The number of slices of the data, of all sources and labels in turn."""

IMAGE = TensorSpec("image", "uint8", (1, 224, 224, 1))
PLAIN = {
    spec.name: spec
    for spec in (
        TensorSpec("probabilities", "float32", (1, 4)),
        TensorSpec("heatmap", "float32", (1, 14, 14)),
        TensorSpec("familiarity", "float32", (1, 1)),
        TensorSpec("no_brain", "float32", (1, 1)),
    )
}
"""The input of a released graph, and the outputs that it may have."""

TOLERANCE = 0.01
"""The tolerance of a probability, and how near to a threshold a decision may differ, 0..1."""


@dataclass(frozen=True, eq=False)
class Model:
    """A self-contained file, and Falx with the plain file beside it."""

    path: Path
    falx: falx.Classifier
    _known: dict[Path, Prediction] = field(default_factory=dict)

    def expected(self, picture: Path) -> Prediction:
        """Returns what Falx answers."""
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
def int8(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The self-contained int8 file of the newest release, made of the plain one as the export makes it."""
    plain = _newest("-int8.onnx")
    card, graph = model_file.read(plain)
    path = tmp_path_factory.mktemp("int8") / onnx_file.file_name(plain.name)
    path.write_bytes(onnx_file.sealed(graph, card))
    return Model(path, falx.load(plain, engine="onnx"))


@pytest.fixture(scope="session")
def float32(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The self-contained float32 file of the newest release, and Falx with the graph that is in it."""
    path = _newest(f"-float32{SUFFIX}")
    card, payload = model_file.read(path)
    whole = onnx.load_from_string(payload).graph
    nodes = [node for node in whole.node if node.name.startswith("model/")]
    # Its input is the prepared tensor.
    outputs = {name: spec for name, spec in PLAIN.items() if name in card.outputs}
    names = {"centre/tensor": IMAGE.name} | {f"model/{name}": name for name in outputs}
    for node in nodes:
        for ends in (node.input, node.output):
            ends[:] = [names.get(end, end) for end in ends]
    used = {name for node in nodes for name in node.input}
    ends = [
        onnx.helper.make_tensor_value_info(
            spec.name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape
        )
        for spec in (IMAGE, *outputs.values())
    ]
    graph = onnx.helper.make_graph(
        nodes, "plain", ends[:1], ends[1:], [one for one in whole.initializer if one.name in used]
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    card = replace(card, self_contained=False, input=IMAGE, outputs=outputs)
    plain = tmp_path_factory.mktemp("float32") / path.name.replace(SUFFIX, ".onnx")
    plain.write_bytes(model_file.embed(model.SerializeToString(), card, format="onnx"))
    return Model(path, falx.load(plain, engine="onnx"))


def _newest(ending: str) -> Path:
    """The file of the newest release whose name ends so: that of falx-10 rather than of falx-9."""
    found = [path for path in CHECKOUT.glob("models/*/*") if path.name.endswith(ending)]
    if not found:
        pytest.skip(f"the checkout came without its models: models/ holds no *{ending}")
    numbers = {path: [int(number) for number in re.findall(r"\d+", path.parent.name)] for path in found}
    return max(found, key=numbers.__getitem__)


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
    folder = tmp_path_factory.mktemp("slices")
    for number, original in enumerate(originals):
        with Image.open(original) as image:
            image.save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(len(originals))]
