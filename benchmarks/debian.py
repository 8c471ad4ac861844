"""Makes a minimal Debian, and runs commands in it, where programs for Arm run too, in QEMU, if asked for.

A command has a user namespace of its own: which programs QEMU runs is registered there (Linux 6.7 or newer),
mounts are made there, and none of it is left or seen outside. Only root can do this, because the files of
Debian's packages belong to several users.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).parents[1]

SUITE: Final = "bookworm"
"""Debian 12, which Raspberry Pi OS was built on from 2023 to 2025: the last with a Python, 3.11, that
tflite-runtime has wheels for."""

MIRROR: Final = "http://deb.debian.org/debian"

REGISTRATIONS: Final = [Path(f"/usr/lib/binfmt.d/qemu-{cpu}.conf") for cpu in ("aarch64", "arm")]
"""Debian's qemu-user-static brings them."""

BINFMT: Final = Path("/proc/sys/fs/binfmt_misc")
DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
USERS: Final = 65536
"""The number of user and group numbers that are the same inside as outside: those of Debian's packages."""

# Of unshare(2).
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000


def command(
    words: Sequence[str | Path],
    *,
    root: Path,
    enter: bool = True,
    binds: Mapping[Path, str] | None = None,
    environment: Mapping[str, str] | None = None,
    emulate: bool = True,
) -> list[str]:
    """Returns what to run in place of a command, so that it runs in a namespace of its own.

    Args:
        words: the command.
        root: a folder with a Debian system, or where one is to be made.
        enter: whether the command sees that system in place of this machine's.
        binds: files and folders of this machine, and where the command sees them.
        environment: variables besides PATH, HOME and LANG.
        emulate: whether programs for Arm run too, which needs QEMU.
    """
    called = [sys.executable, __file__, f"--root={root}"]
    called += ["--emulate"] if emulate else []
    called += ["--enter"] if enter else []
    called += [f"--bind={source}={target}" for source, target in (binds or {}).items()]
    called += [f"--set={name}={value}" for name, value in (environment or {}).items()]
    return [*called, "--", *map(str, words)]


def inside(root: Path, words: Sequence[str], *, status: int | None = 0, **how: Any) -> tuple[str, str]:
    """Runs a command in a Debian; returns what it printed, and that as errors. `how` is of `command`.

    Raises:
        RuntimeError: it ended with another status than expected (None takes any); with all that it printed.
    """
    done = subprocess.run(command(words, root=root, **how), capture_output=True, text=True)
    if status not in (None, done.returncode):
        raise RuntimeError(f"{' '.join(words)[:200]} in {root.name}: {done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def made(root: Path, packages: str, architecture: str = "", *, emulate: bool) -> bool:
    """Makes a minimal Debian in a folder, unless it is there; returns whether it was made."""
    done = root.with_name(f"{root.name}.done")
    if done.exists():
        return False
    root.mkdir(exist_ok=True)
    words = ["debootstrap", "--variant=minbase", f"--include={packages}"]
    words += [f"--arch={architecture}"] if architecture else []
    called = command([*words, SUITE, root, MIRROR], root=root, enter=False, emulate=emulate)
    subprocess.run(called, check=True, stdout=sys.stderr)
    done.touch()
    return True


def wheel(work: Path) -> Path:
    """Builds the wheel of this checkout in a folder `wheel` below another; returns its path."""
    folder = work / "wheel"
    for old in folder.glob("*.whl"):
        old.unlink()
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*build, folder, CHECKOUT], check=True)
    (built,) = folder.glob("*.whl")
    return built


def main() -> int:
    """Runs a command in a namespace; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--enter", action="store_true")
    parser.add_argument("--emulate", action="store_true")
    parser.add_argument("--bind", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("words", nargs="+")
    options = parser.parse_args()
    unshared, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(unshared[0])
        os.close(mapped[1])
        _unshare()
        os.write(unshared[1], b"x")
        os.read(mapped[0], 1)
        os.setgid(0)
        os.setuid(0)
        # The first process after a new process namespace is its first: its end ends all others.
        first = os.fork()
        if first == 0:
            _mount(options)
            os.execvpe(options.words[0], options.words, _environment(options.set))  # noqa: S606 - its purpose
        os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
    os.close(unshared[1])
    if os.read(unshared[0], 1):
        for kind in ("uid", "gid"):
            Path(f"/proc/{child}/{kind}_map").write_text(f"0 0 {USERS}\n", encoding="ascii")
        os.write(mapped[1], b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no namespace can be made here: {os.strerror(number)}")


def _mount(options: argparse.Namespace) -> None:
    root: Path = options.root
    if options.emulate:
        _run("mount", "-t", "binfmt_misc", "none", BINFMT)
        for registration in REGISTRATIONS:
            (BINFMT / "register").write_bytes(registration.read_bytes())
    binds = [(f"/dev/{name}", f"dev/{name}") for name in DEVICES]
    if options.enter:
        # Names and certificates as this machine knows them: the system inside reaches the same indexes.
        binds += [(f"/{name}", name) for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt")]
        _run("mount", "-t", "proc", "none", root / "proc")
    binds += [tuple(bind.split("=", 1)) for bind in options.bind]
    for source, target in binds:
        place = Path(target) if not options.enter and target.startswith("/") else root / target.lstrip("/")
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.mkdir() if Path(source).is_dir() else place.touch()
        _run("mount", "--bind", source, place)
    if options.enter:
        os.chroot(root)
        os.chdir("/")


def _run(*words: str | Path) -> None:
    subprocess.run(words, check=True)


def _environment(variables: Sequence[str]) -> dict[str, str]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    # What debootstrap calls a place where no device can be made: those of this machine are mounted.
    always = {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", "container": "lxc"}
    return {**always, **dict(variable.split("=", 1) for variable in variables)}


if __name__ == "__main__":
    sys.exit(main())
