"""The bounds of the service; light, so that help comes at once and without `falx[serve]`."""

from __future__ import annotations

from dataclasses import dataclass, field


def _bound(default: int, text: str) -> int:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Bounds:
    """The most that a request may ask of the service; each option of `falx serve` sets one."""

    megabytes: int = _bound(200, "MiB of a request")
    files: int = _bound(1000, "files in a request")
    seconds: int = _bound(120, "seconds from the first byte of a request to its answer")
    running: int = _bound(2, "requests that are worked on at a time")
    waiting: int = _bound(16, "further requests that wait for their turn")
