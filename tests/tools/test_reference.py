from __future__ import annotations

from pathlib import Path

import pytest

reference = pytest.importorskip("tools.reference", reason="pdoc is not installed (pip install --group docs)")


def test_the_reference_is_written_without_a_warning(tmp_path: Path) -> None:
    assert reference.main(["--out", str(tmp_path)]) == 0
    page = (tmp_path / "falx.html").read_text(encoding="utf-8")
    for name in ("Classifier.predict", "Classifier.predict_study", "Prediction.to_dict", "load"):
        assert f'id="{name}"' in page
    for module in reference.MODULES[1:]:
        assert (tmp_path / f"{module.replace('.', '/')}.html").exists()
