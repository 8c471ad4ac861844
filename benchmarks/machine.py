"""What a measurement was made on, to be written beside its numbers."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import falx
from falx_trainer.evaluation.processor import processor

__all__ = ["described", "lines", "write"]


def described(packages: Iterable[str]) -> dict[str, Any]:
    """The day, the processor, how busy it is, Python, and the versions of packages.

    Args:
        packages: names of distributions.
    """
    return {
        # In UTC: on the same night two results must not seem to be of two days.
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }


def lines(setting: Mapping[str, Any]) -> list[str]:
    """What a measurement was made on, and with, for a terminal: a line each, the versions on one.

    Args:
        setting: what `described` says, and what else belongs beside the numbers.
    """
    shown = [f"{name}: {value}" for name, value in setting.items() if name != "versions"]
    return [*shown, ", ".join(f"{name} {version}" for name, version in setting["versions"].items())]


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Keep a result as JSON, as all in `benchmarks/results` are: indented by one, a line's end last."""
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _version(name: str) -> str:
    # Falx may be on the path without being installed.
    if name == "falx":
        return falx.__version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
