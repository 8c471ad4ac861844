from __future__ import annotations

import inspect

import pytest

from falx import errors
from falx.slices.reasons import Reason

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
    "HeatmapUnavailable": ValueError,
    "ResumeError": ValueError,
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
