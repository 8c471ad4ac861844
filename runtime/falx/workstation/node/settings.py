"""What `falx listen` is told: by options, or by a TOML file with the same names.

```toml
title = "FALX"
host = "0.0.0.0"
port = 11112
allow = ["SCANNER1", "PACS"]
destination = "PACS@10.0.0.5:104"
spool = "/var/lib/falx"
```
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from falx.errors import FalxError

__all__ = ["Destination", "Settings", "read_file"]

TITLE: Final = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
"""An application entity title: 1 to 16 printable ASCII characters, no backslash, no space at its ends
(DICOM PS3.5, 6.2: AE)."""

DESTINATION: Final = re.compile(r"(?P<title>[^@]+)@(?P<host>[^:@]+|\[[^\]]+\]):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where results go: application entity title, host, port."""

    title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Read `TITLE@HOST:PORT`.

        Raises:
            FalxError: it is not that.
        """
        match = DESTINATION.fullmatch(text)
        if match is None or not TITLE.fullmatch(match["title"]) or not 0 < int(match["port"]) < 65536:
            raise FalxError(f"destination: expected TITLE@HOST:PORT such as PACS@10.0.0.5:104, got {text!r}")
        return cls(match["title"], match["host"].strip("[]"), int(match["port"]))

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a node does.

    Attributes:
        spool: the folder that holds what was received and what is to be sent.
        destination: where results are sent.
        title: the node's application entity title; associations that call another are refused.
        host: the address it listens at; 0.0.0.0 is every one of this machine.
        port: the port it listens at; 0 takes a free one.
        allow: the application entity titles that may send; none allows all.
        quiet_s: how long nothing of a study must have come before it is classified, in seconds.
        keep_s: how long its images are kept then, for the case that more of it comes, in seconds.
        spool_mb: how much the spool may hold, in megabytes; beyond that images are refused.
        object_mb: how large one image may be, in megabytes; a longer one ends its association.
        associations: how many may be open at once.
        idle_s: an association that says nothing for so long is ended, in seconds.
        workers: how many slices are worked on at a time.
        longest_s: how long the classification of one study may take, in seconds.
        again: whether a study is reported again when all of its images are received again.
        capture: whether pictures (Secondary Capture) of the slices that carry a decision are sent too.
        health_port: of the check at http://127.0.0.1:PORT/healthz; None for none, 0 takes a free one.
        retry_s, retry_most_s: how long the first try to send waits after a failure, and the last, in
            seconds; each waits twice as long as the one before.
        tls_certificate, tls_key: files in PEM; with them associations must use TLS.
        tls_authority: a file in PEM: a peer must show a certificate that one of these signed.
        destination_tls: whether results are sent over TLS.

    Raises:
        FalxError: a value is none of its kind; the message names it.
    """

    spool: Path
    destination: Destination
    title: str = "FALX"
    host: str = "127.0.0.1"
    port: int = 11112
    allow: tuple[str, ...] = ()
    quiet_s: float = 10.0
    keep_s: float = 3600.0
    spool_mb: float = 4096.0
    object_mb: float = 256.0
    associations: int = 32
    idle_s: float = 60.0
    workers: int = 2
    longest_s: float = 1800.0
    again: bool = False
    capture: bool = False
    health_port: int | None = None
    retry_s: float = 5.0
    retry_most_s: float = 300.0
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_authority: Path | None = None
    destination_tls: bool = False

    def __post_init__(self) -> None:
        for title in (self.title, *self.allow):
            if not TITLE.fullmatch(title):
                raise FalxError(f"expected an AE title of 1 to 16 printable characters, got {title!r}")
        above_0 = ("quiet_s", "spool_mb", "object_mb", "associations", "idle_s", "workers", "longest_s")
        for name in (*above_0, "retry_s", "retry_most_s"):
            if not getattr(self, name) > 0:
                raise FalxError(f"{name}: expected a number above 0, got {getattr(self, name)}")
        if not self.keep_s >= 0:
            raise FalxError(f"keep_s: expected a number from 0, got {self.keep_s}")
        for name, port in (("port", self.port), ("health_port", self.health_port)):
            if port is not None and not 0 <= port < 65536:
                raise FalxError(f"{name}: expected a port, 0 to 65535, got {port}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise FalxError("TLS needs both tls_certificate and tls_key")
        if self.tls_authority is not None and self.tls_certificate is None and not self.destination_tls:
            raise FalxError("tls_authority: nothing uses TLS; give tls_certificate and tls_key too")

    @classmethod
    def build(cls, options: Mapping[str, Any]) -> Settings:
        """Make settings of plain values, as a TOML file and the command line have them.

        Raises:
            FalxError: a name is unknown, a value is none of its kind, or spool or destination is missing.
        """
        known = {field.name: str(field.type) for field in dataclasses.fields(cls)}
        if unknown := sorted(set(options) - set(known)):
            raise FalxError(f"unknown setting {', '.join(unknown)}; known are {', '.join(known)}")
        if missing := [name for name in ("spool", "destination") if name not in options]:
            options_of = " and ".join(f"--{name}" for name in missing)
            raise FalxError(
                f"{' and '.join(missing)} must be given, with {options_of} or in the file of --config"
            )
        return cls(**{name: _value(name, known[name], value) for name, value in options.items()})


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a TOML file.

    Raises:
        FalxError: it cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise FalxError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FalxError(f"{path}: is no TOML: {error}") from error


def _value(name: str, kind: str, value: Any) -> Any:
    """A plain value as what the setting holds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "destination" and isinstance(value, str):
        return Destination.parse(value)
    if kind.startswith("Path") and isinstance(value, str | Path):
        return Path(value)
    if (
        kind.startswith("tuple")
        and isinstance(value, list | tuple)
        and all(isinstance(v, str) for v in value)
    ):
        return tuple(value)
    if kind.startswith("int") and number and value == int(value):
        return int(value)
    if kind == "float" and number:
        return float(value)
    if (kind == "bool" and isinstance(value, bool)) or (kind == "str" and isinstance(value, str)):
        return value
    raise FalxError(f"{name}: expected {kind.partition(' |')[0]}, got {value!r}")
