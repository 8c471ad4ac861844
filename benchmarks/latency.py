"""How long a slice takes from JPEG to decision: Falx, and a bare loop around the same graph.

    python -m benchmarks.latency --out latency.json

The bare loops are the least that someone would write with Pillow and an engine: decode, resize to
224 x 224, run, take the largest. They check nothing and cut out no head, so they do less than Falx; the
ratio says what Falx's own work costs. All contenders of one thread count take turns, slice by slice,
so that whatever else the machine does falls on each of them alike.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from benchmarks import machine
from PIL import Image

import falx
from falx import card, phantom
from falx.classifier import DEFAULT_MODEL
from falx.preprocessing import SIZE

__all__ = ["Row", "main", "measure"]

SIDE: Final = 512
"""Height and width of the slices, in pixels: what most of the public collections have."""

SLICES: Final = 16
NOISE: Final = 4.0
"""Standard deviation of the noise drawn over the phantom, in grey levels, so that the slices differ."""

QUALITY: Final = 90
PACKAGES: Final = ("falx", "numpy", "pillow", "ai-edge-litert", "onnxruntime")

Contender = Callable[[bytes], object]
"""From the bytes of a JPEG to a decision."""


@dataclass(frozen=True, slots=True)
class Row:
    """One contender's times, in milliseconds.

    Attributes:
        name: of the contender.
        threads: of one inference.
        p50_ms, p99_ms: percentiles over all runs after the warm-up.
        ratio: its p50 over that of Falx on the first model at this thread count.
    """

    name: str
    threads: int
    p50_ms: float
    p99_ms: float
    ratio: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    setting = {
        **machine.described(PACKAGES),
        "models": [path.name for path in (options.model, options.onnx) if path is not None],
        "slice": f"phantom, {SIDE} x {SIDE}, JPEG quality {QUALITY}, {SLICES} different",
        "seed": options.seed,
        "warm_up": options.warm_up,
        "runs": options.runs,
    }
    slices = _slices(options.seed)
    counts = sorted({1, options.threads})
    rows = [row for threads in counts for row in _compared(options, slices, threads)]
    print(_table(setting, rows))
    if options.out is not None:
        document = {**setting, "rows": [asdict(row) for row in rows]}
        options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(
    contenders: dict[str, Contender], slices: Sequence[bytes], *, runs: int, warm_up: int
) -> dict[str, npt.NDArray[np.float64]]:
    """The times of contenders that take turns, in milliseconds, `(runs,)` each.

    Args:
        contenders: by name, in the order of their turns.
        slices: JPEGs, taken in turn.
        runs: how many times are kept.
        warm_up: how many runs before that are not.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warm_up + runs):
        data = slices[number % len(slices)]
        for name, contender in contenders.items():
            started = time.perf_counter_ns()
            contender(data)
            times[name].append((time.perf_counter_ns() - started) / 1e6)
    return {name: np.array(values[warm_up:]) for name, values in times.items()}


def _compared(options: argparse.Namespace, slices: Sequence[bytes], threads: int) -> list[Row]:
    contenders: dict[str, Contender] = {
        "Falx, litert": falx.load(options.model, engine="litert", threads=threads).predict,
        "Pillow + LiteRT": _bare_litert(options.model, threads),
    }
    if options.onnx is not None:
        contenders["Falx, onnx"] = falx.load(options.onnx, engine="onnx", threads=threads).predict
        contenders["Pillow + ONNX Runtime"] = _bare_onnx(options.onnx, threads)
    times = measure(contenders, slices, runs=options.runs, warm_up=options.warm_up)
    first = float(np.median(next(iter(times.values()))))
    rows = []
    for name, values in times.items():
        p50, p99 = (float(p) for p in np.percentile(values, [50, 99]))
        rows.append(Row(name, threads, round(p50, 2), round(p99, 2), round(p50 / first, 2)))
    return rows


def _bare_litert(model: Path, threads: int) -> Contender:
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

    _, payload = card.read(model)
    interpreter = Interpreter(model_content=payload, num_threads=threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = next(d["index"] for d in interpreter.get_output_details() if tuple(d["shape"]) == (1, 4))

    def decide(data: bytes) -> int:
        interpreter.set_tensor(source, _decoded(data))
        interpreter.invoke()
        return int(interpreter.get_tensor(target).argmax())

    return decide


def _bare_onnx(model: Path, threads: int) -> Contender:
    import onnxruntime  # type: ignore[import-untyped]

    _, payload = card.read(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(payload, options, providers=["CPUExecutionProvider"])

    def decide(data: bytes) -> int:
        return int(session.run(["probabilities"], {"image": _decoded(data)})[0].argmax())

    return decide


def _decoded(data: bytes) -> npt.NDArray[np.uint8]:
    """`(1, 224, 224, 1)` uint8, the whole slice squeezed into the square."""
    image = Image.open(io.BytesIO(data)).convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image)[np.newaxis, :, :, np.newaxis]


def _slices(seed: int) -> list[bytes]:
    drawn = Image.fromarray(phantom.lesion()).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    head = np.asarray(drawn, np.float64)
    random = np.random.default_rng(seed)
    slices = []
    for _ in range(SLICES):
        noisy = np.where(head > 0, head + random.normal(0, NOISE, head.shape), 0)
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=QUALITY)
        slices.append(buffer.getvalue())
    return slices


def _table(setting: dict[str, Any], rows: Sequence[Row]) -> str:
    lines = machine.lines(setting)
    lines += ["", "| contender | threads | p50 ms | p99 ms | times Falx |", "|---|---|---|---|---|"]
    lines += [f"| {r.name} | {r.threads} | {r.p50_ms:.2f} | {r.p99_ms:.2f} | {r.ratio:.2f} |" for r in rows]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    description = "How long a slice takes from JPEG to decision. Run it on a quiet machine."
    parser = argparse.ArgumentParser("benchmarks.latency", description=description)
    name = card.read(DEFAULT_MODEL)[0].name if DEFAULT_MODEL.exists() else ""
    onnx = Path(__file__).parents[1] / "models" / name / f"{name}-int8.onnx"
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help=".tflite (the one in Falx)")
    parser.add_argument(
        "--onnx",
        type=Path,
        default=onnx if onnx.exists() else None,
        help="the same model as .onnx (the released one; without it there are no ONNX rows)",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="besides one (all)")
    parser.add_argument("--runs", type=int, default=300, help="a contender and thread count (300)")
    parser.add_argument("--warm-up", type=int, default=30, help="runs that are not counted (30)")
    parser.add_argument("--seed", type=int, default=7, help="of the noise in the slices (7)")
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
