from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from falx.errors import FalxError
from falx.workstation.node.settings import Destination, Settings, read_file

LEAST = {"spool": "spool", "destination": "PACS@10.0.0.5:104"}


def test_what_must_be_given_is_enough() -> None:
    settings = Settings.build(LEAST)
    assert (settings.spool, settings.title, settings.host, settings.port) == (
        Path("spool"),
        "FALX",
        "127.0.0.1",
        11112,
    )
    assert settings.destination == Destination("PACS", "10.0.0.5", 104)
    assert str(settings.destination) == "PACS@10.0.0.5:104"


@pytest.mark.parametrize(
    "text", ["PACS", "PACS@host", "PACS@host:0", "PACS@host:70000", "@host:1", "P\\A@host:1"]
)
def test_a_destination_is_title_host_and_port(text: str) -> None:
    with pytest.raises(FalxError, match="destination: expected TITLE@HOST:PORT such as"):
        Destination.parse(text)


def test_an_address_of_version_6_stands_in_brackets() -> None:
    assert Destination.parse("A TITLE@[::1]:104") == Destination("A TITLE", "::1", 104)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spol": 1}, "unknown setting spol; known are spool, destination, title"),
        ({"port": "11112"}, "port: expected int, got '11112'"),
        ({"port": 70000}, "port: expected a port, 0 to 65535, got 70000"),
        ({"again": 1}, "again: expected bool, got 1"),
        ({"workers": 0}, "workers: expected a number above 0, got 0"),
        ({"quiet_s": 0}, "quiet_s: expected a number above 0, got 0"),
        ({"quiet_s": float("nan")}, "quiet_s: expected a number above 0, got nan"),
        ({"keep_s": -1}, "keep_s: expected a number from 0, got -1"),
        (
            {"title": "LONGER THAN SIXTEEN"},
            "expected an AE title of 1 to 16 printable characters, got 'LONGER",
        ),
        ({"allow": ["A", ""]}, "expected an AE title of 1 to 16 printable characters, got ''"),
        ({"allow": "A"}, r"allow: expected tuple\[str, ...\], got 'A'"),
        ({"tls_key": "key.pem"}, "TLS needs both tls_certificate and tls_key"),
        ({"tls_authority": "ca.pem"}, "tls_authority: nothing uses TLS"),
        ({"destination": 3}, "destination: expected Destination, got 3"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FalxError, match=message):
        Settings.build(LEAST | change)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(
        FalxError, match="spool and destination must be given, with --spool and --destination or in the"
    ):
        Settings.build({})


def test_a_file_holds_the_same_names(tmp_path: Path) -> None:
    file = tmp_path / "falx.toml"
    file.write_text('spool = "s"\ndestination = "A@b:1"\nallow = ["X", "Y"]\nquiet_s = 3\ncapture = true\n')
    settings = Settings.build(read_file(file))
    assert (settings.allow, settings.quiet_s, settings.capture) == (("X", "Y"), 3.0, True)
    with pytest.raises(FalxError, match=r"none\.toml: cannot be read: No such file"):
        read_file(tmp_path / "none.toml")
    file.write_text("spool =")
    with pytest.raises(FalxError, match=r"falx\.toml: is no TOML"):
        read_file(file)
