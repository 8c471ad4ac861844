from __future__ import annotations

import sys

import pytest
from tests.said import Command

from falx.errors import DicomUnavailable, EngineUnavailable
from falx.optional import needs


def test_an_extra_that_is_missing_is_named_with_how_to_install_it() -> None:
    with pytest.raises(DicomUnavailable) as raised, needs("a DICOM report", "dicom", DicomUnavailable):
        import no_such_package.sr  # type: ignore[import-not-found] # noqa: F401
    assert str(raised.value) == "a DICOM report needs the extra dicom: pip install 'falx[dicom]'"
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(("name", "package"), [("app", "streamlit"), ("serve", "uvicorn")])
def test_a_command_without_its_extra_names_the_extra_alone(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    expected = f"falx: error: `falx {name}` needs the extra {name}: pip install 'falx[{name}]'\n"
    assert command(name) == (2, "", expected)


def test_a_package_that_lacks_something_itself_says_what() -> None:
    expected = (
        r"y needs z, which cannot be imported \(No module named 'no_such_part'\): pip install 'falx\[x\]'$"
    )
    with pytest.raises(EngineUnavailable, match=expected), needs("y", "x", EngineUnavailable, package="z"):
        import no_such_part  # type: ignore[import-not-found] # noqa: F401


def test_an_extra_that_cannot_be_imported_says_why() -> None:
    expected = r"y needs z, which cannot be imported \(damaged\): pip install 'falx\[x\]'$"
    with pytest.raises(EngineUnavailable, match=expected), needs("y", "x", EngineUnavailable):
        raise ImportError("damaged", name="z.part")
