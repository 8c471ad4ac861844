"""Whether all engines decide alike: every slice of a manifest through each, and how far they are apart.

    python -m benchmarks.engines --data ../shared/data --out benchmarks/results/engines-DATE.json

Each engine answers in an environment of its own, made in --environments with the wheel of this checkout and
what the engine's extra brings, the newest that it allows: tflite-runtime needs NumPy 1 and Python 3.11, and
does not live beside the others. LiteRT on the released .tflite is what the others are compared with:
tflite-runtime on the same file, ONNX Runtime on the .onnx of the same model; `--kind float` takes the float16
.tflite and the float32 .onnx instead of the two int8 files. Pixels are decoded and prepared
in each environment too, by its own Pillow and NumPy, so that the whole way is compared.

The promise, and the exit status (0 kept, 1 broken): no decision differs. Of those that do, the table says
how many are contrary: two different labels, where the others are a label here and `ambiguous` there.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import machine
from benchmarks.contenders import find
from benchmarks.latency import add_model

from falx.words import LABELS

__all__ = ["ALL", "Answer", "Row", "compare", "main", "rows"]

CHECKOUT: Final = Path(__file__).parents[1]
ALL: Final = "all"

EXTRAS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "litert": ("", "tflite", ("ai-edge-litert", "numpy", "pillow")),
    "tflite": ("[tflite]", "tflite", ("tflite-runtime", "numpy", "pillow")),
    "onnx": ("[onnx]", "onnx", ("onnxruntime", "numpy", "pillow")),
}
"""Of each engine: the extra, the format of its file, and the packages whose versions are told."""

KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "int8": {"tflite": "int8.tflite", "onnx": "int8.onnx"},
    "float": {"tflite": "float16.tflite", "onnx": "float32.onnx"},
}
"""The released file of each format, by kind."""

ANSWER: Final = """
import json, os, sys, warnings
from importlib import metadata
import falx

data, model, engine, *packages = sys.argv[1:]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    classifier = falx.load(model, engine=engine)
print(json.dumps({
    "versions": {name: metadata.version(name) for name in packages},
    "thresholds": classifier.card.thresholds.to_dict(),
    "warned": [str(warning.message) for warning in caught],
}))
paths = [line.rstrip("\\n") for line in sys.stdin]
answers = classifier.predict_many([f"{data}/{path}" for path in paths], workers=os.cpu_count() or 1)
for path, answer in zip(paths, answers, strict=True):
    if answer.error is not None:
        sys.exit(str(answer.error))
    reason = None if answer.reason is None else answer.reason.code
    values = None if answer.probabilities is None else list(answer.probabilities.values())
    print(json.dumps([path, answer.decision, reason, values, answer.elapsed_ms]))
"""
"""What runs in an engine's environment: the paths of slices come in, a line of JSON each goes out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine answers for one slice.

    Attributes:
        decision: of it.
        reason: the code, where it was rejected.
        probabilities: of the four labels; None where it was rejected.
        elapsed_ms: from file to decision.
    """

    decision: str
    reason: str | None
    probabilities: tuple[float, ...] | None
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Row:
    """An engine against the first, on the slices of one collection, or of all.

    Attributes:
        engine: the other engine.
        source: the collection, or `all`.
        slices: how many.
        decisions: how many are decided otherwise.
        contrary: how many of these get two different labels.
        rejections: how many only one of the two rejects, or for another reason.
        probability: the largest difference of a probability, 0..1.
        mean: the mean, over slices, of a slice's largest difference.
        margin: how close the nearest probability is to its threshold, over all slices, by the first engine.
    """

    engine: str
    source: str
    slices: int
    decisions: int
    contrary: int
    rejections: int
    probability: float
    mean: float
    margin: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    models = find(options.models, options.name)
    with (options.data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        sources = {
            record["path"]: record["source"] for record in list(csv.DictReader(file))[:: options.every]
        }
    wheel = _wheel(options.environments)
    answers: dict[str, dict[str, Answer]] = {}
    about: dict[str, Any] = {}
    for engine in options.engines:
        python = _environment(options.environments, engine, wheel)
        about[engine], answers[engine] = _ask(python, engine, options, models, list(sources))
        about[engine]["times_first"] = round(
            about[engine]["median_ms"] / about[options.engines[0]]["median_ms"], 1
        )
        print(f"{engine}: {len(answers[engine])} slices", file=sys.stderr)
    first = options.engines[0]
    thresholds = about[first]["thresholds"]
    measured = [
        row
        for engine in options.engines[1:]
        for row in rows(engine, answers[first], answers[engine], sources, thresholds)
    ]
    setting = {
        **machine.described(("falx",)),
        "model": models.name,
        "kind": options.kind,
        "every": options.every,
        "compared with": first,
        "engines": {
            name: {key: value for key, value in found.items() if key != "thresholds"}
            for name, found in about.items()
        },
    }
    print(_table(setting, measured))
    if options.out is not None:
        document = {**setting, "rows": [asdict(row) for row in measured]}
        machine.write(options.out, document)
    return 1 if any(row.decisions or row.rejections for row in measured) else 0


def rows(
    engine: str,
    first: Mapping[str, Answer],
    other: Mapping[str, Answer],
    sources: Mapping[str, str],
    thresholds: Mapping[str, float],
) -> list[Row]:
    """A row for each collection, in alphabetical order, and one for all.

    Args:
        engine: the other one.
        first: the answers of the first engine by path.
        other: those of the other.
        sources: the collection by path.
        thresholds: by label.
    """
    groups: dict[str, list[str]] = {name: [] for name in sorted(set(sources.values()))}
    for path, source in sources.items():
        groups[source].append(path)
    groups[ALL] = list(sources)
    return [compare(engine, name, paths, first, other, thresholds) for name, paths in groups.items()]


def compare(
    engine: str,
    source: str,
    paths: Sequence[str],
    first: Mapping[str, Answer],
    other: Mapping[str, Answer],
    thresholds: Mapping[str, float],
) -> Row:
    """How far two engines are apart on some slices.

    Args:
        engine: the other one.
        source: what to call the slices.
        paths: of them.
        first: the answers of the first engine by path.
        other: those of the other.
        thresholds: by label.
    """
    differ = [path for path in paths if first[path].decision != other[path].decision]
    differences, margins = [], []
    for path in paths:
        one, two = first[path].probabilities, other[path].probabilities
        if one is None or two is None:
            continue
        differences.append(max(abs(a - b) for a, b in zip(one, two, strict=True)))
        margins += [abs(p - thresholds[label]) for label, p in zip(LABELS, one, strict=True)]
    return Row(
        engine=engine,
        source=source,
        slices=len(paths),
        decisions=len(differ),
        contrary=sum(first[path].decision in LABELS and other[path].decision in LABELS for path in differ),
        rejections=sum(first[path].reason != other[path].reason for path in paths),
        probability=max(differences, default=0.0),
        mean=sum(differences) / len(differences) if differences else 0.0,
        margin=min(margins, default=1.0),
    )


def _wheel(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as built:
        _run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "--quiet",
                "--no-deps",
                "--wheel-dir",
                built,
                str(CHECKOUT),
            ]
        )
        (wheel,) = Path(built).glob("falx-*.whl")
        return wheel.replace(folder / wheel.name)


def _environment(folder: Path, engine: str, wheel: Path) -> Path:
    """The Python of an engine's environment, made where it is not there yet; the wheel is always new."""
    root = folder / engine
    python = root / "bin" / "python"
    extra, _, packages = EXTRAS[engine]
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    if not python.exists():
        _run([sys.executable, "-m", "venv", "--without-pip", str(root)])
        _run([*pip, "install", "--quiet", f"{wheel}{extra}"])
    _run([*pip, "install", "--quiet", "--force-reinstall", "--no-deps", str(wheel)])
    if "ai-edge-litert" not in packages:
        _run([*pip, "uninstall", "--quiet", "--yes", "ai-edge-litert"])
    return python


def _ask(
    python: Path, engine: str, options: argparse.Namespace, models: Path, paths: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Answer]]:
    _, suffix, packages = EXTRAS[engine]
    model = models / f"{models.name}-{KINDS[options.kind][suffix]}"
    command = [str(python), "-I", "-c", ANSWER, str(options.data), str(model), engine, *packages]
    lines = _run(command, "\n".join(paths)).splitlines()
    about: dict[str, Any] = json.loads(lines[0])
    answers = {}
    for line in lines[1:]:
        path, decision, reason, values, elapsed_ms = json.loads(line)
        answers[path] = Answer(decision, reason, None if values is None else tuple(values), elapsed_ms)
    times = sorted(answer.elapsed_ms for answer in answers.values())
    return {"file": model.name, **about, "median_ms": round(times[len(times) // 2], 1)}, answers


def _run(command: Sequence[str], text: str | None = None) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603 - this Python and those made here
        command, input=text, env=variables, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"ended with status {done.returncode}: {' '.join(command[:6])} ...")
    return done.stdout


def _table(setting: dict[str, Any], measured: Sequence[Row]) -> str:
    lines = [f"{name}: {value}" for name, value in setting.items() if name not in ("versions", "engines")]
    for name, about in setting["engines"].items():
        versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
        lines.append(
            f"{name}: {about['file']}, {versions}, median {about['median_ms']} ms, "
            f"{about['times_first']} times {setting['compared with']}"
        )
        lines += [f"  warned: {text}" for text in about["warned"]]
    lines += [
        "",
        "| engine | slices of | slices | decisions that differ | of them contrary | rejections that differ "
        "| largest difference of a probability | mean | nearest to a threshold |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.engine} | {r.source} | {r.slices} | {r.decisions} | {r.contrary} | {r.rejections} "
        f"| {r.probability:.6f} "
        f"| {r.mean:.6f} | {r.margin:.6f} |"
        for r in measured
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benchmarks.engines", description="Whether all engines decide alike, on every slice of a manifest."
    )
    add_model(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv (path, source)")
    parser.add_argument("--kind", default="int8", choices=KINDS, help="which released files (int8)")
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
        default=CHECKOUT / "runs" / "engines",
        help="where the environments are made, and kept (runs/engines)",
    )
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
