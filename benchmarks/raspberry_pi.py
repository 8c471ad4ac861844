"""Proves Falx on a Raspberry Pi, as far as it can be without one: in Debian for Arm, emulated.

    python -m benchmarks.raspberry_pi --data ../shared/data --work runs/pi --out benchmarks/results/...json

Makes a Debian 12 of each architecture with debootstrap, installs the wheel in it with that Debian's own
Python and pip, runs `falx check` and `falx predict` there in QEMU, and compares every answer with this
machine's. How long a decision takes, an emulator cannot tell; docs/raspberry-pi.md has an estimate.

Needs root, Linux 6.7 or newer, and from Debian: debootstrap, qemu-user, qemu-user-static. The first run takes
half an hour or more; what is in --work is not made again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import debian, figures
from benchmarks.agreement import Answer, compare
from benchmarks.chosen_slices import SPLIT, chosen
from tqdm import tqdm

import falx
from falx.words import LABELS

PACKAGES: Final = "python3,python3-venv,python3-pip,ca-certificates"
SLICES: Final = 100
SLICES_AGAIN: Final = 20
"""With each further processor that QEMU plays for a system."""


@dataclass(frozen=True, slots=True)
class Place:
    """An emulated system with Falx in it.

    Attributes:
        name: of the row.
        architecture: Debian's word.
        engine: the one installed; the virtual environment in the system is named after it.
        requirements: what pip installs; `{wheel}` is Falx.
        cpus: the processors that QEMU plays: the first classifies all slices, the others `SLICES_AGAIN`.
        debian: packages of Debian that are installed first.
        remove: what pip takes away again, so that the engine is the only one.
    """

    name: str
    architecture: str
    engine: str
    requirements: tuple[str, ...]
    cpus: tuple[str, ...]
    debian: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


PLACES: Final = (
    Place("arm64-litert", "arm64", "litert", ("{wheel}",), ("cortex-a72", "cortex-a76")),
    Place(
        "arm64-tflite", "arm64", "tflite", ("{wheel}[tflite]",), ("cortex-a72",), remove=("ai-edge-litert",)
    ),
    # PyPI has no NumPy and no Pillow for armv7l; Raspberry Pi OS takes them from piwheels.org. Debian's are
    # older than Falx asks for, so pip is told not to look at what Falx asks for. Pillow 9.4 lacks what reads
    # a picture in colours, so slices saved so cannot be read there.
    Place(
        "armhf-tflite",
        "armhf",
        "tflite",
        ("--no-deps", "{wheel}", "tflite-runtime"),
        ("cortex-a15",),
        debian=("python3-numpy", "python3-pil"),
    ),
)


@dataclass(frozen=True, slots=True)
class Installed:
    """Falx in an emulated system: its path, versions, and the refusal of pip where it cannot install all."""

    command: str
    versions: dict[str, str]
    refusal: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = figures.parser("benchmarks.raspberry_pi", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with manifest.csv and its slices")
    parser.add_argument("--work", type=Path, required=True, help="for the systems, 1 GB; kept")
    options = parser.parse_args(arguments)
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    slices = chosen(options.data, SLICES, LABELS)
    wheel = debian.wheel(work)
    qemu = subprocess.run(["qemu-aarch64", "--version"], check=True, capture_output=True, text=True).stdout
    setting = {
        **figures.machine(("falx", "numpy", "pillow", "ai-edge-litert")),
        "qemu": qemu.splitlines()[0],
        "debian": debian.SUITE,
        "slices": f"{SLICES} of split {SPLIT}, of all collections and labels in turn",
    }
    classifier = falx.load(engine="litert")
    here = [
        Answer.of(classifier.predict(path).to_dict()) for path in tqdm(slices, "this machine", disable=None)
    ]
    thresholds = classifier.card.thresholds.to_dict()
    for place in PLACES:
        debian.made(work / place.architecture, PACKAGES, place.architecture, emulate=True)
    installed = {place.name: _installed(place, work / place.architecture, wheel) for place in PLACES}
    setting["versions there"] = {name: there.versions for name, there in installed.items()}
    setting["plain pip says"] = {name: there.refusal for name, there in installed.items() if there.refusal}

    def tried(place: Place) -> list[figures.Row]:
        command, root = installed[place.name].command, work / place.architecture
        found = []
        for number, cpu in enumerate(place.cpus):
            how = {"environment": {"QEMU_CPU": cpu}}
            checked, _ = debian.inside(root, [command, "check", "--no-latency", "--json"], status=None, **how)
            count = SLICES if number == 0 else SLICES_AGAIN
            kept = work / f"{place.name}-{cpu}.jsonl"
            lines = _answers(command, root, slices[:count], options.data.resolve(), kept, how)
            row = {"name": place.name, "cpu": cpu, "check": json.loads(checked)["ok"]}
            found.append(row | compared(here[:count], lines, thresholds))
            print(found[-1], file=sys.stderr)
        return found

    # Each waits for one emulated process.
    with ThreadPoolExecutor() as pool:
        rows = [row for found in pool.map(tried, PLACES) for row in found]
    figures.tell(setting, rows, options.out)
    return 0 if all(row["check"] for row in rows) else 1


def compared(
    here: Sequence[Answer], there: Sequence[Mapping[str, Any]], thresholds: Mapping[str, float]
) -> figures.Row:
    """Returns how far an emulated system's answers are from this machine's, and how many are errors."""
    pairs = [
        (mine, Answer.of(other)) for mine, other in zip(here, there, strict=True) if "error" not in other
    ]
    return {"unreadable": len(there) - len(pairs), **compare(pairs, thresholds)}


def _answers(
    command: str, root: Path, slices: Sequence[Path], data: Path, kept: Path, how: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns what Falx answers there. It is kept in a file, because a hundred slices take long."""
    names = [f"/mnt/data/{path.resolve().relative_to(data)}" for path in slices]
    lines = _read(kept)
    if [line["path"] for line in lines] != names:
        words = debian.command(
            [command, "predict", "--json", *names], root=root, binds={data: "/mnt/data"}, **how
        )
        with kept.open("w", encoding="utf-8") as opened:
            subprocess.run(words, stdout=opened, check=False)
        lines = _read(kept)
    return lines


def _read(kept: Path) -> list[dict[str, Any]]:
    return (
        [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []
    )


def _installed(place: Place, root: Path, wheel: Path) -> Installed:
    environment = f"/opt/{place.engine}"
    there = f"/mnt/wheel/{wheel.name}"
    pip = [f"{environment}/bin/pip"]
    install = [*pip, "install", "--no-cache-dir", "--quiet", "--disable-pip-version-check"]
    binds = {wheel.parent: "/mnt/wheel"}
    if place.debian:
        # Quietly: a minimal Debian has no terminal to be asked on.
        get = "apt-get -qq update && apt-get -qq install --yes --no-install-recommends"
        debian.inside(root, ["sh", "-ec", f"{get} {' '.join(place.debian)} >/dev/null"])
    if not (root / environment.lstrip("/") / "bin/falx").exists():
        system = ["--system-site-packages"] if place.debian else []
        debian.inside(root, ["python3", "-m", "venv", *system, environment])
        words = [word.format(wheel=there) for word in place.requirements]
        debian.inside(root, [*install, *words], binds=binds)
    else:
        debian.inside(root, [*install, "--no-deps", "--force-reinstall", there], binds=binds)
    refusal = None
    if "--no-deps" in place.requirements:
        refused = [*install, "--dry-run", "--only-binary=:all:", there]
        _, said = debian.inside(root, refused, binds=binds, status=1)
        refusal = next(line for line in said.splitlines() if line.startswith("ERROR: "))
    for package in place.remove:
        debian.inside(root, [*pip, "uninstall", "--quiet", "--yes", package])
    listed, _ = debian.inside(root, [*pip, "list", "--format=json", "--disable-pip-version-check"])
    versions = {item["name"].lower().replace("_", "-"): item["version"] for item in json.loads(listed)}
    kept = ("ai-edge-litert", "falx", "numpy", "pillow", "tflite-runtime")
    beside = {name: versions[name] for name in kept if name in versions}
    return Installed(f"{environment}/bin/falx", beside, refusal)


if __name__ == "__main__":
    sys.exit(main())
