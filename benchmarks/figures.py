"""The figures of a benchmark: rows measured on a machine, as a table for a person and as JSON in a file."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import falx
from falx.model import file as model_file
from falx.model.file import DEFAULT_MODEL
from falx_trainer.evaluation.processor import processor

CHECKOUT: Final = Path(__file__).parents[1]

Row = dict[str, Any]
"""One line of a table: figures by name, rounded as they are to be read. None is an empty cell."""


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """Returns the day, the processor, how busy it is, Python, and the versions of distributions."""
    return {
        # In UTC: two results of one night must not seem to be of two days.
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }


def lines(setting: Mapping[str, Any]) -> list[str]:
    """Returns what `machine` returns, and what else belongs beside the numbers, as lines of text."""
    shown = [f"{name}: {value}" for name, value in setting.items() if name != "versions"]
    return [*shown, ", ".join(f"{name} {version}" for name, version in setting["versions"].items())]


def table(rows: Sequence[Row]) -> str:
    """Returns rows as a Markdown table. Its columns are the figures of the first row, in their order."""
    names = list(rows[0])
    head = [name.replace("_", " ") for name in names]
    cells = [[_cell(row[name]) for name in names] for row in rows]
    lines = ["".join(f"| {cell}".rstrip() + " " for cell in line) + "|" for line in [head, *cells]]
    return "\n".join([lines[0], "|" + "---|" * len(names), *lines[1:]])


def tell(setting: Mapping[str, Any], rows: Sequence[Row], out: Path | None) -> None:
    """Prints a result, and writes the same figures to a file where one is asked for."""
    print("\n".join([*lines(setting), "", table(rows)]))
    if out is not None:
        write(out, {**setting, "rows": rows})


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a result as JSON, indented by one, as all files in `benchmarks/results` are."""
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Returns the parser of a benchmark, with its docstring as the help, and `--out`."""
    made = argparse.ArgumentParser(
        f"python -m {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, metavar="JSON", help="also write everything to this file")
    return made


def add_model(to: argparse._ActionsContainer) -> None:
    """Adds the arguments that say which released model is measured."""
    to.add_argument("--models", type=Path, default=CHECKOUT / "models", help="where releases lie (models)")
    name = model_file.read(DEFAULT_MODEL)[0].name if DEFAULT_MODEL.exists() else None
    to.add_argument("--name", default=name, help="of the released model (the one in Falx)")


def released(options: argparse.Namespace) -> Path:
    """Returns the folder of the released model that was asked for."""
    folder: Path = options.models / options.name
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder; give the folder of the releases with --models")
    return folder


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _version(name: str) -> str:
    # Falx may be on the path without being installed.
    if name == "falx":
        return falx.__version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
