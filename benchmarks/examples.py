"""How far the examples answer from Falx: Python, Node, C++ and the page in a browser, on the same slices.

    python -m benchmarks.examples models/falx-5 --data ../shared/data

Each program runs both self-contained files of a release, where they lie there, on slices of the val split,
as PNG, which all decoders read alike. It is compared with Falx on the plain file beside, in ONNX Runtime.
A program that is not installed is left out. The one for C++ is given compiled, with `--cpp`.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from benchmarks import chromium, machine
from benchmarks.manifest import chosen
from PIL import Image

import falx
from falx.prediction import Prediction

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["Row", "as_png", "asked", "chosen", "main", "summary"]

EXAMPLES: Final = Path(__file__).parents[1] / "examples"
PLACE: Final = "-self-contained"
PACKAGES: Final = ("falx", "numpy", "pillow", "onnxruntime")

# Modules of the page, used as the page uses them, for each picture of a folder.
CLASSIFY: Final = """
async ([model, count]) => {
  const { start, decode, classify } = await import("./falx.js");
  const session = await start(new Uint8Array(await (await fetch(model)).arrayBuffer()));
  const answers = [];
  for (let i = 0; i < count; i++) {
    const answer = await classify(session, await decode(await (await fetch(`pictures/${i}`)).blob()));
    answers.push({ ...answer, heatmap: answer.heatmap.reduce((a, b) => Math.max(a, b)) });
  }
  return answers;
}
"""

Answers = list[dict[str, Any]]
Program = Callable[[Path, Sequence[Path]], Answers]
"""What answers, with a model file, for pictures."""


@dataclass(frozen=True, slots=True)
class Row:
    """How far one program is from Falx.

    Attributes:
        program, file: that ran, and what it ran.
        slices: how many.
        largest: difference of any probability on any slice, 0..1.
        mean: of each slice's largest difference.
        decisions: slices whose decision differs.
    """

    program: str
    file: str
    slices: int
    largest: float
    mean: float
    decisions: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    files = sorted(options.folder.glob(f"*{PLACE}.onnx"))
    if not files:
        raise SystemExit(f"examples: {options.folder}: has no NAME{PLACE}.onnx")
    setting = machine.described(PACKAGES)
    rows = []
    with tempfile.TemporaryDirectory() as name, _programs(options.cpp) as programs:
        slices = as_png(chosen(options.data, options.slices), Path(name))
        for file in files:
            classifier = falx.load(file.with_name(file.name.replace(PLACE, "")), engine="onnx")
            expected = [classifier.predict(path) for path in slices]
            rows += [
                summary(program, file.name, expected, ask(file, slices)) for program, ask in programs.items()
            ]
    setting |= {"node": _version("node"), "chromium": _version(*chromium.NAMES), "slices": len(slices)}
    print(_table(setting, rows))
    if options.out is not None:
        machine.write(options.out, {**setting, "rows": [asdict(row) for row in rows]})
    return 0


def as_png(pictures: Sequence[Path], folder: Path) -> list[Path]:
    """The same pixels in PNG files of a folder."""
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for picture, path in zip(pictures, paths, strict=True):
        with Image.open(picture) as image:
            image.save(path)
    return paths


def asked(page: Page, folder: Path, pictures: Sequence[Path], model: str = "vendor/model.onnx") -> Answers:
    """What the page's modules answer.

    Args:
        page: in a browser, open.
        folder: that it is served from; the pictures are laid into it.
        pictures: to ask for.
        model: the file's address, from the page.
    """
    (folder / "pictures").mkdir(exist_ok=True)
    for number, path in enumerate(pictures):
        shutil.copyfile(path, folder / "pictures" / str(number))
    answers: Answers = page.evaluate(CLASSIFY, [model, len(pictures)])
    return answers


def summary(program: str, file: str, expected: Sequence[Prediction], answers: Answers) -> Row:
    """How far a program's answers are from Falx's."""
    apart = [
        float(np.abs(np.subtract(answer["probabilities"], list(known.probabilities.values()))).max())
        for known, answer in zip(expected, answers, strict=True)
        if known.probabilities is not None
    ]
    changed = sum(
        answer["decision"] != known.decision for known, answer in zip(expected, answers, strict=True)
    )
    return Row(program, file, len(expected), max(apart), float(np.mean(apart)), changed)


@contextmanager
def _programs(cpp: Path | None) -> Iterator[dict[str, Program]]:
    """What is installed, by name."""
    found = {"Python": _command(sys.executable, EXAMPLES / "python" / "classify.py")}
    if shutil.which("node") and (EXAMPLES / "node" / "node_modules").exists():
        found["Node"] = _command("node", EXAMPLES / "node" / "classify.mjs")
    if cpp is not None:
        found["C++"] = _command(cpp)
    program = chromium.found()
    if program is None or not (EXAMPLES / "browser" / "node_modules").exists():
        yield found
        return
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as name,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program) as browser,
    ):
        folder = Path(name, "page")
        shutil.copytree(EXAMPLES / "browser", folder, ignore=shutil.ignore_patterns("node_modules", "vendor"))
        (folder / "node_modules").symlink_to((EXAMPLES / "browser" / "node_modules").resolve())
        with _served(folder) as url:
            page = browser.new_page()

            def ask(file: Path, pictures: Sequence[Path]) -> Answers:
                subprocess.run(  # noqa: S603 - made up here
                    ["node", folder / "vendor.mjs", file.resolve()],  # noqa: S607 - as the page's own guide
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                page.goto(url)
                return asked(page, folder, pictures)

            yield {**found, "Chromium": ask}


def _command(*words: str | Path) -> Program:
    def ask(file: Path, pictures: Sequence[Path]) -> Answers:
        done = subprocess.run([*words, file, *pictures], capture_output=True, text=True, check=True)  # noqa: S603 - the examples
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def _version(*names: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        return "not installed"
    done = subprocess.run([found, "--version"], capture_output=True, text=True)  # noqa: S603 - found above
    return done.stdout.strip()


def _table(setting: dict[str, Any], rows: Sequence[Row]) -> str:
    head = ["program", "file", "slices", "largest difference of a probability", "mean of a slice's largest"]
    lines = machine.lines(setting)
    lines += ["", f"| {' | '.join([*head, 'decisions that differ'])} |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.program} | {row.file} | {row.slices} | {row.largest:.6f} | {row.mean:.6f} "
        f"| {row.decisions} |"
        for row in rows
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benchmarks.examples", description="Compare the examples' answers with Falx's, slice by slice."
    )
    parser.add_argument("folder", type=Path, help=f"with NAME{PLACE}.onnx and NAME.onnx")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--slices", type=int, default=150, help="at most, of all sources and labels (150)")
    parser.add_argument("--cpp", type=Path, metavar="PROGRAM", help="examples/cpp, compiled")
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
