"""Whether MediaPipe, which knows nothing of Falx, reads an exported file and names the right class.

    python -m benchmarks.mediapipe_reads models/falx-5/falx-5-int8-mediapipe.tflite --data ../shared/data

MediaPipe's ImageClassifier is given the file and nothing else: labels, normalisation and thresholds are
in it. Slices are prepared (`falx.slices.preprocessing`) and given as colour images, since MediaPipe finds no
head. It answers with the label it would decide, or none. This is compared with the slices' labels, and with
what Falx decides on the plain file beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from benchmarks import machine

from falx import engines
from falx.decision import decide
from falx.model import file as model_file
from falx.reading.source import read
from falx.slices.preprocessing import prepare
from falx.words import AMBIGUOUS, LABELS
from falx_runs.manifest import Record, read_records

__all__ = ["Row", "balanced", "classify", "main", "tally"]

SUFFIX: Final = "-mediapipe"
PACKAGES: Final = ("falx", "mediapipe", "ai-edge-litert", "numpy")


@dataclass(frozen=True, slots=True)
class Row:
    """What came of the slices of one label.

    Attributes:
        label: of the slices.
        slices: how many.
        right: how many MediaPipe named by this label.
        wrong: by another.
        none: by none.
        as_falx: how many it named as Falx decides, none where Falx says `ambiguous`.
    """

    label: str
    slices: int
    right: int
    wrong: int
    none: int
    as_falx: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line.

    Returns:
        The exit status: 0 where MediaPipe answers as Falx does on every slice, 1 where it does not.
    """
    options = _parser().parse_args(arguments)
    described, _ = model_file.read(options.model)
    plain = options.plain or options.model.with_name(options.model.name.replace(SUFFIX, ""))
    plain_card, payload = model_file.read(plain)
    chosen = balanced(read_records(options.data), options.split, options.slices)
    tensors = [prepare(read(record.path).pixels)[0] for record in chosen]
    engine = engines.start("litert", payload, plain_card, threads=1)
    expected, largest = [], 0.0
    answers = classify(options.model, tensors)
    for tensor, answer in zip(tensors, answers, strict=True):
        probabilities = engine.run(tensor)["probabilities"].tolist()
        decision = decide(probabilities, described.thresholds)
        expected.append("" if decision == AMBIGUOUS else decision)
        if answer is not None and answer[0] in LABELS:
            largest = max(largest, abs(answer[1] - probabilities[LABELS.index(answer[0])]))
    named = ["" if answer is None else answer[0] for answer in answers]
    rows = tally([record.label for record in chosen], named, expected)
    setting = {
        **machine.described(PACKAGES),
        "model": options.model.name,
        "sha256": described.weights_sha256,
        "slices": f"{len(chosen)} of the split {options.split!r}, balanced over labels, evenly by path",
        "largest_difference": largest,
    }
    print(_table(setting, rows))
    if options.out is not None:
        document = {**setting, "rows": [asdict(row) for row in rows]}
        machine.write(options.out, document)
    return 0 if all(row.as_falx == row.slices for row in rows) else 1


def classify(model: Path, tensors: Sequence[npt.NDArray[np.uint8]]) -> list[tuple[str, float] | None]:
    """What MediaPipe's ImageClassifier says first of prepared slices.

    Args:
        model: a file for MediaPipe; nothing else is given to it.
        tensors: `(224, 224)` uint8 each.

    Returns:
        The label and its score, 0..1; None where it names none.
    """
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    options = ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=model.read_bytes()))
    answers: list[tuple[str, float] | None] = []
    with ImageClassifier.create_from_options(options) as classifier:
        for tensor in tensors:
            colour = np.ascontiguousarray(np.broadcast_to(tensor[..., np.newaxis], (*tensor.shape, 3)))
            result = classifier.classify(Image(image_format=ImageFormat.SRGB, data=colour))
            named = result.classifications[0].categories
            answers.append((named[0].category_name, float(named[0].score)) if named else None)
    return answers


def tally(labels: Sequence[str], named: Sequence[str], expected: Sequence[str]) -> list[Row]:
    """Count answers by label.

    Args:
        labels: of the slices.
        named: what was answered; empty where nothing was.
        expected: what Falx answers, in the same way.
    """
    rows = []
    for label in LABELS:
        answers = [(b, c) for a, b, c in zip(labels, named, expected, strict=True) if a == label]
        right = sum(answer == label for answer, _ in answers)
        none = sum(answer == "" for answer, _ in answers)
        same = sum(answer == wanted for answer, wanted in answers)
        rows.append(Row(label, len(answers), right, len(answers) - right - none, none, same))
    return rows


def balanced(records: Sequence[Record], split: str, count: int) -> list[Record]:
    """As many of each label, evenly spread over their order.

    Args:
        records: of which to choose.
        split: of those to take.
        count: how many, at most; a quarter of each label.

    Raises:
        SystemExit: there are none, or fewer are wanted than there are labels.
    """
    if count < len(LABELS):
        raise SystemExit(
            f"mediapipe_reads: --slices {count}: expected at least {len(LABELS)}, one of each label"
        )
    chosen = []
    for label in LABELS:
        found = [record for record in records if record.label == label and record.split == split]
        wanted = min(count // len(LABELS), len(found))
        chosen += [found[index * len(found) // wanted] for index in range(wanted)]
    if not chosen:
        raise SystemExit(
            f"mediapipe_reads: no slices of the split {split!r} with one of the labels {', '.join(LABELS)}"
        )
    return chosen


def _table(setting: dict[str, Any], rows: Sequence[Row]) -> str:
    lines = machine.lines(setting)
    lines += ["", "| label | slices | right | wrong | none named | as Falx |", "|---|---|---|---|---|---|"]
    columns = ("slices", "right", "wrong", "none", "as_falx")
    cells = [(row.label, *(getattr(row, name) for name in columns)) for row in rows]
    cells.append(("all", *(sum(getattr(row, name) for row in rows) for name in columns)))
    lines += ["| " + " | ".join(str(cell) for cell in line) + " |" for line in cells]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benchmarks.mediapipe_reads",
        description="Let MediaPipe's ImageClassifier read an exported file and name slices.",
    )
    parser.add_argument("model", type=Path, help=f"NAME-int8{SUFFIX}.tflite")
    parser.add_argument("--plain", type=Path, help="the plain file (NAME-int8.tflite beside it)")
    parser.add_argument("--data", type=Path, required=True, help="manifest with splits, or its folder")
    parser.add_argument("--split", default="val", help="of the slices (val)")
    parser.add_argument("--slices", type=int, default=200, help="at most, a quarter a label, from 4 (200)")
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
