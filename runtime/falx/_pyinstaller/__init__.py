"""Tells PyInstaller, which finds this through an entry point, where the hook of Falx lies."""

from __future__ import annotations

from pathlib import Path


def hook_folders() -> list[str]:
    """Returns the folders of hooks, for PyInstaller."""
    return [str(Path(__file__).parent)]
