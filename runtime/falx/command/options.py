"""The options that several commands share, and the model that they name."""

from __future__ import annotations

import argparse
import gc
import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from falx.words import LABELS

if TYPE_CHECKING:
    from falx.classifier import Classifier
    from falx.decision import Thresholds

OK: Final = 0
SOME_FAILED: Final = 1
"""Exit statuses: all was as it should be; some input could not be read, or a check failed."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the options that name a model and say how it runs."""
    parser.add_argument("--model", metavar="FILE", help=".tflite or .onnx file (default: the one in Falx)")
    parser.add_argument(
        "--engine",
        metavar="ENGINE",
        help="litert, tflite or onnx (default: the first installed for the file)",
    )
    parser.add_argument(
        "--threads", type=whole_number, metavar="N", help="threads of one inference (default 1)"
    )


def add_threshold(parser: argparse.ArgumentParser, where: str) -> None:
    """Adds the option for other thresholds; `where` says where they are in force."""
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        type=_threshold,
        metavar="LABEL=VALUE",
        help=f"the least probability for a label ({', '.join(LABELS)}) {where}; repeatable",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says how many slices are worked on at a time."""
    parser.add_argument(
        "--workers", type=whole_number, default=1, metavar="N", help="slices worked on at a time (default 1)"
    )


def add_address(parser: argparse.ArgumentParser, port: int) -> None:
    """Adds the options that say where a server listens, by default at this port of this machine alone."""
    about = "the address to listen at (default 127.0.0.1: reached from this machine only)"
    parser.add_argument("--address", default="127.0.0.1", help=about)
    about = f"the port to listen at (default {port})"
    parser.add_argument("--port", type=_port, default=port, metavar="N", help=about)


def thresholds(options: argparse.Namespace, classifier: Classifier) -> Thresholds:
    """Returns the thresholds in force: the card's, with those of `--threshold` in their place."""
    return replace(classifier.card.thresholds, **dict(options.threshold))


def load(options: argparse.Namespace) -> Classifier:
    """Loads the model that the options name, and says on standard error what it warns of."""
    from falx import classifier as classifiers

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier = classifiers.load(options.model, engine=options.engine, threads=options.threads)
    for warning in caught:
        sys.stderr.write(f"falx: warning: {warning.message}\n")
    if not gc.isenabled():
        # The process is here for one command (`falx.__main__`). Everything loaded so far stays to its end.
        gc.freeze()
        gc.enable()
    return classifier


def _threshold(text: str) -> tuple[str, float]:
    label, _, value = text.partition("=")
    if label not in LABELS:
        raise argparse.ArgumentTypeError(
            f"expected LABEL=VALUE with a label of {', '.join(LABELS)}, got {text!r}"
        )
    try:
        return label, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number in (0, 1] after {label}=, got {value!r}"
        ) from None


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port, 1 to 65535, got {text!r}")
    return int(text)


def whole_number(text: str) -> int:
    """Returns the whole number from 1 that an option was given."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)
