"""The engine that stands alone in an environment of its own, which `.ci/engines` names."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

import falx
from falx.errors import EngineUnavailable, FalxWarning

ALONE = os.environ.get("FALX_TEST_ENGINE")


def load(engine: str, model: Path, threads: int = 1) -> falx.Classifier:
    """Loads a model; skips the test where an engine does not run that need not."""
    with warnings.catch_warnings():
        # tflite-runtime says that it is slow on x86, which is true and tested elsewhere.
        warnings.simplefilter("ignore", FalxWarning)
        try:
            return falx.load(model, engine=engine, threads=threads)
        except EngineUnavailable as error:
            if ALONE is not None:
                raise
            pytest.skip(str(error))
