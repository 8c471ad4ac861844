"""The bounds of the service; light, so that help comes at once and without `falx[serve]`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bounds:
    """The most that a request may ask of the service; each option of `falx serve` sets one.

    Attributes:
        megabytes: size of a request, in MiB.
        files: number of files in a request.
        seconds: time from its first byte to its answer, in seconds.
        running: requests that are worked on at a time.
        waiting: further requests that wait for their turn.
    """

    megabytes: int = field(default=200, metadata={"help": "MiB of a request"})
    files: int = field(default=1000, metadata={"help": "files in a request"})
    seconds: int = field(
        default=120, metadata={"help": "seconds from the first byte of a request to its answer"}
    )
    running: int = field(default=2, metadata={"help": "requests that are worked on at a time"})
    waiting: int = field(default=16, metadata={"help": "further requests that wait for their turn"})
