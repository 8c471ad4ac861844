"""The standard metadata, read by those who wrote the standard."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from falx.model import retarget
from falx.model.file import embed, extract
from falx.words import LABELS
from falx_export.convert import flatbuffer, tflite_metadata
from falx_export.errors import ConversionError
from falx_export.self_contained import tflite_file


@pytest.fixture(scope="module")
def schema() -> Any:
    """MediaPipe's reader of the standard."""
    return pytest.importorskip(
        "mediapipe.tasks.metadata.metadata_schema_py_generated",
        reason="MediaPipe judges the metadata: pip install --group mediapipe",
    )


def entry(data: bytes) -> bytes:
    """The metadata in a file, as they are."""
    document = flatbuffer.parsed(data)
    (found,) = [one for one in document.metadata if one.name == b"TFLITE_METADATA"]
    return bytes(document.buffers[found.buffer].data)


def metadata(data: bytes, schema: Any) -> Any:
    content = entry(data)
    assert schema.ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
    return schema.ModelMetadataT.InitFromPackedBuf(content, 0)


def classified(data: bytes, pixels: Iterable[tuple[int, ...]]) -> list[list[tuple[str, float]]]:
    """Returns what MediaPipe names for images whose first pixels are these."""
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    options = ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=data))
    answers = []
    with ImageClassifier.create_from_options(options) as classifier:
        for values in pixels:
            image = np.zeros((224, 224, 3), np.uint8)
            image[0, :4] = np.array(values)[:, np.newaxis]
            result = classifier.classify(Image(image_format=ImageFormat.SRGB, data=image))
            answers.append([(x.category_name, x.score) for x in result.classifications[0].categories])
    return answers


@pytest.fixture(scope="module")
def file(pixel_model: bytes, pixel_card: Any) -> bytes:
    return embed(tflite_metadata.described(pixel_model, pixel_card), pixel_card, format="tflite")


def test_it_names_the_model_and_every_tensor(file: bytes, pixel_card: Any, schema: Any) -> None:
    found = metadata(file, schema)
    assert (found.name, found.version, found.license) == (b"pixels", b"2.1.0", b"Apache-2.0")
    assert found.description.decode() == f"Tests. {pixel_card.disclaimer}"
    assert found.minParserVersion == b"1.0.0"
    (part,) = found.subgraphMetadata
    assert [tensor.name for tensor in part.inputTensorMetadata] == [b"image"]
    names = [tensor.name.decode() for tensor in part.outputTensorMetadata]
    assert names == ["probabilities", "heatmap", "familiarity"]


def test_the_image_is_grey_and_taken_as_it_is(file: bytes, schema: Any) -> None:
    (image,) = metadata(file, schema).subgraphMetadata[0].inputTensorMetadata
    properties = image.content.contentProperties
    assert properties.colorSpace == schema.ColorSpaceType.GRAYSCALE
    assert (properties.defaultSize.width, properties.defaultSize.height) == (224, 224)
    (unit,) = image.processUnits
    assert (list(unit.options.mean), list(unit.options.std)) == ([0.0], [1.0])
    assert (list(image.stats.min), list(image.stats.max)) == ([0.0], [255.0])


def test_every_file_it_names_is_in_the_zip(file: bytes, schema: Any) -> None:
    found = metadata(file, schema)
    probabilities = found.subgraphMetadata[0].outputTensorMetadata[0]
    kinds = schema.AssociatedFileType
    assert [(f.name, f.type) for f in (*found.associatedFiles, *probabilities.associatedFiles)] == [
        (b"falx.json", kinds.UNKNOWN),
        (b"labels.txt", kinds.TENSOR_AXIS_LABELS),
        (b"score_calibration.txt", kinds.TENSOR_AXIS_SCORE_CALIBRATION),
    ]
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.namelist() == ["falx.json", "labels.txt", "score_calibration.txt"]
        assert archive.read("labels.txt").decode().split() == list(LABELS)
        lines = archive.read("score_calibration.txt").decode().split("\n")
        assert lines == ["1,1,0,0.796875", "1,1,0,0.7", "1,1,0,0.6015625", "1,1,0,0.3984375"]


def test_it_is_laid_out_as_by_the_classes_of_mediapipe(file: bytes) -> None:
    # Written by MediaPipe 1.2's own classes for this schema, of this card.
    assert entry(file) == Path(__file__).with_name("metadata.bin").read_bytes()


def test_a_graph_that_is_not_as_its_card_says_is_refused(pixel_model: bytes, pixel_card: Any) -> None:
    graph = tflite_file.for_mediapipe(pixel_model)
    with pytest.raises(ConversionError, match="the TFLite graph has inputs and outputs"):
        tflite_metadata.described(graph, pixel_card)


@pytest.mark.usefixtures("schema")
def test_mediapipe_names_the_label_that_falx_decides(pixel_model: bytes, pixel_card: Any) -> None:
    data = tflite_file.sealed_for_mediapipe(pixel_model, pixel_card)
    answers: dict[tuple[int, ...], list[tuple[str, float]]] = {
        (204, 10, 10, 10): [("no_tumor", 204 / 256)],
        (203, 10, 10, 10): [],
        (10, 180, 10, 10): [("meningioma", 180 / 256)],
        (10, 179, 10, 10): [],
        (10, 10, 154, 60): [("glioma", 154 / 256)],
        (90, 10, 10, 102): [("pituitary", 102 / 256)],
        (100, 50, 60, 101): [],
    }
    for (pixels, expected), named in zip(answers.items(), classified(data, answers), strict=True):
        assert [name for name, _ in named] == [name for name, _ in expected], pixels
        assert [score for _, score in named] == pytest.approx([score for _, score in expected], abs=1e-6)


@pytest.mark.usefixtures("schema")
def test_mediapipe_takes_the_thresholds_of_a_retargeted_file(pixel_model: bytes, pixel_card: Any) -> None:
    data = tflite_file.sealed_for_mediapipe(pixel_model, pixel_card)
    changed = retarget.retarget(data, {"glioma": 0.9, "no_tumor": 0.5})
    assert extract(changed)[1] == extract(data)[1]
    answers = classified(changed, [(140, 0, 100, 0), (0, 0, 200, 0), (0, 0, 240, 0)])
    assert [[name for name, _ in named] for named in answers] == [["no_tumor"], [], ["glioma"]]
