"""Pixels to make DICOM files of: drawn ones, and real slices where they are at hand."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from tests.pictures import Pixels

import falx
from falx import phantom
from falx.reading import source

for needed in ("pydicom", "openjpeg"):
    pytest.importorskip(needed, reason=f"{needed} is not installed (pip install 'falx[dicom]')")

DATA = Path(os.environ.get("FALX_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture(scope="session")
def classifier() -> falx.Classifier:
    return falx.load()


@pytest.fixture(scope="session")
def head() -> Pixels:
    return phantom.lesion()


@pytest.fixture(scope="session")
def real() -> list[Pixels]:
    """Real slices of three collections and of every label, `(H, W)` uint8; of the validation split."""
    if not (DATA / "manifest.csv").exists():
        pytest.skip(f"no MRI data in {DATA}; FALX_DATA says where it is")
    with (DATA / "manifest.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "val"]
    kinds = {
        (row["source"], row["label"]): row
        for row in rows
        if row["source"] in ("figshare", "tcga_lgg", "open_ms")
    }
    return [source.read(DATA / row["path"]).pixels for row in kinds.values()]
