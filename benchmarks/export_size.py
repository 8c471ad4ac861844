"""What the export saves: bytes, operations and time of Falx's files beside those of the plain way.

    python -m benchmarks.export_size models/falx-5

The plain way is what the converters' first examples show, on the same network as Keras has it: three
channels, batch normalisation, floats in; TensorFlow's converter, as it is and with its default
optimisation, and tf2onnx. Its weights are random, which neither size nor time depends on. Files of one
format take turns, run by run, on one thread, so that whatever else the machine does falls on each alike.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"

from benchmarks import machine

from falx import container
from falx.preprocessing import SIZE

__all__ = ["LIMIT", "Graph", "Row", "main", "measure", "plain_model"]

LIMIT: Final = 3_200_000
"""The most bytes of a file in int8."""

SLICE_SIDE: Final = 512
"""Of an input axis that may have any length, in pixels; but of `channels` there is one."""

PACKAGES: Final = ("falx", "tensorflow", "keras", "tf2onnx", "ai-edge-litert", "onnxruntime", "numpy")

Inference = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Graph:
    """One file to measure.

    Attributes:
        name: what it is called in the table.
        data: its bytes, the card included.
        format: `tflite` or `onnx`.
    """

    name: str
    data: bytes
    format: str


@dataclass(frozen=True, slots=True)
class Row:
    """What one file costs.

    Attributes:
        name, format: of the file.
        size: in bytes.
        size_ratio: its size over that of the plain file of its format.
        operations: how many its graph holds.
        kinds: how many of each, the most frequent first.
        p50_ms: the median time of an inference on one thread, in milliseconds.
        time_ratio: this over that of the plain file of its format.
    """

    name: str
    format: str
    size: int
    size_ratio: float
    operations: int
    kinds: dict[str, int]
    p50_ms: float
    time_ratio: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line.

    Returns:
        The exit status: 0, or 1 where a file in int8 is larger than the limit.
    """
    options = _parser().parse_args(arguments)
    from falx_export.console import silenced

    # What converters say to their authors.
    logging.disable(logging.WARNING)
    files = sorted(path for path in options.folder.iterdir() if path.suffix in (".tflite", ".onnx"))
    if not files:
        raise SystemExit(f"export_size: {options.folder}: has neither .tflite nor .onnx files")
    setting = machine.described(PACKAGES)
    # TensorFlow prints what it saves on the way.
    with silenced(), contextlib.redirect_stdout(io.StringIO()):
        graphs = _plain(options.run or options.folder)
    graphs += [Graph(path.name, path.read_bytes(), path.suffix[1:]) for path in files]
    rows = []
    for kind in ("tflite", "onnx"):
        rows += measure([graph for graph in graphs if graph.format == kind], options.runs, options.warm_up)
    setting |= {"model": options.folder.name, "threads": 1, "runs": options.runs, "warm_up": options.warm_up}
    print(_table(setting, rows))
    if options.out is not None:
        document = {**setting, "limit": LIMIT, "rows": [asdict(row) for row in rows]}
        machine.write(options.out, document)
    large = [row for row in rows if "-int8" in row.name and row.size > LIMIT]
    for row in large:
        print(f"{row.name} has {row.size} bytes, {LIMIT} are allowed", file=sys.stderr)
    return 1 if large else 0


def measure(graphs: Sequence[Graph], runs: int, warm_up: int) -> list[Row]:
    """The costs of files of one format that take turns; the first is what the others are compared with.

    Args:
        graphs: of one format.
        runs: how many times are kept.
        warm_up: how many runs before that are not.
    """
    inferences = [(_litert if graph.format == "tflite" else _onnx)(graph.data) for graph in graphs]
    times = np.zeros((warm_up + runs, len(graphs)))
    for turn in times:
        for place, infer in enumerate(inferences):
            started = time.perf_counter_ns()
            infer()
            turn[place] = (time.perf_counter_ns() - started) / 1e6
    medians = np.median(times[warm_up:], axis=0).tolist()
    rows = []
    for graph, median in zip(graphs, medians, strict=True):
        kinds = Counter(_operations(graph))
        rows.append(
            Row(
                name=graph.name,
                format=graph.format,
                size=len(graph.data),
                size_ratio=round(len(graph.data) / len(graphs[0].data), 3),
                operations=kinds.total(),
                kinds=dict(kinds.most_common()),
                p50_ms=round(median, 2),
                time_ratio=round(median / medians[0], 3),
            )
        )
    return rows


def plain_model(trained: Any) -> Any:
    """The same network as Keras makes it: for colour, not folded, with random weights.

    Args:
        trained: a run's model, of a backbone in which layers are called as in Keras's MobileNetV2, and
            what follows it.

    Returns:
        `(B, 224, 224, 3)` float32 -> what the trained model answers.
    """
    import keras

    backbone = next(layer for layer in trained.layers if isinstance(layer, keras.Model))
    names = [tensor._keras_history.operation.name for tensor in backbone.outputs]
    colour = keras.applications.MobileNetV2((SIZE, SIZE, 3), include_top=False, weights=None)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    features = keras.Model(colour.input, [colour.get_layer(name).output for name in names])
    made = features(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image))
    behind = keras.Model(backbone._inbound_nodes[-1].output_tensors, trained.output)
    return keras.Model(image, behind(made))


def _plain(run: Path) -> list[Graph]:
    import keras
    import tensorflow as tf
    import tf2onnx  # type: ignore[import-untyped]

    from falx_export.convert.onnx_format import OPSET

    model = plain_model(keras.models.load_model(run / "model.keras", compile=False, safe_mode=True))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    whole = converter.convert()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    optimized = converter.convert()
    signature = [tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32, name="image")]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    onnx_model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    return [
        Graph("plain TFLiteConverter", whole, "tflite"),
        Graph("plain TFLiteConverter, Optimize.DEFAULT", optimized, "tflite"),
        Graph("plain tf2onnx", onnx_model.SerializeToString(), "onnx"),
    ]


def _litert(data: bytes) -> Inference:
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

    interpreter = Interpreter(model_content=container.split(data)[0], num_threads=1)
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    interpreter.set_tensor(source["index"], _drawn(tuple(source["shape"]), source["dtype"]))
    return interpreter.invoke  # type: ignore[no-any-return] # LiteRT has no types


def _onnx(data: bytes) -> Inference:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    free = {"channels": 1}
    shape = tuple(axis if isinstance(axis, int) else free.get(axis, SLICE_SIDE) for axis in source.shape)
    feed = {source.name: _drawn(shape, np.uint8 if "uint8" in source.type else np.float32)}
    return lambda: session.run(None, feed)


def _drawn(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """A phantom of a head in the shape of an input: its height and width are the axes longer than four."""
    from PIL import Image

    from falx import phantom

    height, width = (int(axis) for axis in shape if axis > 4)
    head = np.asarray(Image.fromarray(phantom.lesion()).resize((width, height), Image.Resampling.BILINEAR))
    places = [axis for axis, length in enumerate(shape) if length > 4]
    grey = np.expand_dims(head, tuple(axis for axis in range(len(shape)) if axis not in places))
    return np.ascontiguousarray(np.broadcast_to(grey, shape).astype(dtype))


def _operations(graph: Graph) -> list[str]:
    if graph.format == "onnx":
        import onnx

        return [node.op_type for node in onnx.load_from_string(graph.data).graph.node]
    from falx_export.convert import flatbuffer

    return flatbuffer.kinds(flatbuffer.parsed(container.split(graph.data)[0]))


def _table(setting: dict[str, Any], rows: Sequence[Row]) -> str:
    lines = machine.lines(setting)
    lines += ["", "| file | bytes | of plain | operations | p50 ms | of plain |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.size:,} | {row.size_ratio:.2f} | {row.operations} | {row.p50_ms:.2f} | "
        f"{row.time_ratio:.2f} |"
        for row in rows
    ]
    lines += ["", "| file | operations by kind |", "|---|---|"]
    lines += [
        f"| {row.name} | {', '.join(f'{count} {kind}' for kind, count in row.kinds.items())} |"
        for row in rows
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benchmarks.export_size",
        description="Bytes, operations and time of exported files beside those of the plain way. "
        "Run it on a quiet machine.",
    )
    parser.add_argument("folder", type=Path, help="with NAME-*.tflite and NAME-*.onnx, and model.keras")
    parser.add_argument("--run", type=Path, help="folder of model.keras, where it is another")
    parser.add_argument("--runs", type=int, default=200, help="a file (200)")
    parser.add_argument("--warm-up", type=int, default=20, help="runs that are not counted (20)")
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
