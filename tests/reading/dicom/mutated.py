"""Give Falx malformed and mutated DICOM files, and see that each ends in an answer or a clear error.

    python -m tests.reading.dicom.mutated --inputs 1000 --out dicom-mutated.json

MR objects of every transfer syntax are made of a drawn head, and then damaged: bytes changed, parts cut out,
doubled or put elsewhere, values of tags replaced. Anything but an answer or an `UnreadableImage` ends the run
with the number of the input, from which it can be made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from benchmarks import figures
from tests.reading.dicom import made

import falx
from falx import phantom
from falx.errors import UnreadableImage

__all__ = ["main", "mutations", "run"]

PACKAGES = ("falx", "pydicom", "pyjpegls", "pylibjpeg", "pylibjpeg-openjpeg", "pillow", "numpy")
UID = "1.2.3.4.5"
"""Always the same, so that the files are."""

PIXELS = b"\xe0\x7f\x10\0"
"""The tag of the pixels, little-endian."""

EDGES = (b"\0\0", b"\xff\xff", b"\x01\0", b"\xfe\xff\0\xe0", b"\x7f\xff\xff\xff", b"DICM", b"1e9\\-5", b"UN")
"""Bytes that are written over others: lengths, tags and values at the ends of their ranges."""


def seeds() -> list[bytes]:
    """Files of one and of several frames, in every transfer syntax."""
    head = phantom.lesion()[::2, ::2].copy()
    one = made.dataset(head, SOPInstanceUID=UID)
    files = [made.encoded(one, syntax) for syntax in (made.SYNTAXES | made.LOSSY).values()]
    deep = made.dataset(
        head.astype(np.uint16) * 16, 12, SOPInstanceUID=UID, WindowCenter="2000", WindowWidth="4000"
    )
    frames = made.dataset(np.stack([head, head[:, ::-1]]), SOPInstanceUID=UID)
    return [*files, made.written(deep), made.written(frames), made.encoded(frames, made.SYNTAXES["rle"])]


def mutations(inputs: int, seed: int = 7) -> Iterator[tuple[int, bytes]]:
    """Damaged files with their numbers; a number gives the same file each time."""
    files = seeds()
    for number in range(inputs):
        draw = np.random.default_rng([seed, number])
        yield number, damaged(files[number % len(files)], draw)


def damaged(file: bytes, draw: np.random.Generator) -> bytes:
    """A file with one to eight things done to it."""
    data = bytearray(file)
    for _ in range(draw.integers(1, 9)):
        # Two thirds of the damage are done to tags and to what a compressed frame says of itself, which are
        # small parts of the file.
        pixels = max(0, data.find(PIXELS))
        start, stop = ((0, len(data)), (0, pixels), (pixels, pixels + 120))[draw.integers(3)]
        at = int(draw.integers(start, max(start + 1, min(stop, len(data)))))
        match int(draw.integers(0, 5)):
            case 0:
                data[at : at + 1] = draw.bytes(1)
            case 1:
                edge = EDGES[draw.integers(len(EDGES))]
                data[at : at + len(edge)] = edge
            case 2:
                del data[at : at + int(draw.integers(1, 400))]
            case 3:
                data[at:at] = data[at : at + int(draw.integers(1, 200))]
            case _:
                if draw.random() < 0.2:
                    del data[at:]
    return bytes(data)


def run(classifier: falx.Classifier, inputs: int) -> Counter[str]:
    """Try that many damaged files; returns how often each outcome came."""
    outcomes: Counter[str] = Counter()
    for number, data in mutations(inputs):
        try:
            result = classifier.predict(data)
        except UnreadableImage as error:
            said, outcome = str(error), type(error).__name__
        except Exception as error:
            error.add_note(f"input {number}")
            raise
        else:
            said = json.dumps(result.to_dict(), allow_nan=False)
            outcome = "rejected" if result.decision == "rejected" else "prediction"
        assert said, number
        assert made.NAME not in said, number
        outcomes[outcome] += 1
    return outcomes


def main() -> None:
    """Run it, and print or write what came."""
    parser = argparse.ArgumentParser(prog="python -m tests.reading.dicom.mutated", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000, help="how many files (default 1000)")
    parser.add_argument("--out", type=Path, help="where to write the result as JSON")
    options = parser.parse_args()
    started = time.perf_counter()
    outcomes = run(falx.load(), options.inputs)
    report = {
        "machine": figures.machine(PACKAGES),
        "inputs": options.inputs,
        "outcomes": dict(outcomes),
        "seconds": round(time.perf_counter() - started, 1),
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    if options.out is not None:
        figures.write(options.out, report)


if __name__ == "__main__":
    main()
