from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from falx import errors
from falx.slices.reasons import Reason
from falx.workstation import errors as workstation_errors
from falx.workstation.errors import cause

REASON = Reason("not_mr", "It is a CT.")

BUILTINS = {
    "UnreadableImage": ValueError,
    "ImageNotFound": FileNotFoundError,
    "ImageForbidden": PermissionError,
    "DicomUnavailable": ImportError,
    "VolumeUnavailable": ImportError,
    "NotASlice": ValueError,
    "ModelError": ValueError,
    "ModelNotFound": FileNotFoundError,
    "CardError": ValueError,
    "ChecksumError": ValueError,
    "GraphError": ValueError,
    "EngineUnavailable": ImportError,
    "UnknownEngine": ValueError,
    "ThresholdError": ValueError,
    "Cancelled": errors.FalxError,
    "HeatmapUnavailable": ValueError,
    "OutputError": OSError,
    "AddressUnavailable": OSError,
}


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_an_error_is_also_the_builtin_a_caller_expects(name: str, builtin: type[Exception]) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.FalxError)
    assert issubclass(kind, builtin)
    error = kind("what it says", REASON) if kind is errors.NotASlice else kind("what it says")
    assert str(error) == "what it says"


def test_the_tree_in_the_docstring_names_every_error() -> None:
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert classes == set(errors.__all__)
    assert set(BUILTINS) == classes - {"FalxError", "FalxWarning"}
    assert errors.__doc__ is not None
    assert all(name in errors.__doc__ for name in classes)


@pytest.mark.parametrize(
    ("name", "builtin"),
    {
        "ReportError": ValueError,
        "SettingsError": ValueError,
        "SpoolError": OSError,
        "SpoolFull": OSError,
        "StudyUnanswered": RuntimeError,
        "WorkerError": RuntimeError,
    }.items(),
)
def test_the_workstations_errors_are_of_the_same_tree(name: str, builtin: type[Exception]) -> None:
    kind = getattr(workstation_errors, name)
    assert issubclass(kind, errors.FalxError)
    assert issubclass(kind, builtin)
    assert name in str(workstation_errors.__doc__)


def test_the_node_names_an_error_in_words() -> None:
    def raised() -> BaseException:
        with pytest.raises(KeyError) as caught:
            raise KeyError("Doe^Jane")
        return caught.value

    line = raised.__code__.co_firstlineno + 2
    assert cause(raised()) == f"an unexpected error in test_errors.py, line {line}"
    assert cause(KeyError("Doe^Jane")) == "an unexpected error in a place unknown"
    assert cause(errors.ModelError("said")) == "said"
    assert cause(OSError(28, "No space left on device", "Doe^Jane.dcm")) == "No space left on device"


def test_every_error_has_a_name_of_its_own() -> None:
    bare = [
        f"{file.name}:{node.lineno}"
        for file in Path(errors.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "FalxError"
    ]
    assert bare == []
