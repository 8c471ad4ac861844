from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from falx.workstation.errors import SettingsError
from falx.workstation.node.settings import (
    Destination,
    Settings,
    add_options,
    from_options,
    read_file,
    table,
)

LEAST = {"spool": "spool", "destination": "PACS@10.0.0.5:104"}


TITLE = "expected an AE title of 1 to 16 printable characters"
PAGE = Path(__file__).parents[2] / "docs" / "workstation.md"


def test_what_must_be_given_is_enough() -> None:
    settings = Settings.build(LEAST)
    assert settings == Settings(spool=Path("spool"), destination=Destination("PACS", "10.0.0.5", 104))
    assert (settings.title, settings.host, settings.port) == ("FALX", "127.0.0.1", 11112)
    assert str(settings.destination) == "PACS@10.0.0.5:104"
    # Each try waits twice as long as the one before.
    assert [settings.retry_after_s(times) for times in (1, 2, 3, 6, 7, 1000)] == [5, 10, 20, 160, 300, 300]
    # An address of version 6 stands in brackets.
    assert Destination.parse("A TITLE@[::1]:104") == Destination("A TITLE", "::1", 104)


@pytest.mark.parametrize(
    "text", ["PACS", "PACS@host", "PACS@host:0", "PACS@host:70000", "@host:1", "P\\A@host:1"]
)
def test_a_destination_is_title_host_and_port(text: str) -> None:
    with pytest.raises(SettingsError, match="destination: expected TITLE@HOST:PORT such as"):
        Destination.parse(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spool": None}, "spool must be given, with --spool or in the file of"),
        ({"destination": None}, "destination must be given, with --destination or in the file of"),
        ({"spol": 1}, "unknown setting spol; known are spool, destination, title"),
        ({"quiet_s": 1}, "unknown setting quiet_s; known are .* quiet, keep"),
        ({"port": "11112"}, "port: expected a whole number, got '11112'"),
        ({"port": True}, "port: expected a whole number, got True"),
        ({"port": 70000}, "port: expected a port from 0 to 65535, got 70000"),
        ({"health_port": -1}, "health_port: expected a port from 0 to 65535, got -1"),
        ({"again": 1}, "again: expected true or false, got 1"),
        ({"workers": 0}, "workers: expected a number above 0, got 0"),
        ({"quiet": 0}, "quiet: expected a number above 0, got 0"),
        ({"quiet": "5"}, "quiet: expected a number, got '5'"),
        ({"quiet": float("nan")}, "quiet: expected a number above 0, got nan"),
        ({"keep": -1}, "keep: expected a number from 0, got -1"),
        ({"title": "LONGER THAN SIXTEEN"}, f"{TITLE}, got 'LONGER"),
        ({"allow": ["A", ""]}, f"{TITLE}, got ''"),
        ({"allow": "A"}, "allow: expected a list of texts, got 'A'"),
        ({"spool": 3}, "spool: expected a text, got 3"),
        ({"tls_key": "key.pem"}, "tls_certificate and tls_key: give both or neither"),
        ({"tls_authority": "ca.pem"}, "tls_authority: nothing uses TLS"),
        ({"destination": 3}, "destination: expected a text, got 3"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], message: str) -> None:
    given = {name: value for name, value in (LEAST | change).items() if value is not None}
    with pytest.raises(SettingsError, match=message):
        Settings.build(given)


def test_a_file_holds_the_words_of_the_options_and_the_command_line_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "falx.toml"
    file.write_text('spool = "s"\ndestination = "A@b:1"\nallow = ["X", "Y"]\nquiet = 3\nretry_most = 9.5\n')
    parser = argparse.ArgumentParser()
    add_options(parser)
    told = ["--config", str(file), "--allow", "Z", "--port", "0", "--capture", "--tls-key", "k"]
    settings = from_options(parser.parse_args([*told, "--tls-certificate", "c"]))
    assert (settings.spool, settings.allow) == (Path("s"), ("Z",))
    assert (settings.quiet_s, settings.retry_most_s) == (3.0, 9.5)
    assert (settings.port, settings.capture, settings.again, settings.tls_key) == (0, True, False, "k")


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "falx.toml"
    with pytest.raises(SettingsError, match=r"falx\.toml: cannot be read: No such file"):
        read_file(file)
    file.write_text("spool =")
    with pytest.raises(SettingsError, match=r"falx\.toml: is not a TOML file"):
        read_file(file)


def test_the_page_has_the_table_of_the_settings() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
    assert len(re.findall(r"^\| `--", table(), re.MULTILINE)) == 23
