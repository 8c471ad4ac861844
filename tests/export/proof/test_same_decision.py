"""An exported file and the run it is made of decide alike, on tags too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from falx import phantom
from falx.decision import DEFAULT_THRESHOLDS
from falx.model import file as model_file
from falx.model.card import Card
from falx.model.tensor_spec import TensorSpec
from falx.slices.limits import Limits
from falx.words import LABELS
from falx_runs.run_folder import FinishedRun, write_run
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


def always() -> Any:
    """A Keras model that answers the same for every picture."""
    import keras

    image = keras.Input((224, 224, 1), name="image")
    mean = keras.layers.GlobalAveragePooling2D()(image)
    labels = keras.layers.Dense(4, "softmax", kernel_initializer="zeros", name="probabilities")
    known = keras.layers.Dense(1, "sigmoid", kernel_initializer="zeros", name="familiarity")
    model = keras.Model(image, {"probabilities": labels(mean), "familiarity": known(mean)})
    labels.bias.assign(np.log(PROBABILITIES))
    known.bias.assign([np.log(FAMILIARITY / (1 - FAMILIARITY))])
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MeasuredModel]:
    """The run of that model, and the file that is exported from it."""
    from falx_export.convert import to_tflite

    folder = tmp_path_factory.mktemp("always")
    card = Card(
        name="always",
        version="1",
        license="Apache-2.0",
        intended_use="Tests.",
        thresholds=DEFAULT_THRESHOLDS,
        temperature=1.0,
        metrics={},
        provenance={},
        quantization={"format": "float16", "scheme": "weights"},
        outputs={
            "probabilities": TensorSpec("probabilities", "float32", (1, 4)),
            "familiarity": TensorSpec("familiarity", "float32", (1, 1)),
        },
        rejection=Limits(least_familiarity=0.5),
    )
    model = always()
    model.save(folder / "model.keras")
    write_run(
        FinishedRun(
            folder=folder,
            name="always",
            preset="default",
            temperature=1.0,
            thresholds=card.thresholds,
            least_familiarity=0.5,
            metrics={},
            seed=1,
            trainer="0.1.0",
            data={},
        )
    )
    file = folder / "always.tflite"
    file.write_bytes(model_file.embed(to_tflite.float16(model), card, format="tflite"))
    return {"run": load_model(folder), "file": load_model(file)}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A drawn lesion in a DICOM object with the tags of each case."""
    folder = tmp_path_factory.mktemp("objects")
    return [_written(folder / f"{name}.dcm", tags) for name, (tags, *_) in CASES.items()]


def _written(path: Path, tags: dict[str, Any]) -> Path:
    pixels = phantom.lesion()
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = "1.2.840.10008.5.1.4.1.1.4", "1.2.3", "MR"
    made.Rows, made.Columns = pixels.shape
    made.PixelSpacing = [0.9, 0.9]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OB"
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    pydicom.dcmwrite(path, made, enforce_file_format=True)
    return path


@pytest.mark.parametrize("kind", ["run", "file"])
def test_tags_reject_before_and_after_the_model(
    models: dict[str, MeasuredModel], objects: list[Path], kind: str
) -> None:
    found = models[kind].answers(objects)
    assert [(answer.decision, answer.reason) if answer else None for answer in found] == [
        (decision, reason) for _, decision, reason in CASES.values()
    ]


def test_the_run_and_its_file_answer_the_same_probabilities(
    models: dict[str, MeasuredModel], objects: list[Path]
) -> None:
    by_run, by_file = (models[kind].answers(objects)[-1] for kind in ("run", "file"))
    assert by_run is not None
    assert by_file is not None
    assert by_run.probabilities == pytest.approx(PROBABILITIES, abs=1e-3)
    assert by_file.probabilities == pytest.approx(PROBABILITIES, abs=1e-3)
    assert len(LABELS) == len(by_run.probabilities or ())
