"""The processor's name says what it computes with."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from falx_trainer.evaluation.processor import processor


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model name\t: Some CPU\nflags\t\t: sse2 avx2\n\nmodel name\t: Other\n", "Some CPU (AVX2)"),
        (
            "model name\t: Some CPU\nflags\t\t: avx2 avx512f avx512_vnni avx_vnni\n",
            "Some CPU (AVX2, AVX-512, VNNI)",
        ),
        ("model name\t: Arm CPU\nFeatures\t: asimd\n", "Arm CPU"),
        ("processor\t: 0\n", platform.processor() or platform.machine()),
    ],
)
def test_name_and_vectors(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert processor(tmp_path / "cpuinfo") == name


def test_another_system(tmp_path: Path) -> None:
    assert processor(tmp_path / "none") == (platform.processor() or platform.machine())
