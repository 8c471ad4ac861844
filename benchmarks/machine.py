"""What a measurement was made on, to be written beside its numbers."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import falx
from falx_trainer.processor import processor

__all__ = ["described"]


def described(packages: Iterable[str]) -> dict[str, Any]:
    """The processor, how busy it is, Python, and the versions of packages.

    Args:
        packages: names of distributions.
    """
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }


def _version(name: str) -> str:
    # Falx may be on the path without being installed.
    if name == "falx":
        return falx.__version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
