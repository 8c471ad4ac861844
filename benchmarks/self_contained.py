"""Whether a self-contained ONNX file decides as Falx does: every slice of a manifest through both.

    python -m benchmarks.self_contained MODEL.onnx MODEL-self-contained.onnx --data ../shared/data

Falx reads each file itself; the self-contained graph gets what any program has after decoding it: grey
or RGB pixels. The promise, and the exit status (0 kept, 1 broken): probabilities differ by 0.01 at most,
the same pictures are rejected for the same reasons, and no decision differs where no probability lies
within 0.01 of its threshold.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from benchmarks import machine
from PIL import Image, ImageOps
from tqdm import tqdm

import falx
from falx.decision import Thresholds
from falx.prediction import Prediction
from falx.slices.reasons import REASONS
from falx.words import DECISIONS, LABELS, REJECTED

__all__ = ["Comparison", "Row", "compare", "decode", "main", "summary"]

TOLERANCE: Final = 0.01
"""Of probabilities, heatmaps, and the distance to a threshold, all 0..1."""

ALL: Final = "all"
PACKAGES: Final = ("falx", "numpy", "pillow", "onnxruntime")

Outputs = dict[str, npt.NDArray[Any]]
"""What the self-contained graph answers, by name."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One slice through both.

    Attributes:
        source: the collection that it is of.
        probability: largest difference of a probability, 0..1; 0 where both reject it.
        heatmap: the same of a pixel of the heatmap.
        decision: whether the decisions are the same.
        rejection: whether both reject it for the same reason, or neither does.
        near: whether a probability lies within `TOLERANCE` of its threshold.
        falx_ms, self_contained_ms: from the file to the decision.
    """

    source: str
    probability: float
    heatmap: float
    decision: bool
    rejection: bool
    near: bool
    falx_ms: float
    self_contained_ms: float

    @property
    def kept(self) -> bool:
        """Whether the promise holds."""
        return self.probability <= TOLERANCE and self.rejection and (self.decision or self.near)


@dataclass(frozen=True, slots=True)
class Row:
    """The comparisons of one collection, or of all.

    Attributes:
        source: the collection, or `all`.
        slices: how many.
        probability, heatmap: the largest difference, 0..1.
        decisions: how many differ.
        far: how many of these have no probability near its threshold.
        near: how many slices have one, whatever is decided.
        rejections: how many pictures only one of the two rejects, or for another reason.
        falx_ms, self_contained_ms: medians.
    """

    source: str
    slices: int
    probability: float
    heatmap: float
    decisions: int
    far: int
    near: int
    rejections: int
    falx_ms: float
    self_contained_ms: float


def decode(path: Path) -> npt.NDArray[np.uint8]:
    """The pixels of a file: `(H, W, 1)` grey or `(H, W, 3)` RGB, alpha on black, upright."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode == "L":
            return np.asarray(image)[:, :, np.newaxis]
        if image.has_transparency_data:
            black = Image.new("RGBA", image.size, (0, 0, 0, 255))
            image = Image.alpha_composite(black, image.convert("RGBA"))
        return np.asarray(image.convert("RGB"))


def compare(
    source: str, expected: Prediction, got: Outputs, thresholds: Thresholds, self_contained_ms: float
) -> Comparison:
    """How far the self-contained graph's answer is from Falx's."""
    code = None if expected.reason is None else expected.reason.code
    index = int(got["reason"])
    same = code == (None if index == 0 else list(REASONS)[index - 1])
    words = {DECISIONS[int(got["decision"])], str(got["decision_label"])}
    probability = heatmap = 0.0
    near = False
    if expected.probabilities is not None and not got["rejected"]:
        values = list(expected.probabilities.values())
        probability = float(np.abs(np.subtract(values, got["probabilities"])).max())
        near = any(abs(p - thresholds[label]) <= TOLERANCE for label, p in zip(LABELS, values, strict=True))
        if (shown := expected.heatmap) is not None:
            heatmap = float(np.abs(shown - got["heatmap"]).max())
    return Comparison(
        source=source,
        probability=probability,
        heatmap=heatmap,
        decision=words == {expected.decision},
        rejection=same and bool(got["rejected"]) == (expected.decision == REJECTED),
        near=near,
        falx_ms=expected.elapsed_ms,
        self_contained_ms=self_contained_ms,
    )


def summary(comparisons: Sequence[Comparison]) -> list[Row]:
    """A row for each collection, in alphabetical order, and one for all."""
    sources = sorted({c.source for c in comparisons})
    groups = {name: [c for c in comparisons if c.source == name] for name in sources}
    return [_row(name, group) for name, group in {**groups, ALL: list(comparisons)}.items()]


def _row(source: str, group: Sequence[Comparison]) -> Row:
    return Row(
        source=source,
        slices=len(group),
        probability=max(c.probability for c in group),
        heatmap=max(c.heatmap for c in group),
        decisions=sum(not c.decision for c in group),
        far=sum(not c.decision and not c.near for c in group),
        near=sum(c.near for c in group),
        rejections=sum(not c.rejection for c in group),
        falx_ms=round(float(np.median([c.falx_ms for c in group])), 2),
        self_contained_ms=round(float(np.median([c.self_contained_ms for c in group])), 2),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    surroundings = machine.described(PACKAGES)
    classifier = falx.load(options.model, engine="onnx")
    run = _session(options.self_contained)
    with (options.data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))[:: options.every]
    comparisons = []
    # disable=None: no bar where nobody is looking.
    for record in tqdm(records, "Compare", unit="slice", disable=None):
        path = options.data / record["path"]
        expected = classifier.predict(path)
        started = time.perf_counter()
        got = run(decode(path))
        elapsed_ms = (time.perf_counter() - started) * 1000
        comparisons.append(compare(record["source"], expected, got, classifier.card.thresholds, elapsed_ms))
    rows = summary(comparisons)
    kept = all(comparison.kept for comparison in comparisons)
    setting = {
        **surroundings,
        "model": classifier.card.name,
        "files": [options.model.name, options.self_contained.name],
        "threads": 1,
        "tolerance": TOLERANCE,
        "kept": kept,
    }
    print(_table(setting, rows))
    if options.out is not None:
        document = {**setting, "rows": [asdict(row) for row in rows]}
        machine.write(options.out, document)
    return 0 if kept else 1


def _session(path: Path) -> Callable[[npt.NDArray[np.uint8]], Outputs]:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda pixels: dict(zip(names, session.run(names, {"image": pixels}), strict=True))


def _table(setting: dict[str, Any], rows: Sequence[Row]) -> str:
    lines = machine.lines(setting)
    lines += [
        "",
        "| slices of | slices | largest difference of a probability | of a heatmap | decisions that differ "
        "| of them far from thresholds | slices near a threshold | rejections that differ | Falx, ms "
        "| self-contained, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.source} | {r.slices} | {r.probability:.6f} | {r.heatmap:.6f} | {r.decisions} | {r.far} "
        f"| {r.near} | {r.rejections} | {r.falx_ms:.1f} | {r.self_contained_ms:.1f} |"
        for r in rows
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benchmarks.self_contained",
        description="Compare a self-contained ONNX file with Falx on every slice of a manifest.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="the .onnx file for Falx")
    parser.add_argument(
        "self_contained", type=Path, metavar="SELF_CONTAINED", help="the same, self-contained"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv (path, source)")
    parser.add_argument("--every", type=_positive, default=1, metavar="N", help="only each N-th slice (1)")
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
