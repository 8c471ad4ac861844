"""What a Raspberry Pi would do, as far as it shows without one: Debian for Arm, emulated.

    python -m benchmarks.raspberry_pi --data ../shared/data --work runs/pi --out benchmarks/results/...json

Makes a Debian 12 of each architecture with debootstrap, installs the wheel in it with that Debian's own
Python and pip, runs `falx check` and `falx predict` there in QEMU, and compares every answer with this
machine's. Then it counts the instructions of one decision and estimates from them how long a Pi 4 and a
Pi 5 take. **The estimate is no measurement**; `docs/raspberry-pi.md` has its assumptions.

Needs root, Linux 6.7 or newer, a C compiler, and from Debian: debootstrap, qemu-user, qemu-user-static.
The first run takes half an hour or more; what is in --work is not made again.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import machine
from benchmarks.emulation import namespace
from benchmarks.manifest import SPLIT, chosen
from PIL import Image
from tqdm import tqdm

import falx
from falx import phantom
from falx.prediction import Prediction
from falx.words import LABELS

__all__ = ["CORES", "PLACES", "Core", "Difference", "Place", "compared", "estimate", "main"]

SUITE: Final = "bookworm"
"""Debian 12, which Raspberry Pi OS was built on from 2023 to 2025: the last with a Python, 3.11, that
tflite-runtime has wheels for."""

MIRROR: Final = "http://deb.debian.org/debian"
PACKAGES: Final = "python3,python3-venv,python3-pip,ca-certificates"
SLICES: Final = 100
SLICES_AGAIN: Final = 20
"""With each further processor that QEMU plays for a system."""

FEW: Final = 5
"""Decisions of the first count; the second has twice as many, and start-up falls out of the difference."""

SIDE: Final = 512
QUALITY: Final = 90
SCRIPT: Final = Path(namespace.__file__).with_name("decide.py")
PLUGIN: Final = Path(namespace.__file__).with_name("count.c")
IPC: Final = (1.0, 2.0)
"""Instructions a cycle, assumed: from code that often waits to code that keeps a core busy."""


@dataclass(frozen=True, slots=True)
class Core:
    """A processor core, as published.

    Attributes:
        board: which computer has it.
        clock_hz: its highest clock as delivered, in cycles a second (Raspberry Pi's product pages).
        decode: how many instructions it decodes a cycle, at most: the software optimisation guides,
            Arm UAN 0016A (Cortex-A72) and PJDOC-466751330-7215 (Cortex-A76), section "Pipeline overview".
        multipliers: how many of its pipelines multiply vectors of integers, from the same guides.
        cpuinfo: what Linux says of it, `features`, `variant` and `part`: engines choose their code by it.
    """

    board: str
    clock_hz: float
    decode: int
    multipliers: int
    cpuinfo: Mapping[str, str]


CORES: Final[Mapping[str, Core]] = {
    "cortex-a72": Core(
        "Raspberry Pi 4",
        1.8e9,
        3,
        1,
        {"features": "fp asimd evtstrm crc32 cpuid", "variant": "0x0", "part": "0xd08"},
    ),
    "cortex-a76": Core(
        "Raspberry Pi 5",
        2.4e9,
        4,
        2,
        {
            "features": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm "
            "lrcpc dcpop asimddp",
            "variant": "0x4",
            "part": "0xd0b",
        },
    ),
}
"""By the names that QEMU has for them."""


@dataclass(frozen=True, slots=True)
class Place:
    """An emulated system with Falx in it.

    Attributes:
        name: of the row.
        architecture: Debian's word.
        engine: the one installed; the virtual environment in the system is named after it.
        debian: packages of Debian that are installed first.
        requirements: what pip installs; `{wheel}` is Falx.
        remove: what pip takes away again, so that the engine is the only one.
        cpus: the processors that QEMU plays: the first classifies all slices, the others `SLICES_AGAIN`.
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
    """Falx in an emulated system.

    Attributes:
        command: the path of `falx` there.
        versions: of what stands beside it.
        refusal: what pip says where it is asked for all that Falx requires, and cannot give it.
    """

    command: str
    versions: dict[str, str]
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """An emulated system's answers against this machine's.

    Attributes:
        slices: how many there were.
        unreadable: how many of them the emulated system could not read; the others are compared.
        decisions: how many decisions differ.
        largest: the largest difference of a probability, 0..1.
        mean: of the largest of each slice.
        rejections: how many were rejected by one and not by the other.
        differing: for each decision that differs, both, and how far the probability that is nearest to its
            threshold on this machine lies from it, 0..1.
    """

    slices: int
    unreadable: int
    decisions: int
    largest: float
    mean: float
    rejections: int
    differing: tuple[dict[str, Any], ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    slices = chosen(options.data, SLICES, LABELS)
    wheel = _wheel(work)
    setting = {
        **machine.described(("falx", "numpy", "pillow", "ai-edge-litert")),
        "qemu": _said(["qemu-aarch64", "--version"]).splitlines()[0],
        "debian": SUITE,
        "slices": f"{SLICES} of split {SPLIT}, of all collections and labels in turn",
    }
    classifier = falx.load(engine="litert")
    here = [classifier.predict(path) for path in tqdm(slices, "this machine", disable=None)]
    for architecture in dict.fromkeys(place.architecture for place in PLACES):
        _system(architecture, work)
    installed = [_installed(place, work / place.architecture, wheel) for place in PLACES]
    # Each waits for one emulated process.
    with ThreadPoolExecutor() as pool:
        counted = pool.submit(_counted, work)
        trying = [
            pool.submit(_tried, place, work / place.architecture, there, slices, here, options.data.resolve())
            for place, there in zip(PLACES, installed, strict=True)
        ]
        document = {
            **setting,
            "places": [place.result() for place in trying],
            "decision": counted.result(),
        }
    print("\n".join(_lines(document)))
    if options.out is not None:
        machine.write(options.out, document)
    return 0


def compared(
    here: Sequence[Prediction], there: Sequence[Mapping[str, Any]], thresholds: Mapping[str, float]
) -> Difference:
    """Compare answers, slice by slice.

    Args:
        here: this machine's.
        there: those of `falx predict --json`, in the same order.
        thresholds: of the model.
    """
    worst, differing, rejections, unreadable = [], [], 0, 0
    for mine, other in zip(here, there, strict=True):
        if "error" in other:
            unreadable += 1
            continue
        if mine.decision != other["decision"]:
            near = None
            if mine.probabilities is not None:
                near = round(min(abs(mine.probabilities[x] - thresholds[x]) for x in LABELS), 4)
            differing.append({"here": mine.decision, "there": other["decision"], "from_threshold": near})
        if mine.probabilities is None or other["probabilities"] is None:
            rejections += (mine.probabilities is None) != (other["probabilities"] is None)
            continue
        worst.append(max(abs(mine.probabilities[x] - other["probabilities"][x]) for x in LABELS))
    mean = sum(worst) / len(worst) if worst else 0.0
    return Difference(
        slices=len(there),
        unreadable=unreadable,
        decisions=len(differing),
        largest=round(max(worst, default=0.0), 5),
        mean=round(mean, 5),
        rejections=rejections,
        differing=tuple(differing),
    )


def estimate(counts: Mapping[str, int], core: Core) -> dict[str, float]:
    """How long a core would take for a decision: a bound, and a range under assumptions, in milliseconds.

    Args:
        counts: instructions of one decision, by kind.
        core: which.

    Returns:
        `least_ms`: no sooner, since every instruction is decoded and every integer vector multiplication
        goes through one of few pipelines; `fast_ms` and `slow_ms`: at `IPC` instructions a cycle.
    """
    multiplications = counts["dot_product"] + counts["widening_multiply"]
    cycles = max(counts["all"] / core.decode, multiplications / core.multipliers)
    slow, fast = (counts["all"] / ipc for ipc in IPC)
    of = {"least_ms": cycles, "fast_ms": fast, "slow_ms": slow}
    return {name: round(value / core.clock_hz * 1000, 1) for name, value in of.items()}


def _tried(
    place: Place,
    root: Path,
    there: Installed,
    slices: Sequence[Path],
    here: Sequence[Prediction],
    data: Path,
) -> dict[str, Any]:
    checks, answers = {}, {}
    thresholds = falx.load(engine="litert").card.thresholds.to_dict()
    for number, cpu in enumerate(place.cpus):
        checked = _inside(
            root,
            [there.command, "check", "--no-latency", "--json"],
            environment={"QEMU_CPU": cpu},
            status=None,
        )
        checks[cpu] = json.loads(checked)
        count = len(slices) if number == 0 else SLICES_AGAIN
        kept = root.parent / f"{place.name}-{cpu}.jsonl"
        lines = _answers(there.command, root, slices[:count], data, cpu, kept)
        answers[cpu] = asdict(compared(here[:count], lines, thresholds))
        print(f"{place.name} as {cpu}: {answers[cpu]}", file=sys.stderr)
    return {
        "name": place.name,
        "machine": _inside(root, ["uname", "-m"]).strip(),
        "python": _inside(root, ["python3", "--version"]).split()[1],
        "pip": " ".join(place.requirements).format(wheel="falx"),
        **({"plain_pip_says": there.refusal} if there.refusal else {}),
        "versions": there.versions,
        "check": {
            cpu: {"ok": report["ok"], "engine": report["engine"], "steps": report["steps"]}
            for cpu, report in checks.items()
        },
        "against_this_machine": answers,
    }


def _answers(
    command: str, root: Path, slices: Sequence[Path], data: Path, cpu: str, kept: Path
) -> list[dict[str, Any]]:
    """What Falx answers there; kept in a file, because a hundred slices take long."""
    names = [f"/mnt/data/{path.resolve().relative_to(data)}" for path in slices]
    lines = _read(kept)
    if [line["path"] for line in lines] != names:
        words = namespace.command(
            [command, "predict", "--json", *names],
            root=root,
            binds={data: "/mnt/data"},
            environment={"QEMU_CPU": cpu},
        )
        with kept.open("w", encoding="utf-8") as opened:
            subprocess.run(words, stdout=opened, check=False)
        lines = _read(kept)
    return lines


def _read(kept: Path) -> list[dict[str, Any]]:
    if not kept.exists():
        return []
    return [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]


def _wheel(work: Path) -> Path:
    folder = work / "wheel"
    for old in folder.glob("*.whl"):
        old.unlink()
    checkout = Path(__file__).parents[1]
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*build, str(folder), str(checkout)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _system(architecture: str, work: Path) -> Path:
    root, done = work / architecture, work / f"{architecture}.done"
    if not done.exists():
        root.mkdir(exist_ok=True)
        make = ["debootstrap", f"--arch={architecture}", "--variant=minbase", f"--include={PACKAGES}"]
        words = [*make, SUITE, str(root), MIRROR]
        subprocess.run(namespace.command(words, root=root, enter=False), check=True, stdout=sys.stderr)
        done.touch()
    return root


def _installed(place: Place, root: Path, wheel: Path) -> Installed:
    environment = f"/opt/{place.engine}"
    there = f"/mnt/wheel/{wheel.name}"
    pip = [f"{environment}/bin/pip"]
    install = [*pip, "install", "--no-cache-dir", "--quiet", "--disable-pip-version-check"]
    binds = {wheel.parent: "/mnt/wheel"}
    plain = None
    if place.debian:
        # Quietly: a minimal Debian has no terminal to be asked on.
        get = "apt-get -qq update && apt-get -qq install --yes --no-install-recommends"
        _inside(root, ["sh", "-ec", f"{get} {' '.join(place.debian)} >/dev/null"])
    if not (root / environment.lstrip("/") / "bin/falx").exists():
        system = ["--system-site-packages"] if place.debian else []
        _inside(root, ["python3", "-m", "venv", *system, environment])
        _inside(root, [*install, *(word.format(wheel=there) for word in place.requirements)], binds=binds)
    else:
        _inside(root, [*install, "--no-deps", "--force-reinstall", there], binds=binds)
    if "--no-deps" in place.requirements:
        refused = [*install, "--dry-run", "--only-binary=:all:", there]
        said = _inside(root, refused, binds=binds, status=1, errors=True)
        plain = next(line for line in said.splitlines() if line.startswith("ERROR: "))
    for package in place.remove:
        _inside(root, [*pip, "uninstall", "--quiet", "--yes", package])
    listed = json.loads(_inside(root, [*pip, "list", "--format=json", "--disable-pip-version-check"]))
    kept = ("ai-edge-litert", "falx", "numpy", "pillow", "tflite-runtime")
    versions = {item["name"].lower().replace("_", "-"): item["version"] for item in listed}
    beside = {name: versions[name] for name in kept if name in versions}
    return Installed(f"{environment}/bin/falx", beside, plain)


def _inside(
    root: Path,
    words: Sequence[str],
    *,
    binds: Mapping[Path, str] | None = None,
    environment: Mapping[str, str] | None = None,
    status: int | None = 0,
    errors: bool = False,
) -> str:
    command = namespace.command(words, root=root, binds=binds, environment=environment)
    done = subprocess.run(command, capture_output=True, text=True)
    if status not in (None, done.returncode):
        raise RuntimeError(f"{' '.join(words)[:200]} in {root.name}: {done.stdout}{done.stderr}")
    return done.stderr if errors else done.stdout


def _counted(work: Path) -> dict[str, Any]:
    """The instructions of one decision, by core: those of twice as many decisions, less those of as many."""
    root = work / "arm64"
    picture, plugin = work / "slice.jpg", work / "count.so"
    buffer = io.BytesIO()
    drawn = Image.fromarray(phantom.lesion()).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    drawn.save(buffer, "JPEG", quality=QUALITY)
    picture.write_bytes(buffer.getvalue())
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", plugin, PLUGIN], check=True)
    found: dict[str, Any] = {
        "slice": f"phantom, {SIDE} x {SIDE}, JPEG quality {QUALITY}",
        "ipc": IPC,
        "cores": {},
    }
    for place in PLACES:
        if place.architecture != "arm64":
            continue
        packages = root / f"opt/{place.engine}/lib/python3.11/site-packages"
        for cpu, core in CORES.items():
            description = work / f"{cpu}.txt"
            description.write_text(_cpuinfo(core), encoding="ascii")
            few, many = (_count(root, plugin, cpu, packages, picture, n) for n in (FEW, 2 * FEW))
            counts = {kind: (many[kind] - few[kind]) // FEW for kind in few}
            found["cores"].setdefault(cpu, {"board": core.board, "clock_ghz": core.clock_hz / 1e9})[
                place.engine
            ] = {
                "instructions": counts,
                "estimate": estimate(counts, core),
            }
    return found


def _count(
    root: Path, plugin: Path, cpu: str, packages: Path, picture: Path, decisions: int
) -> dict[str, int]:
    # The system's files without entering it: the plugin needs the QEMU that is linked with this machine's.
    emulator = ["qemu-aarch64", "-cpu", cpu, "-L", root, "-plugin", plugin, "-d", "plugin"]
    words = [*emulator, root / "usr/bin/python3.11", SCRIPT, picture, decisions]
    command = namespace.command(
        [str(word) for word in words],
        root=root,
        enter=False,
        binds={plugin.with_name(f"{cpu}.txt"): "/proc/cpuinfo"},
        environment={"PYTHONPATH": str(packages)},
    )
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line.split() for line in done.stderr.splitlines() if line.startswith("count ")]
    if done.returncode != 0 or not lines:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return {kind: int(number) for _, kind, number in lines}


def _cpuinfo(core: Core) -> str:
    values = {
        "BogoMIPS": "108.00",
        "Features": core.cpuinfo["features"],
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": core.cpuinfo["variant"],
        "CPU part": core.cpuinfo["part"],
        "CPU revision": "1",
    }
    lines = "".join(f"{name}\t: {value}\n" for name, value in values.items())
    return "".join(f"processor\t: {number}\n{lines}\n" for number in range(4))


def _said(words: Sequence[str]) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def _lines(document: Mapping[str, Any]) -> list[str]:
    setting = {name: value for name, value in document.items() if name not in ("places", "decision")}
    lines = [*machine.lines(setting), ""]
    lines += ["| system | processor | check | decisions that differ | largest difference | mean |"]
    lines += ["|---|---|---|---|---|---|"]
    for place in document["places"]:
        for cpu, answer in place["against_this_machine"].items():
            passed = "passed" if place["check"][cpu]["ok"] else "FAILED"
            differ = f"{answer['decisions']} of {answer['slices'] - answer['unreadable']}"
            lines.append(
                f"| {place['name']} | {cpu} | {passed} | {differ} | {answer['largest']} | {answer['mean']} |"
            )
    if "decision" in document:
        lines += [
            "",
            "| processor | engine | instructions | of these dot products | estimate | no less than |",
        ]
        lines += ["|---|---|---|---|---|---|"]
        for core in document["decision"]["cores"].values():
            for engine in ("litert", "tflite"):
                counts, guess = core[engine]["instructions"], core[engine]["estimate"]
                millions = [f"{counts[kind] / 1e6:.1f} M" for kind in ("all", "dot_product")]
                times = f"{guess['fast_ms']} to {guess['slow_ms']} ms | {guess['least_ms']} ms"
                lines.append(f"| {core['board']} | {engine} | {' | '.join(millions)} | {times} |")
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benchmarks.raspberry_pi", description="What a Raspberry Pi would do, as far as emulation shows it."
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with manifest.csv and its slices")
    parser.add_argument(
        "--work", type=Path, required=True, help="for the systems, 1 GB; kept for the next run"
    )
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
