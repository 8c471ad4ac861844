from __future__ import annotations

import sys

import pytest

from falx.errors import DicomUnavailable, EngineUnavailable
from falx.optional import needs


def test_a_package_that_is_missing_is_named_with_how_to_install_it() -> None:
    with (
        pytest.raises(DicomUnavailable) as raised,
        needs("a DICOM report", "'falx[dicom]'", DicomUnavailable),
    ):
        import no_such_package.sr  # type: ignore[import-not-found] # noqa: F401
    assert str(raised.value) == (
        "a DICOM report needs no_such_package, which is not installed: pip install 'falx[dicom]'"
    )
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)


def test_a_package_has_its_name_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    expected = "engine litert needs ai-edge-litert, which is not installed: pip install ai-edge-litert$"
    with (
        pytest.raises(EngineUnavailable, match=expected),
        needs("engine litert", "ai-edge-litert", EngineUnavailable, package="ai-edge-litert"),
    ):
        import ai_edge_litert.interpreter  # type: ignore[import-untyped] # noqa: F401


def test_a_package_that_lacks_something_itself_says_what() -> None:
    expected = r"which cannot be imported \(No module named 'no_such_part'\): pip install x$"
    with pytest.raises(EngineUnavailable, match=expected), needs("y", "x", EngineUnavailable, package="z"):
        import no_such_part  # type: ignore[import-not-found] # noqa: F401
