"""Measures whether all engines decide alike, slice by slice.

    python -m benchmarks.agreement --data ../shared/data --out benchmarks/results/engines-DATE.json

Each engine answers for every slice of the manifest, in an environment of its own with the wheel of this
checkout and the newest that the engine's extra allows: tflite-runtime needs NumPy 1 and Python 3.11, and
does not live beside the others. Pixels are decoded and prepared there too, so that the whole way is
compared. LiteRT on the released int8 .tflite is what the others are compared with; with `--kind float` the
float16 .tflite and the float32 .onnx are taken, which the export writes.

The promise, and the exit status (0 kept, 1 broken): no decision and no rejection differs. Of the decisions
that differ, the table counts those that are contrary (two different labels, not a label and `ambiguous`)
and those that are far: no probability lies within 0.01 of its threshold.

How files answer beside Keras, the self-contained ones too, `python -m falx_export verify` measures;
tests/examples compare the programs in other languages with Falx.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks import figures
from benchmarks.debian import wheel

import falx
from falx.words import LABELS
from falx_runs.manifest import read_records

ALL: Final = "all"
NEAR: Final = 0.01
"""A decision that differs with a probability as near to its threshold is one of rounding."""

EXTRAS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "litert": ("", "tflite", ("ai-edge-litert", "numpy", "pillow")),
    "tflite": ("[tflite]", "tflite", ("tflite-runtime", "numpy", "pillow")),
    "onnx": ("[onnx]", "onnx", ("onnxruntime", "numpy", "pillow")),
}
"""For each engine: the extra, the format of its file, and the packages whose versions are told."""

KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "int8": {"tflite": "int8.tflite", "onnx": "int8.onnx"},
    "float": {"tflite": "float16.tflite", "onnx": "float32.onnx"},
}
"""The file of each format, by kind."""

ANSWER: Final = """
import json, os, sys, warnings
from importlib import metadata
import falx

model, engine, *packages = sys.argv[1:]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    classifier = falx.load(model, engine=engine)
warned = [str(warning.message) for warning in caught]
print(json.dumps({"versions": {name: metadata.version(name) for name in packages}, "warned": warned}))
paths = [line.rstrip("\\n") for line in sys.stdin]
for answer in classifier.predict_many(paths, workers=os.cpu_count() or 1):
    print(json.dumps(answer.to_dict()))
"""
"""The program of an engine's environment: the paths of slices come in, a line of JSON each goes out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision for one slice, of whatever made it.

    Attributes:
        decision: one of `falx.words.DECISIONS`.
        reason: the code of the reason where it was rejected; empty elsewhere, and where no reason is said.
        probabilities: of the four labels, 0..1; None where it was rejected.
        elapsed_ms: from file to decision; NaN where it was not measured.
    """

    decision: str
    reason: str = ""
    probabilities: tuple[float, ...] | None = None
    elapsed_ms: float = float("nan")

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Answer:
        """Reads an object of `falx predict --json`; an error ends this program."""
        if "error" in document:
            raise SystemExit(f"{document['path']}: {document['error']['message']}")
        values, reason = document["probabilities"], document.get("reason")
        return cls(
            document["decision"],
            reason["code"] if reason else "",
            None if values is None else tuple(values[label] for label in LABELS),
            document["elapsed_ms"],
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    options = _parser().parse_args(arguments)
    models = figures.released(options)
    records = read_records(options.data)[:: options.every]
    built = wheel(options.environments)
    files = {
        engine: models / f"{models.name}-{KINDS[options.kind][EXTRAS[engine][1]]}"
        for engine in options.engines
    }
    thresholds = falx.load(files[options.engines[0]]).card.thresholds.to_dict()
    about, answers = {}, {}
    for engine, file in files.items():
        python = _environment(options.environments, engine, built)
        command = [python, "-I", "-c", ANSWER, file, engine, *EXTRAS[engine][2]]
        said, *lines = _run(command, "\n".join(str(record.path.resolve()) for record in records)).splitlines()
        about[engine] = {"file": file.name, **json.loads(said)}
        answers[engine] = [Answer.of(json.loads(line)) for line in lines]
        print(f"{engine}: {len(records)} slices", file=sys.stderr)
    setting = {**figures.machine(("falx",)), "model": models.name, "kind": options.kind}
    setting |= {"every": options.every, "engines": about, "compared with": options.engines[0]}
    first = answers[options.engines[0]]
    sources = [record.source for record in records]
    measured = [
        row for engine in options.engines for row in rows(engine, first, answers[engine], sources, thresholds)
    ]
    figures.tell(setting, measured, options.out)
    return 1 if any(row["decisions"] or row["rejections"] for row in measured) else 0


def rows(
    name: str,
    expected: Sequence[Answer],
    answers: Sequence[Answer],
    sources: Sequence[str],
    thresholds: Mapping[str, float],
) -> list[figures.Row]:
    """Returns a row for each collection, in alphabetical order, and one for all."""
    pairs = list(zip(sources, expected, answers, strict=True))
    groups = {source: [pair[1:] for pair in pairs if pair[0] == source] for source in sorted(set(sources))}
    groups[ALL] = [pair[1:] for pair in pairs]
    return [{"name": name, "of": source, **compare(group, thresholds)} for source, group in groups.items()]


def compare(pairs: Sequence[tuple[Answer, Answer]], thresholds: Mapping[str, float]) -> figures.Row:
    """Returns how far answers are apart: what is expected and what came, pair by pair."""
    differ = [pair for pair in pairs if pair[0].decision != pair[1].decision]
    apart = [
        max(abs(a - b) for a, b in zip(one.probabilities, two.probabilities, strict=True))
        for one, two in pairs
        if one.probabilities is not None and two.probabilities is not None
    ]
    return {
        "slices": len(pairs),
        "decisions": len(differ),
        "contrary": sum(one.decision in LABELS and two.decision in LABELS for one, two in differ),
        "far": sum(not _near(one, thresholds) for one, _ in differ),
        "rejections": sum(one.reason != two.reason for one, two in pairs),
        "largest": round(max(apart, default=0.0), 7),
        "mean": round(sum(apart) / len(apart), 7) if apart else 0.0,
        "median_ms": round(float(np.median([two.elapsed_ms for _, two in pairs])), 1) if pairs else None,
    }


def _near(answer: Answer, thresholds: Mapping[str, float]) -> bool:
    if answer.probabilities is None:
        return False
    pairs = zip(LABELS, answer.probabilities, strict=True)
    return any(abs(value - thresholds[label]) <= NEAR for label, value in pairs)


def _environment(folder: Path, engine: str, built: Path) -> Path:
    """Returns the Python of an engine's environment, made where it is missing; the wheel is always new."""
    root = folder / engine
    python = root / "bin" / "python"
    extra, _, packages = EXTRAS[engine]
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python]
    if not python.exists():
        _run([sys.executable, "-m", "venv", "--without-pip", root])
        _run([*pip, "install", "--quiet", f"{built}{extra}"])
    _run([*pip, "install", "--quiet", "--force-reinstall", "--no-deps", built])
    if "ai-edge-litert" not in packages:
        _run([*pip, "uninstall", "--quiet", "--yes", "ai-edge-litert"])
    return python


def _run(command: Sequence[str | Path], text: str | None = None) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603 - this Python, those made here, the examples
        command, input=text, env=variables, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"ended with status {done.returncode}: {' '.join(map(str, command[:6]))} ...")
    return done.stdout


def _parser() -> argparse.ArgumentParser:
    parser = figures.parser("benchmarks.agreement", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="a manifest, or its folder")
    figures.add_model(parser)
    parser.add_argument("--kind", default="int8", choices=KINDS, help="which files (int8)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th slice (1)")
    parser.add_argument(
        "--engines",
        nargs="+",
        default=list(EXTRAS),
        choices=list(EXTRAS),
        help="the first is what the others are compared with (all; tflite takes 100 ms and more on x86)",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=figures.CHECKOUT / "runs" / "engines",
        help="where the environments are made, and kept (runs/engines)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
