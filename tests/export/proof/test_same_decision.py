"""An exported file and the run it is made of decide alike, on tags too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from tests.finished import finished
from tests.reading.dicom import made as dicom

from falx import phantom
from falx.model import file as model_file
from falx.model.card import Card, Format
from falx.slices.preprocessing import prepare
from falx.slices.reasons import REASONS
from falx.slices.slice import Slice
from falx.words import DECISIONS, LABELS
from falx_export import package
from falx_export.convert import to_onnx, to_tflite
from falx_export.package import Converted
from falx_export.self_contained import onnx_file, tflite_file
from falx_runs.run_folder import write_run
from falx_trainer.evaluation.answers import MeasuredModel
from falx_trainer.evaluation.evaluate import load_model

PROBABILITIES = (0.01, 0.01, 0.97, 0.01)
FAMILIARITY = 0.97
"""Below what a model must be sure of where the tags name another part of the body."""

CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "ct": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, "rejected", "not_mr"),
    "knee": ({"BodyPartExamined": "KNEE"}, "rejected", "other_body_part"),
    "localizer": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "rejected", "localizer"),
    "head": ({"BodyPartExamined": "HEAD"}, "glioma", ""),
}


def always(familiarity: float = FAMILIARITY, no_brain: float | None = None) -> Any:
    """A Keras model that answers the same for every picture."""

    image = keras.Input((224, 224, 1), name="image")
    mean = keras.layers.GlobalAveragePooling2D()(image)
    labels = keras.layers.Dense(4, "softmax", kernel_initializer="zeros", name="probabilities")
    outputs = {"probabilities": labels(mean)}
    for name, share in {"familiarity": familiarity, "no_brain": no_brain}.items():
        if share is not None:
            known = keras.layers.Dense(1, "sigmoid", kernel_initializer="zeros", name=name)
            outputs[name] = known(mean)
            known.bias.assign([np.log(share / (1 - share))])
    labels.bias.assign(np.log(PROBABILITIES))
    return keras.Model(image, outputs)


def described(model: Any, folder: Path) -> Card:
    """Writes the run of a model into a folder, and returns the card of its files."""
    model.save(folder / "model.keras")
    run = finished(folder, least_familiarity=0.5)
    write_run(run)
    return package.card(run, model, Converted(b"", "tflite", "float16", "weights"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MeasuredModel]:
    """The run of that model, and the file that is exported from it."""

    folder = tmp_path_factory.mktemp("always")
    model = always()
    card = described(model, folder)
    file = folder / "always.tflite"
    file.write_bytes(model_file.embed(to_tflite.float16(model), card, format="tflite"))
    return {"run": load_model(folder), "file": load_model(file)}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A drawn lesion in a DICOM object with the tags of each case."""
    paths = [tmp_path_factory.mktemp("objects") / f"{name}.dcm" for name in CASES]
    for path, (tags, *_) in zip(paths, CASES.values(), strict=True):
        path.write_bytes(dicom.written(dicom.dataset(phantom.lesion(), PixelSpacing=[0.9, 0.9], **tags)))
    return paths


@pytest.mark.parametrize("kind", ["run", "file"])
def test_tags_reject_before_and_after_the_model(
    models: dict[str, MeasuredModel], objects: list[Path], kind: str
) -> None:
    found = models[kind].answers(objects)
    assert [(answer.decision, answer.reason) if answer else None for answer in found] == [
        (decision, reason) for _, decision, reason in CASES.values()
    ]


@pytest.mark.parametrize(
    ("familiarity", "no_brain", "reason"), [(0.2, 0.7, "no_brain"), (0.4, 0.1, "unfamiliar"), (0.6, 0.4, "")]
)
def test_a_head_without_brain_is_one_to_the_run_and_to_every_file(
    tmp_path: Path, familiarity: float, no_brain: float, reason: str
) -> None:

    model = always(familiarity, no_brain)
    card = described(model, tmp_path)
    graphs: dict[Format, bytes] = {"tflite": to_tflite.float16(model), "onnx": to_onnx.float32(model)}
    picture = tmp_path / "lesion.png"
    Image.fromarray(phantom.lesion()).save(picture)
    for kind, graph in graphs.items():
        (tmp_path / f"always.{kind}").write_bytes(model_file.embed(graph, card, format=kind))
    wanted = "rejected" if reason else "glioma"
    for name in (".", "always.tflite", "always.onnx"):
        (answer,) = load_model(tmp_path / name).answers([picture])
        assert answer is not None
        assert (answer.decision, answer.reason) == (wanted, reason), name
    got = onnx_file.started(onnx_file.sealed(graphs["onnx"], card))(phantom.lesion()[..., np.newaxis])
    assert ["", *REASONS][int(got["reason"])] == reason
    assert onnx_file.contradiction(got, Slice(phantom.lesion()), card) == ""
    assert got["no_brain"] == pytest.approx(no_brain, abs=1e-3)
    own_card, payload = model_file.extract(tflite_file.sealed(graphs["tflite"], card))
    got = tflite_file.answers(payload, prepare(phantom.lesion())[0][np.newaxis, ..., np.newaxis], title="")
    assert list(own_card.outputs)[-2:] == ["familiarity", "no_brain"]
    assert got["no_brain"].item() == pytest.approx(no_brain, abs=1e-3)
    assert DECISIONS[got["decision"].item()] == wanted


def test_the_run_and_its_file_answer_the_same_probabilities(
    models: dict[str, MeasuredModel], objects: list[Path]
) -> None:
    by_run, by_file = (models[kind].answers(objects)[-1] for kind in ("run", "file"))
    assert by_run is not None
    assert by_file is not None
    assert by_run.probabilities == pytest.approx(PROBABILITIES, abs=1e-3)
    assert by_file.probabilities == pytest.approx(PROBABILITIES, abs=1e-3)
    assert len(LABELS) == len(by_run.probabilities or ())
