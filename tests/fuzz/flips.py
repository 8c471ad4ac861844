"""Flip single bits of model files, and see that each damaged file is refused.

    python -m tests.fuzz.flips --out flips.json

Every byte of a model file is compared with something: the graph with the SHA-256 in the card, the card with
the SHA-256 in itself, and what lies around the card (the zip, its directory, the other files of the TFLite
metadata standard; the tags of an ONNX field) with what Falx would write for this card. No byte is padding
that nobody looks at.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks import figures

from falx.errors import ModelError
from falx.model import file as model_file
from falx.model.file import DEFAULT_MODEL

__all__ = ["flipped", "main"]

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("falx", "ai-edge-litert", "onnxruntime")


def main(arguments: Sequence[str] | None = None) -> int:
    """Flips bits of the released files; returns 0 where every flip was refused, else 1."""
    parser = argparse.ArgumentParser("tests.fuzz.flips", description="Single bits of model files, flipped.")
    parser.add_argument(
        "files", nargs="*", type=Path, help="model files (the int8 files of the model in Falx)"
    )
    parser.add_argument("--flips", type=int, default=2500, help="of each file (2500: 10,000 of four)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the bits (1)")
    parser.add_argument("--out", type=Path, metavar="JSON", help="also write the report here")
    options = parser.parse_args(arguments)
    name = model_file.read(DEFAULT_MODEL)[0].name
    released = sorted((ROOT / "models" / name).glob(f"{name}-int8*.*"))
    files = options.files or [path for path in released if path.suffix in KINDS]
    report = {
        **figures.machine(PACKAGES),
        "seed": options.seed,
        "files": {path.name: flipped(path, options.flips, options.seed) for path in files},
    }
    text = json.dumps(report, indent=1) + "\n"
    sys.stdout.write(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    return 1 if any(file["accepted"] for file in report["files"].values()) else 0


KINDS: Final = (".tflite", ".onnx")


def flipped(path: Path, flips: int, seed: int) -> dict[str, Any]:
    """Flips many bits of a file, one at a time, and counts what became of the file.

    Half of the bits are anywhere in the file, which is nearly all graph; the other half in the card and
    around it.

    Returns:
        The bytes of the graph and of the rest, how many flips were refused, by error, and how many were not.
    """
    data = bytearray(path.read_bytes())
    card, payload = model_file.extract(bytes(data))
    start = bytes(data).find(card.to_json().encode())
    around = (max(0, start - 64), min(len(data), start + len(data) - len(payload) + 64))
    random = np.random.default_rng(seed)
    anywhere = random.integers(0, 8 * len(data), flips - flips // 2)
    near = random.integers(8 * around[0], 8 * around[1], flips // 2)
    refused: Counter[str] = Counter()
    for bit in np.concatenate([anywhere, near]).tolist():
        data[bit // 8] ^= 1 << bit % 8
        try:
            model_file.extract(bytes(data))
        except ModelError as error:
            refused[type(error).__name__] += 1
        data[bit // 8] ^= 1 << bit % 8
    return {
        "bytes": len(data),
        "bytes_of_the_graph": len(payload),
        "flips": flips,
        "refused": dict(refused.most_common()),
        "accepted": flips - refused.total(),
    }


if __name__ == "__main__":
    sys.exit(main())
