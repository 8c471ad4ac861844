"""The settings of `falx listen`, each told once: as an option, a key of a TOML file, and a row of the manual.

```toml
title = "FALX"
host = "0.0.0.0"
allow = ["SCANNER1", "PACS"]
destination = "PACS@10.0.0.5:104"
spool = "/var/lib/falx"
quiet = 20
```
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from falx.workstation.errors import SettingsError

TITLE: Final = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
"""An application entity title: 1 to 16 printable ASCII characters, no backslash, no space at its ends
(DICOM PS3.5, 6.2: AE)."""

DESTINATION: Final = re.compile(r"(?P<title>[^@]+)@(?P<host>[^:@]+|\[[^\]]+\]):(?P<port>\d{1,5})")

PORTS: Final = 65535

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Destination:
    """The application entity that results are sent to: its title, host and port."""

    title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Reads `TITLE@HOST:PORT`."""
        match = DESTINATION.fullmatch(text)
        if match is None or not TITLE.fullmatch(match["title"]) or not 0 < int(match["port"]) <= PORTS:
            raise SettingsError(
                f"destination: expected TITLE@HOST:PORT such as PACS@10.0.0.5:104, got {text!r}"
            )
        return cls(match["title"], match["host"].strip("[]"), int(match["port"]))

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"


class Range(NamedTuple):
    """A range of numbers, in words and as a test."""

    words: str
    holds: Callable[[float], bool]


SECONDS: Final = "SECONDS"
ABOVE_0: Final = Range("a number above 0", lambda value: value > 0)
FROM_0: Final = Range("a number from 0", lambda value: value >= 0)
PORT: Final = Range(f"a port from 0 to {PORTS}", lambda value: 0 <= value <= PORTS)


class About(NamedTuple):
    """The description of a setting, beside its name and default.

    The unit is the word behind the option, which may be a name for the value; it is empty for a switch.
    """

    help: str
    unit: str
    range: Range | None
    kind: type[object]


def _setting(
    default: T, text: str, unit: str = "", allowed: Range | None = None, kind: type[object] | None = None
) -> T:
    return field(default=default, metadata={"about": About(text, unit, allowed, kind or type(default))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a node; `falx listen --help` and docs/workstation.md explain each.

    Raises:
        SettingsError: a value is out of its range, or contradicts another; the message names the setting.
    """

    spool: Path = field(metadata={"about": About("keep images and unsent results here", "DIR", None, Path)})
    destination: Destination = field(
        metadata={"about": About("send results there", "TITLE@HOST:PORT", None, Destination)}
    )
    title: str = _setting("FALX", "answer to this AE title, and refuse calls to others", "TITLE")
    host: str = _setting(
        "127.0.0.1",
        "listen at this address; 127.0.0.1 is this machine alone, 0.0.0.0 every network",
        "ADDRESS",
    )
    port: int = _setting(11112, "listen at this port; 0 takes a free one", "N", PORT)
    allow: tuple[str, ...] = _setting((), "accept only this AE title; repeat it for more titles", "TITLE")
    quiet_s: float = _setting(
        10.0, "classify a study when no image of it came for this long", SECONDS, ABOVE_0
    )
    keep_s: float = _setting(3600.0, "keep its images this long, in case more of them come", SECONDS, FROM_0)
    spool_mb: float = _setting(4096.0, "refuse images while the spool holds this much", "MB", ABOVE_0)
    object_mb: float = _setting(256.0, "end an association that sends a longer image", "MB", ABOVE_0)
    associations: int = _setting(32, "accept this many associations at a time", "N", ABOVE_0)
    idle_s: float = _setting(60.0, "end an association that is silent for this long", SECONDS, ABOVE_0)
    workers: int = _setting(2, "work on this many slices at a time", "N", ABOVE_0)
    longest_s: float = _setting(
        1800.0, "give up the classification of a study after this long", SECONDS, ABOVE_0
    )
    again: bool = _setting(False, "report a study again when all of its images are received again")
    capture: bool = _setting(False, "also send pictures of the slices that carry the decision")
    health_port: int | None = _setting(
        None, "answer at http://127.0.0.1:N/healthz; 0 takes a free port", "N", PORT, int
    )
    retry_s: float = _setting(
        5.0, "wait this long after a failure to send, and twice as long after the next", SECONDS, ABOVE_0
    )
    retry_most_s: float = _setting(300.0, "but wait at most this long", SECONDS, ABOVE_0)
    tls_certificate: str | None = _setting(
        None, "accept TLS alone, and show this certificate", "PEM", kind=str
    )
    tls_key: str | None = _setting(None, "use this key with the certificate", "PEM", kind=str)
    tls_authority: str | None = _setting(
        None, "accept only certificates that this one signed", "PEM", kind=str
    )
    destination_tls: bool = _setting(False, "send results over TLS")

    def __post_init__(self) -> None:
        for title in (self.title, *self.allow):
            if not TITLE.fullmatch(title):
                raise SettingsError(f"expected an AE title of 1 to 16 printable characters, got {title!r}")
        for name, about in ABOUT.items():
            value = getattr(self, name)
            if about.range is not None and value is not None and not about.range.holds(value):
                raise SettingsError(f"{_word(name)}: expected {about.range.words}, got {value}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingsError("tls_certificate and tls_key: give both or neither")
        if self.tls_authority is not None and self.tls_certificate is None and not self.destination_tls:
            raise SettingsError("tls_authority: nothing uses TLS; give tls_certificate and tls_key too")

    @classmethod
    def build(cls, values: Mapping[str, object]) -> Settings:
        """Makes settings from plain values by the words of the options, as a TOML file and the command line
        have them.
        """
        names = {_word(name): name for name in ABOUT}
        if unknown := sorted(set(values) - set(names)):
            raise SettingsError(f"unknown setting {', '.join(unknown)}; known are {', '.join(names)}")
        for word in ("spool", "destination"):
            if word not in values:
                raise SettingsError(f"{word} must be given, with --{word} or in the file of --config")
        given = {names[word]: _read(word, ABOUT[names[word]], value) for word, value in values.items()}
        return cls(**given)  # type: ignore[arg-type] # `_read` has checked each

    def retry_after_s(self, failures: int) -> float:
        """Returns the wait before the next try after a number of failures, from 1, in seconds."""
        return min(self.retry_s * 2.0 ** min(failures - 1, 30), self.retry_most_s)


ABOUT: Final[Mapping[str, About]] = {one.name: one.metadata["about"] for one in dataclasses.fields(Settings)}
"""The description of each setting, by the name of its field."""

DEFAULT: Final[Mapping[str, str]] = {
    one.name: f"{one.default:g}" if isinstance(one.default, float) else str(one.default)
    for one in dataclasses.fields(Settings)
    if one.default not in (dataclasses.MISSING, None, (), False)
}
"""The defaults that help and the manual name."""


def _word(name: str) -> str:
    """Returns a setting's name as users write it: the unit stands beside it there."""
    return name.removesuffix("_s")


def _option(name: str) -> str:
    return f"--{_word(name).replace('_', '-')}"


def _read(word: str, about: About, value: object) -> object:
    if about.kind is Destination and isinstance(value, str):
        return Destination.parse(value)
    if about.kind is Path and isinstance(value, str):
        return Path(value)
    if about.kind is float and type(value) is int:
        return float(value)
    if about.kind is tuple and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    if type(value) is about.kind:
        return value
    words: dict[object, str] = {
        tuple: "a list of texts",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
    }
    raise SettingsError(f"{word}: expected {words.get(about.kind, 'a text')}, got {value!r}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each setting, `--config` and `--echo`."""
    parser.add_argument(
        "--config", metavar="TOML", help="a file with these settings; the command line comes first"
    )
    parser.add_argument(
        "--echo", action="store_true", help="only ask the destination whether it answers (C-ECHO)"
    )
    for name, about in ABOUT.items():
        option, unset = _option(name), argparse.SUPPRESS
        text = about.help + (f" (default {DEFAULT[name]})" if name in DEFAULT else "")
        if about.kind is bool:
            parser.add_argument(option, action="store_true", default=unset, help=text)
        elif about.kind is tuple:
            parser.add_argument(option, action="append", metavar=about.unit, default=unset, help=text)
        else:
            parser.add_argument(option, metavar=about.unit, default=unset, help=text)


def from_options(options: argparse.Namespace) -> Settings:
    """Makes the settings of a parsed command line, and of the file of its `--config`, which comes second."""
    given = {} if options.config is None else read_file(Path(options.config))
    for name, about in ABOUT.items():
        if hasattr(options, word := _word(name)):
            given[word] = _plain(about, getattr(options, word))
    return Settings.build(given)


def _plain(about: About, value: object) -> object:
    """Turns the text of an option into a number, where a number is expected and the text is one."""
    if about.range is None or not isinstance(value, str):
        return value
    try:
        return int(value) if about.kind is int else float(value)
    except ValueError:
        return value


def read_file(path: Path) -> dict[str, object]:
    """Reads the settings in a TOML file."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not a TOML file: {error}") from error


def table() -> str:
    """Returns the settings as the table of docs/workstation.md, in Markdown."""
    rows = ["| option | default | what it does |", "|---|---|---|"]
    for name, about in ABOUT.items():
        allowed = f" ({about.range.words})" if about.range else ""
        option = f"{_option(name)} {about.unit}".rstrip()
        rows.append(f"| `{option}` | {DEFAULT.get(name, '')} | {about.help}{allowed} |")
    return "\n".join(rows)
